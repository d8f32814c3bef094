"""T18: a password that is given to `login` is nowhere in what is printed, however the login fails."""

import base64
import json
import subprocess
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from tests.command import Tiffin
from tests.credential_helper import install
from tests.registries import docker_registry, free_port

USER, PASSWORD = "alice", "hunter2-and-more"
ENCODED = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()


@pytest.fixture(autouse=True)
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "settings"))
    return tmp_path / "docker" / "config.json"


def fail_to_log_in(tmp_path: Path, host: str) -> str:
    """All that is printed, with the traceback and without; neither has the password, nor is it kept."""
    shown = ""
    argv = Tiffin(tmp_path / "engine").argv()
    for debug in ([], ["--debug"]):
        done = subprocess.run(
            [*argv, *debug, "login", "-u", USER, "--password-stdin", host],
            input=PASSWORD,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode != 0
        shown += done.stdout + done.stderr
    assert PASSWORD not in shown
    assert ENCODED not in shown
    kept = [path for path in tmp_path.rglob("*") if path.is_file() and "bin" not in path.parts]
    assert not [path for path in kept if PASSWORD in path.read_text() or ENCODED in path.read_text()]
    return shown


def test_a_registry_that_is_not_there(tmp_path: Path) -> None:
    assert "onnect" in fail_to_log_in(tmp_path, f"127.0.0.1:{free_port()}")


@pytest.mark.registry
def test_a_registry_that_does_not_believe_it(tmp_path: Path) -> None:
    with docker_registry(tmp_path, users={USER: "another"}) as registry:
        assert "incorrect username or password" in fail_to_log_in(tmp_path, registry.host)


class _Parrot(BaseHTTPRequestHandler):
    """A registry that wants to know who asks, and says it back in every form."""

    status = 403

    def do_GET(self) -> None:
        given = self.headers.get("Authorization", "")
        words = base64.b64decode(given.partition(" ")[2]).decode()
        message = f"{given} {words} {words.partition(':')[2]}"
        data = json.dumps({"errors": [{"code": "DENIED", "message": message, "detail": message}]}).encode()
        self.send_response_only(self.status if given else 401, "no")
        self.send_header("WWW-Authenticate", f'Basic realm="{message}"')
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args: object) -> None: ...


@pytest.fixture(params=[400, 401, 403, 404, 418])
def parrot(request: pytest.FixtureRequest) -> Iterator[str]:
    handler = type("Parrot", (_Parrot,), {"status": request.param})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_registry_that_repeats_it(tmp_path: Path, parrot: str) -> None:
    fail_to_log_in(tmp_path, parrot)


@pytest.mark.registry
@pytest.mark.parametrize("script", [f"echo no: {PASSWORD}; exit 1", "cat; exit 1", "cat; kill -9 $$"])
def test_a_helper_that_repeats_it(
    tmp_path: Path, config: Path, script: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path / "bin", "loud", monkeypatch).write(f"#!/bin/sh\n{script}\n")
    config.parent.mkdir()
    config.write_text('{"credsStore": "loud"}')
    with docker_registry(tmp_path, users={USER: PASSWORD}) as registry:
        assert "docker-credential-loud store failed" in fail_to_log_in(tmp_path, registry.host)


@pytest.mark.registry
def test_a_file_that_cannot_be_written(tmp_path: Path, config: Path) -> None:
    config.parent.write_text("a file where a directory is wanted")
    with docker_registry(tmp_path, users={USER: PASSWORD}) as registry:
        assert "cannot write" in fail_to_log_in(tmp_path, registry.host)
