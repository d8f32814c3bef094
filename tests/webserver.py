"""A web server on the loopback interface whose answers a test decides, and git repositories behind it."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import pytest

BACKEND = "/usr/lib/git-core/git-http-backend"


class Asked(NamedTuple):
    """A request: method, path with query, headers by lower-case name."""

    method: str
    path: str
    headers: dict[str, str]


class Answer(NamedTuple):
    """With an `etag` who says that he has it gets 304."""

    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = {}
    etag: str = ""

    def to(self, asked: Asked) -> Answer:
        if not self.etag:
            return self
        if asked.headers.get("if-none-match") == self.etag:
            return Answer(b"", 304, {"ETag": self.etag})
        return self._replace(headers={**self.headers, "ETag": self.etag})


class WebServer:
    """A process of its own, so that the test's has one thread and builds in itself. What it answers, by path without
    query, is a file that `answers` writes; what it was asked is one that `asked` reads. Below /git/ lie the bare
    repositories of the directory `repositories`, by git's own smart protocol."""

    def __init__(self, directory: Path) -> None:
        self.repositories = directory / "repositories"
        self.repositories.mkdir(parents=True)
        self._answers, self._asked = directory / "answers", directory / "asked"
        self._asked.touch()
        self._known: dict[str, Answer] = {}
        self.answer({})
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.webserver", str(directory)],
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parent.parent,
        )
        assert self._process.stdout is not None
        self.url = f"http://127.0.0.1:{int(self._process.stdout.readline())}"

    def close(self) -> None:
        assert self._process.stdout is not None
        self._process.kill()
        self._process.wait()
        self._process.stdout.close()

    def answer(self, answers: dict[str, Answer]) -> None:
        """Answer so from now on, besides what was said before."""
        self._known.update(answers)
        aside = self._answers.with_suffix(".new")
        aside.write_bytes(pickle.dumps(self._known))
        aside.rename(self._answers)

    @property
    def asked(self) -> list[Asked]:
        return [Asked(*json.loads(line)) for line in self._asked.read_text().splitlines()]


class _Responder:
    """The serving process's side."""

    def __init__(self, directory: Path) -> None:
        self._repositories = directory / "repositories"
        self._answers, self._asked = directory / "answers", directory / "asked"

    def serve(self) -> None:
        responder = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                responder.respond(self)

            do_POST = do_HEAD = do_GET

            def log_message(self, *_: Any) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        print(server.server_address[1], flush=True)
        server.serve_forever()

    def respond(self, handler: BaseHTTPRequestHandler) -> None:
        headers = {name.lower(): value for name, value in handler.headers.items()}
        asked = Asked(handler.command, handler.path, headers)
        body = handler.rfile.read(int(headers.get("content-length") or 0))
        with self._asked.open("a") as log:
            log.write(json.dumps(asked) + "\n")
        answers: dict[str, Answer] = pickle.loads(self._answers.read_bytes())
        path, _, query = handler.path.partition("?")
        answer = answers.get(path, Answer(b"nothing here", 404)).to(asked)
        if path.startswith("/git/") and path not in answers:
            answer = self._git(asked, path.removeprefix("/git"), query, body)
        handler.send_response(answer.status)
        for name, value in {"Content-Length": str(len(answer.body)), **answer.headers}.items():
            handler.send_header(name, value)
        handler.end_headers()
        if asked.method != "HEAD":
            handler.wfile.write(answer.body)

    def _git(self, asked: Asked, path: str, query: str, body: bytes) -> Answer:
        environment = {
            "PATH": os.environ["PATH"],
            "GIT_PROJECT_ROOT": str(self._repositories),
            "GIT_HTTP_EXPORT_ALL": "1",
            "GIT_CONFIG_GLOBAL": "/dev/null",
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": "safe.directory",
            "GIT_CONFIG_VALUE_0": "*",
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "REQUEST_METHOD": asked.method,
            "CONTENT_TYPE": asked.headers.get("content-type", ""),
            "CONTENT_LENGTH": str(len(body)),
            "HTTP_CONTENT_ENCODING": asked.headers.get("content-encoding", ""),
            "GIT_PROTOCOL": asked.headers.get("git-protocol", ""),
        }
        done = subprocess.run([BACKEND], input=body, env=environment, capture_output=True, check=True)
        head, _, rest = done.stdout.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n"))
        status = int(headers.pop("Status", "200").split()[0])
        return Answer(rest, status, headers)


class Work:
    """A working copy whose commits go to a bare repository that a WebServer may serve."""

    def __init__(self, directory: Path, bare: Path) -> None:
        self.directory, self.bare = directory, bare
        subprocess.run(["git", "init", "-q", "--bare", "-b", "main", str(bare)], check=True)
        directory.mkdir()
        self.git("init", "-q", "-b", "main")

    def git(self, *words: str) -> str:
        who = ["-c", "user.name=a", "-c", "user.email=a@b.invalid", "-c", "protocol.file.allow=always"]
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("GIT_")},
            "GIT_CONFIG_GLOBAL": "/dev/null",
            "GIT_COMMITTER_DATE": "1700000000 +0000",
            "GIT_AUTHOR_DATE": "1700000000 +0000",
        }
        done = subprocess.run(
            ["git", *who, *words],
            cwd=self.directory,
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.strip()

    def commit(self, files: dict[str, str], *, to: str = "main", tag: str = "") -> str:
        """Write, commit, push; the commit's hash."""
        for name, text in files.items():
            path = self.directory / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", "x")
        if tag:
            self.git("tag", "-a", "-m", "x", tag)
            self.git("push", "-q", str(self.bare), tag)
        self.git("push", "-q", "--force", str(self.bare), f"HEAD:refs/heads/{to}")
        return self.git("rev-parse", "HEAD")


@pytest.fixture
def web(tmp_path: Path) -> Iterator[WebServer]:
    server = WebServer(tmp_path / "web")
    yield server
    server.close()


@pytest.fixture
def work(web: WebServer, tmp_path: Path) -> Work:
    if not os.path.exists(BACKEND):
        pytest.skip("needs git")
    return Work(tmp_path / "work", web.repositories / "project.git")


if __name__ == "__main__":
    _Responder(Path(sys.argv[1])).serve()
