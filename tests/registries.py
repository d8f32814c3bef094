"""Real registries on loopback for tests: Debian's docker-registry, plain, with passwords, with TLS, with tokens.

with docker_registry(tmp_path) as registry:
    registry.host            "127.0.0.1:40123"
    registry.storage         where its blobs lie

with docker_registry(tmp_path, users={"alice": "secret"}, tls=make_tls(tmp_path)) as registry: ...
with token_server(tmp_path, users={"alice": "secret"}) as tokens, docker_registry(tmp_path, tokens=tokens): ...
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple
from urllib.parse import parse_qs, urlsplit

import pytest

PROGRAM = "/usr/bin/docker-registry"
REPOSITORY_OF_TOKENS = "tiffin-test"


class Tls(NamedTuple):
    """PEM files: an authority of its own, and a certificate of 127.0.0.1 and localhost that it signed."""

    authority: str
    certificate: str
    key: str


class RunningRegistry(NamedTuple):
    """A registry that answers. `host` is HOST:PORT as references have it."""

    host: str
    url: str
    storage: Path
    log: Path


def free_port() -> int:
    """A port on loopback that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def docker_registry(
    directory: Path,
    *,
    users: dict[str, str] | None = None,
    tls: Tls | None = None,
    tokens: TokenServer | None = None,
    mirror_of: str = "",
) -> Iterator[RunningRegistry]:
    """docker-registry with its storage under `directory`; it ends, and is waited for, with the context. Skips the test
    where it is not installed."""
    if not os.path.exists(PROGRAM):
        pytest.skip("needs docker-registry")
    port = free_port()
    home = directory / f"registry-{port}"
    home.mkdir(parents=True)
    document = _configuration(home, port, users, tls, tokens, mirror_of)
    (home / "config.yml").write_text(json.dumps(document))  # JSON is YAML
    with open(home / "log", "wb") as log:
        process = subprocess.Popen([PROGRAM, "serve", str(home / "config.yml")], stdout=log, stderr=log)
    try:
        _wait_for_port(port, process, home / "log")
        scheme = "https" if tls else "http"
        yield RunningRegistry(
            f"127.0.0.1:{port}", f"{scheme}://127.0.0.1:{port}", home / "storage", home / "log"
        )
    finally:
        process.kill()
        process.wait()


def _configuration(
    home: Path,
    port: int,
    users: dict[str, str] | None,
    tls: Tls | None,
    tokens: TokenServer | None,
    mirror_of: str,
) -> dict[str, object]:
    http: dict[str, object] = {"addr": f"127.0.0.1:{port}", "secret": "tests"}
    if tls is not None:
        http["tls"] = {"certificate": tls.certificate, "key": tls.key}
    document: dict[str, object] = {
        "version": 0.1,
        "log": {"level": "error", "accesslog": {"disabled": True}},
        "storage": {"filesystem": {"rootdirectory": str(home / "storage")}, "delete": {"enabled": True}},
        "http": http,
    }
    if users is not None:
        htpasswd(home / "htpasswd", users)
        document["auth"] = {"htpasswd": {"realm": "tests", "path": str(home / "htpasswd")}}
    if tokens is not None:
        document["auth"] = {
            "token": {
                "realm": tokens.realm,
                "service": tokens.service,
                "issuer": REPOSITORY_OF_TOKENS,
                "rootcertbundle": tokens.certificate,
            }
        }
    if mirror_of:
        document["proxy"] = {"remoteurl": mirror_of}
    return document


def htpasswd(path: Path, users: dict[str, str]) -> Path:
    """An htpasswd file with bcrypt hashes, as docker-registry reads it."""
    import bcrypt

    lines = [
        f"{user}:{bcrypt.hashpw(word.encode(), bcrypt.gensalt(4)).decode()}\n" for user, word in users.items()
    ]
    path.write_text("".join(lines))
    return path


def _wait_for_port(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 20
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"docker-registry does not come up: {log.read_text()[-2000:]}") from None
            time.sleep(0.02)
        else:
            return


def make_tls(directory: Path, *names: str) -> Tls:
    """A new authority, and a certificate for 127.0.0.1, localhost and `names`, valid for a day."""
    home = directory / f"tls-{free_port()}"
    home.mkdir(parents=True)
    authority, certificate, key = (str(home / name) for name in ("ca.crt", "server.crt", "server.key"))
    alternative = ",".join(["IP:127.0.0.1", "DNS:localhost", *(f"DNS:{name}" for name in names)])
    new_key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    ca_key = str(home / "ca.key")
    _openssl(
        "req", "-x509", *new_key, "-keyout", ca_key, "-out", authority, "-days", "1", "-subj", "/CN=tests"
    )
    request, extra = str(home / "server.csr"), home / "extensions"
    extra.write_text(f"subjectAltName={alternative}\nextendedKeyUsage=serverAuth,clientAuth\n")
    _openssl("req", "-new", *new_key, "-keyout", key, "-out", request, "-subj", "/CN=localhost")
    signed_by = ["-CA", authority, "-CAkey", ca_key, "-CAcreateserial", "-extfile", str(extra)]
    _openssl("x509", "-req", "-in", request, *signed_by, "-out", certificate, "-days", "1")
    return Tls(authority, certificate, key)


def _openssl(*words: str, feed: bytes = b"") -> bytes:
    return subprocess.run(["openssl", *words], input=feed, capture_output=True, check=True).stdout


class TokenServer:
    """A token server for docker-registry: signs what a user may have. Anybody may pull from `public/...`; users may do
    everything. `asked` are the queries and forms that came, with who asked."""

    service = "tests"

    def __init__(self, directory: Path, users: dict[str, str], port: int) -> None:
        home = directory / f"tokens-{port}"
        home.mkdir(parents=True)
        self.users = users
        self.refresh_tokens = {f"identity-of-{user}": user for user in users}
        self.realm = f"http://127.0.0.1:{port}/token"
        self.certificate, self._key = str(home / "token.crt"), str(home / "token.key")
        self.asked: list[dict[str, str]] = []
        self.life = 300
        new_key = ["-newkey", "rsa:2048", "-nodes", "-keyout", self._key]
        _openssl("req", "-x509", *new_key, "-out", self.certificate, "-days", "1", "-subj", "/CN=tokens")
        pem = Path(self.certificate).read_text()
        self._chain = "".join(pem.split("-----")[2].split())

    def token(self, user: str, scopes: list[str]) -> str:
        """A signed token for what `user` ("" for anybody) may have of `scopes`."""
        access = []
        for scope in scopes:
            kind, _, rest = scope.partition(":")
            name, _, actions = rest.rpartition(":")
            allowed = [
                action
                for action in actions.split(",")
                if user or (action == "pull" and name.startswith("public/"))
            ]
            access.append({"type": kind, "name": name, "actions": allowed})
        now = int(time.time())
        claims = {
            "iss": REPOSITORY_OF_TOKENS,
            "sub": user,
            "aud": self.service,
            "exp": now + self.life,
            "nbf": now - 10,
            "iat": now,
            "jti": str(len(self.asked)),
            "access": access,
        }
        header = {"typ": "JWT", "alg": "RS256", "x5c": [self._chain]}
        signed = f"{_url64(json.dumps(header).encode())}.{_url64(json.dumps(claims).encode())}"
        signature = _openssl("dgst", "-sha256", "-sign", self._key, feed=signed.encode())
        return f"{signed}.{_url64(signature)}"

    def user_of(self, header: str) -> str | None:
        """The user of a basic header, "" without one, None for a wrong password."""
        if not header:
            return ""
        user, _, word = base64.b64decode(header.partition(" ")[2]).decode().partition(":")
        return user if self.users.get(user) == word else None


def _url64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


@contextlib.contextmanager
def token_server(directory: Path, users: dict[str, str] | None = None) -> Iterator[TokenServer]:
    """A running token server; the registry that believes it is started with `tokens=`."""
    port = free_port()
    tokens = TokenServer(directory, users or {}, port)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            query = parse_qs(urlsplit(self.path).query)
            self.answer(tokens.user_of(self.headers.get("Authorization", "")), query)

        def do_POST(self) -> None:
            form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
            if form.get("grant_type") == ["refresh_token"]:
                user = tokens.refresh_tokens.get(form["refresh_token"][0])
            else:
                name, word = form["username"][0], form["password"][0]
                user = name if tokens.users.get(name) == word else None
            self.answer(user, form)

        def answer(self, user: str | None, query: dict[str, list[str]]) -> None:
            tokens.asked.append(
                {"user": user or "", **{key: " ".join(value) for key, value in query.items()}}
            )
            if user is None:
                self.send_json(401, {"details": "incorrect username or password"})
                return
            wanted = " ".join(query.get("scope", [])).split()
            self.send_json(200, {"token": tokens.token(user, wanted), "expires_in": tokens.life})

        def send_json(self, status: int, document: object) -> None:
            data = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *args: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield tokens
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
