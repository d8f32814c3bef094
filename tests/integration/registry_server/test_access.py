"""Who may ask, and from where."""

import base64
import os
import signal
import socket
import subprocess
from pathlib import Path

import pytest

from tests.command import Tiffin
from tests.registries import htpasswd, make_tls
from tests.registry_server import Served, artifact, digest_of, serving

pytestmark = [pytest.mark.root, pytest.mark.registry]


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def test_only_users_of_the_file_get_in(tiffin: Tiffin, tmp_path: Path) -> None:
    users = htpasswd(tmp_path / "users", {"alice": "secret", "bob": "w:ö"})
    with serving(tiffin, "--htpasswd", users) as served:
        answer = served("GET", "/v2/")
        assert (answer.status, answer.code) == (401, "UNAUTHORIZED")
        assert answer.headers["www-authenticate"].startswith('Basic realm="')
        for right in (basic("alice", "secret"), basic("alice", "secret"), basic("bob", "w:ö")):
            assert served("GET", "/v2/", Authorization=right).status == 200
        for wrong in (
            basic("alice", "w:ö"),
            basic("alice", ""),
            basic("carol", "secret"),
            basic("", ""),
            basic("alice", "secret\0"),
            "Basic !!",
            "Basic " + base64.b64encode(b"alice").decode(),
            "Bearer secret",
        ):
            for method, path in (
                ("GET", "/v2/"),
                ("PUT", "/v2/x/manifests/1"),
                ("GET", "/v2/busybox/manifests/x"),
            ):
                assert served(method, path, Authorization=wrong).status == 401, wrong
        htpasswd(users, {"carol": "new"})
        assert served("GET", "/v2/", Authorization=basic("carol", "new")).status == 200
        assert served("GET", "/v2/", Authorization=basic("alice", "secret")).status == 401


@pytest.mark.parametrize(
    "text",
    ["", "alice\n", "alice:secret\n", "alice:{SHA}xxxx\n", "alice:$2y$99$" + "a" * 53, "alice:$2y$10$short"],
)
def test_a_list_of_users_that_it_cannot_use_is_refused(tiffin: Tiffin, tmp_path: Path, text: str) -> None:
    (tmp_path / "users").write_text(text)
    line = tiffin.fails("registry", "serve", "--listen", "127.0.0.1:0", "--htpasswd", tmp_path / "users")
    assert str(tmp_path / "users") in line
    assert "htpasswd -B" in line


def test_a_read_only_registry_gives_and_takes_nothing(tiffin: Tiffin) -> None:
    with serving(tiffin, "--read-only") as served:
        assert served("GET", "/v2/busybox/manifests/latest").status == 200
        for method, path in [
            ("POST", "/v2/x/blobs/uploads/"),
            ("PUT", "/v2/x/manifests/1"),
            ("DELETE", "/v2/busybox/manifests/latest"),
            ("DELETE", f"/v2/busybox/blobs/{digest_of(b'')}"),
        ]:
            answer = served(method, path, b"")
            assert (answer.status, answer.code) == (405, "UNSUPPORTED")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--listen", "nowhere"], "want HOST:PORT"),
        (["--listen", "127.0.0.1:99999"], "want HOST:PORT"),
        (["--listen", "127.0.0.1:0", "--tls-cert", "/nonexistent"], "--tls-key"),
        (["--listen", "127.0.0.1:0", "--tls-cert", "/nonexistent", "--tls-key", "/x"], "no such certificate"),
        (["--listen", "127.0.0.1:0", "--htpasswd", "/nonexistent"], "no such file"),
    ],
)
def test_what_it_cannot_serve_with_is_one_clear_line(tiffin: Tiffin, options: list[str], said: str) -> None:
    assert said in tiffin.fails("registry", "serve", *options)
    assert list((tiffin.root / "staging").iterdir()) == []


def test_an_address_in_use_is_one_clear_line(tiffin: Tiffin) -> None:
    with serving(tiffin) as served:
        assert "address already in use" in tiffin.fails("registry", "serve", "--listen", served.address)


def test_the_address_is_written_to_a_file_once_it_listens(tiffin: Tiffin, tmp_path: Path) -> None:
    with serving(tiffin, "--port-file", tmp_path / "port") as served:
        assert (tmp_path / "port").read_text() == f"{served.address}\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_in_order_also_with_connections_open(tiffin: Tiffin, number: int) -> None:
    with serving(tiffin) as served:
        host, port = served.address.split(":")
        with socket.create_connection((host, int(port)), 5) as idle:
            served("POST", "/v2/x/blobs/uploads/")
            served.push_blob("x", b"never named")
            assert served.stop(number) == 0
            assert idle.recv(1) == b""
    assert list((tiffin.root / "staging").iterdir()) == []


def test_tls_refuses_what_is_not_tls(tiffin: Tiffin, tmp_path: Path) -> None:
    tls = make_tls(tmp_path)
    with serving(tiffin, "--tls-cert", tls.certificate, "--tls-key", tls.key, ca=tls.authority) as served:
        plain = Served(served.process, served.url.replace("https", "http"))
        with pytest.raises(OSError):
            plain("GET", "/v2/")
        assert served("GET", "/v2/").status == 200
        assert served.push_blob("x", os.urandom(1 << 20))
        assert served.push_artifact("x", "1").status == 201
        assert served("GET", "/v2/x/manifests/1").document == artifact()
        old = ["openssl", "s_client", "-connect", served.address, "-tls1_1"]
        assert subprocess.run(old, stdin=subprocess.DEVNULL, capture_output=True).returncode != 0
