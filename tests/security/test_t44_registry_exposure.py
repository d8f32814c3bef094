"""T44: the embedded registry is not reached by who was not meant: other machines, pages in a browser."""

import socket
from pathlib import Path

import pytest

from tests.command import Tiffin
from tests.registries import htpasswd, make_tls
from tests.registry_server import serving

pytestmark = [pytest.mark.root, pytest.mark.registry]


def test_a_page_in_a_browser_changes_nothing(tiffin: Tiffin) -> None:
    with serving(tiffin) as served:
        for headers in (
            {"Origin": "http://evil.example"},
            {"Origin": "null"},
            {"Sec_Fetch_Site": "cross-site"},
        ):
            for method, path in (
                ("POST", "/v2/x/blobs/uploads/"),
                ("DELETE", "/v2/busybox/manifests/latest"),
            ):
                answer = served(method, path, b"", **headers)
                assert (answer.status, answer.code) == (403, "DENIED")
        assert served("GET", "/v2/busybox/manifests/latest", Host="evil.example").status == 200


ANYWHERE = "0.0.0.0:0"


@pytest.mark.parametrize("what", ["nothing", "users", "tls", "anonymous", "http"])
def test_beyond_this_machine_it_needs_users_and_tls_or_an_explicit_word(
    tiffin: Tiffin, tmp_path: Path, what: str
) -> None:
    tls = make_tls(tmp_path)
    choices: dict[str, list[str | Path]] = {
        "nothing": [],
        "users": ["--htpasswd", htpasswd(tmp_path / "users", {"a": "b"})],
        "tls": ["--tls-cert", tls.certificate, "--tls-key", tls.key],
        "anonymous": ["--allow-anonymous"],
        "http": ["--allow-http"],
    }
    line = tiffin.fails("registry", "serve", "--listen", ANYWHERE, *choices[what])
    assert "reached from other machines" in line
    assert ("--allow-http" if what in ("users", "anonymous") else "--allow-anonymous") in line


def test_with_both_words_it_listens_everywhere(tiffin: Tiffin) -> None:
    with serving(tiffin, "--allow-anonymous", "--allow-http", "--read-only", listen=ANYWHERE) as served:
        port = int(served.url.rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port), 5) as connection:
            connection.sendall(b"GET /v2/ HTTP/1.0\r\n\r\n")
            assert b" 200 " in connection.recv(100)
