"""T45, T47: ambiguous requests, slow ones, and too many of them, at the embedded registry."""

import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.command import Tiffin
from tests.integration.registry_server.conftest import staged
from tests.registry_server import Served, digest_of, serving

pytestmark = [pytest.mark.root, pytest.mark.registry]

IMPATIENT = """
from tiffin.registry.server import desk, serve, uploads
serve.IDLE_SECONDS, serve._SWEEP_SECONDS, serve.CONNECTIONS_MAX = 1.0, 0.1, 4
desk.STALL_SECONDS = serve.STALL_SECONDS = 1.0
uploads.UPLOADS_MAX = 3
"""


@contextmanager
def raw(served: Served) -> Iterator[socket.socket]:
    host, port = served.address.split(":")
    with socket.create_connection((host, int(port)), 20) as connection:
        yield connection


def answer_to(served: Served, request: bytes) -> bytes:
    """All that comes until the server closes."""
    with raw(served) as connection:
        connection.sendall(request)
        found = b""
        while data := connection.recv(65536):
            found += data
        return found


AMBIGUOUS = [
    b"POST /v2/x/blobs/uploads/ HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked"
    b"\r\n\r\n0\r\n\r\n",
    b"POST /v2/x/blobs/uploads/ HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n123456",
    b"POST /v2/x/blobs/uploads/ HTTP/1.1\r\nHost: x\r\nContent-Length: +5\r\n\r\n12345",
    b"POST /v2/x/blobs/uploads/ HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
    b"GET /v2/ HTTP/1.1\r\nHost: x\r\nX : y\r\n\r\n",
    b"GET /v2/ HTTP/1.1\r\nHost: x\r\nX: a\nY: b\0c\r\n\r\n",
    b"GET /v2/ HTTP/9.9\r\nHost: x\r\n\r\n",
    b"GET /v2/ HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 70_000 + b"\r\n\r\n",
    b"GET /v2/" + b"a" * 70_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
]


def test_an_ambiguous_request_is_refused_and_the_connection_closed(tiffin: Tiffin) -> None:
    with serving(tiffin, impatience=IMPATIENT) as served:
        for request in AMBIGUOUS:
            answer = answer_to(served, request)
            assert answer.startswith((b"HTTP/1.1 400", b"HTTP/1.0 400")) or answer == b"", request[:80]
            assert answer.count(b"HTTP/1.") <= 1
        assert served("GET", "/v2/").status == 200
        assert len(staged(tiffin)) == 1


def test_a_connection_that_never_finishes_its_headers_is_cut_off(tiffin: Tiffin) -> None:
    with serving(tiffin, impatience=IMPATIENT) as served, raw(served) as connection:
        connection.sendall(b"GET /v2/ HTTP/1.1\r\nHost: x\r\n")
        began = time.monotonic()
        try:
            while time.monotonic() < began + 15:
                connection.sendall(b"X: y\r\n")
                time.sleep(0.1)
        except OSError:
            pass
        assert time.monotonic() - began < 10


def test_an_upload_that_stalls_is_ended_and_can_go_on(tiffin: Tiffin) -> None:
    with serving(tiffin, impatience=IMPATIENT) as served:
        where = served("POST", "/v2/x/blobs/uploads/").headers["location"]
        request = f"PATCH {where} HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n12345".encode()
        assert b" 408 " in answer_to(served, request).partition(b"\r\n")[0]
        assert served("GET", where).headers["range"] == "0-4"
        assert served("PUT", f"{where}?digest={digest_of(b'1234567890')}", b"67890").status == 201


def test_there_is_an_end_to_connections_and_to_uploads(tiffin: Tiffin) -> None:
    with serving(tiffin, impatience=IMPATIENT) as served:
        held = [socket.create_connection(tuple(served.address.split(":")), 20) for _ in range(4)]  # type: ignore[arg-type] # a port as text
        try:
            with raw(served) as fifth:
                assert fifth.recv(1) == b""
        finally:
            for connection in held:
                connection.close()
        answers = []
        for _ in range(5):
            while True:
                try:
                    answers.append(served("POST", "/v2/x/blobs/uploads/"))
                    break
                except OSError:  # those four are still being forgotten
                    time.sleep(0.01)
        assert [answer.status for answer in answers] == [202, 202, 202, 429, 429]
        assert answers[-1].code == "TOOMANYREQUESTS"
        assert answers[-1].headers["retry-after"]


def test_a_reader_that_goes_away_leaves_no_descriptor(tiffin: Tiffin) -> None:
    with serving(tiffin) as served:
        layer = served("GET", "/v2/busybox/manifests/latest").document["layers"][0]["digest"]
        served("GET", f"/v2/busybox/blobs/{layer}")
        fds = f"/proc/{served.process.pid}/fd"
        before = len(os.listdir(fds))
        for _ in range(50):
            with raw(served) as connection:
                connection.sendall(f"GET /v2/busybox/blobs/{layer} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
                connection.recv(10)
        deadline = time.monotonic() + 20
        while len(os.listdir(fds)) > before:
            assert time.monotonic() < deadline, os.listdir(fds)
            time.sleep(0.05)


def test_a_reader_that_stops_reading_is_cut_off(tiffin: Tiffin) -> None:
    with serving(tiffin, impatience=IMPATIENT) as served:
        digest = served.push_blob("x", bytes(64 << 20))
        fds = f"/proc/{served.process.pid}/fd"
        before = len(os.listdir(fds))
        with raw(served) as connection:
            connection.sendall(f"GET /v2/x/blobs/{digest} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            connection.recv(10)
            deadline = time.monotonic() + 30
            while len(os.listdir(fds)) > before:
                assert time.monotonic() < deadline, os.listdir(fds)
                time.sleep(0.05)


def test_a_compressed_body_is_taken_as_the_bytes_that_it_is(tiffin: Tiffin) -> None:
    import gzip

    data = gzip.compress(bytes(100_000))
    with serving(tiffin, "--max-blob-size", "1k") as served:
        answer = served(
            "POST", f"/v2/x/blobs/uploads/?digest={digest_of(data)}", data, Content_Encoding="gzip"
        )
        assert answer.status == 201
