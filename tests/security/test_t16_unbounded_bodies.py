"""T16: whatever a registry sends without end, or not at all, has an end here."""

from __future__ import annotations

import hashlib
import io
import json
import resource
import time
from collections.abc import Iterator

import pytest

from tests.hostile_registry import Answer, Hostile
from tests.unit.registry.support import (
    blob_of,
    client_of,
    manifest_answer,
    manifest_of,
    read_all,
)
from tiffin.errors import Corrupt, LimitExceeded, NotFound, TiffinError, TransferError
from tiffin.oci.descriptor import DOCUMENT_MAX, MANIFEST, Descriptor
from tiffin.registry.credentials import Credential

DATA = bytes(range(256)) * 4096  # 1 MiB
JSON = {"Content-Type": MANIFEST}


@pytest.fixture
def evil() -> Iterator[Hostile]:
    with Hostile() as server:
        yield server


def grown(before: int) -> int:
    """How much the process grew, in MiB."""
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024


@pytest.mark.parametrize("length", [-1, -2, 1 << 40])
def test_an_endless_manifest_is_cut_at_its_limit(evil: Hostile, length: int) -> None:
    evil.on("GET", ".*", Answer(200, JSON, b"{" * 100, length, then="endless"))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with client_of() as client, pytest.raises(LimitExceeded, match=str(DOCUMENT_MAX)):
        client.repository(f"{evil.host}/a").manifest("1")
    assert grown(before) < 50
    assert len(evil.seen) == 1


def test_an_endless_token_is_cut(evil: Hostile) -> None:
    evil.on("GET", "/v2/.*", Answer(401, {"WWW-Authenticate": f'Bearer realm="{evil.url}/token"'}))
    evil.on("GET", "/token.*", Answer(200, {}, b'{"token":"', -1, then="endless"))
    with client_of() as client, pytest.raises(LimitExceeded, match="1048576"):
        client.repository(f"{evil.host}/a").manifest("1")


def test_an_endless_error_is_cut(evil: Hostile) -> None:
    evil.on("GET", ".*", Answer(404, {}, b'{"errors":', -1, then="endless"))
    with client_of() as client, pytest.raises(NotFound):
        client.repository(f"{evil.host}/a").manifest("1")


def test_an_endless_list_is_cut(evil: Hostile) -> None:
    evil.on("GET", "/v2/a/tags/list", Answer(200, {}, b'{"tags":["', -1, then="endless"))
    with client_of() as client, pytest.raises(TransferError, match="more than 16777216 bytes"):
        list(client.repository(f"{evil.host}/a").tags())


def test_pages_without_end_are_ended(evil: Hostile) -> None:
    evil.on("GET", ".*", Answer(200, {"Link": '</v2/a/tags/list?last=x>; rel="next"'}, b'{"tags":["x"]}'))
    with client_of() as client, pytest.raises(TransferError, match="pages do not end"):
        list(client.repository(f"{evil.host}/a").tags())
    assert len(evil.seen) < 10


def test_redirects_without_end_are_ended(evil: Hostile) -> None:
    evil.on("GET", ".*", lambda seen: Answer(307, {"Location": f"/{len(evil.seen)}"}))
    with client_of() as client, pytest.raises(TransferError, match="redirects more than 8 times"):
        client.repository(f"{evil.host}/a").manifest("1")


@pytest.mark.parametrize("length", [-1, -2])
def test_a_blob_with_more_bytes_than_it_should_have_is_refused(evil: Hostile, length: int) -> None:
    evil.on("GET", ".*", Answer(200, {}, DATA, length, then="endless"))
    with client_of() as client, pytest.raises(Corrupt, match="more than the 1048576 bytes"):
        read_all(client.repository(f"{evil.host}/a").open_blob(blob_of(DATA)))


@pytest.mark.parametrize("length", [0, 1, len(DATA) - 1, len(DATA) + 1, 1 << 40])
def test_a_blob_of_another_length_is_refused_before_it_is_read(evil: Hostile, length: int) -> None:
    evil.on("GET", ".*", Answer(200, {}, DATA[:length], length, then="close"))
    with client_of() as client, pytest.raises(Corrupt, match="1048576 are wanted"):
        client.repository(f"{evil.host}/a").open_blob(blob_of(DATA))


def test_a_blob_that_stalls_is_resumed_and_in_the_end_given_up(evil: Hostile) -> None:
    evil.on(
        "GET", ".*", Answer(200, {}, DATA, cut=1000, then="stall"), Answer(200, {}, DATA, cut=0, then="stall")
    )
    with client_of(stall=1) as client:
        stream = client.repository(f"{evil.host}/a").open_blob(blob_of(DATA))
        began = time.monotonic()
        with stream, pytest.raises(TransferError, match=r"broke off 5 times.*no byte came"):
            read_all(stream, 500)
    assert time.monotonic() - began < 20


def test_a_manifest_that_stalls_is_given_up(evil: Hostile) -> None:
    evil.on("GET", ".*", Answer(200, JSON, manifest_of(), cut=5, then="stall"))
    with client_of(stall=1) as client, pytest.raises(TransferError, match="no byte came"):
        client.repository(f"{evil.host}/a").manifest("1")


def test_a_registry_that_does_not_answer_is_given_up(evil: Hostile) -> None:
    def silence(seen):
        time.sleep(1.5)
        return Answer(200)

    evil.on("GET", ".*", silence)
    with client_of(stall=1) as client, pytest.raises(TransferError, match="no byte came"):
        client.repository(f"{evil.host}/a").manifest("1")


def test_a_registry_that_takes_nothing_is_given_up(evil: Hostile) -> None:
    """An upload whose bytes nobody reads."""
    import socket
    import threading

    listener = socket.create_server(("127.0.0.1", 0))
    held = []

    def accept() -> None:
        while True:
            try:
                held.append(listener.accept()[0])
            except OSError:
                return

    thread = threading.Thread(target=accept)
    thread.start()
    evil.on("POST", ".*", Answer(202, {"Location": f"http://127.0.0.1:{listener.getsockname()[1]}/up"}))
    data = bytes(64 << 20)
    try:
        with client_of(stall=1) as client, pytest.raises(TransferError):
            client.repository(f"{evil.host}/a").push_blob(blob_of(data), lambda at: io.BytesIO(data[at:]))
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()
        for connection in held:
            connection.close()


def test_a_dripping_document_has_a_deadline(evil: Hostile) -> None:
    """A byte now and then never stalls; together they take too long."""
    from tests.unit.registry.support import Patient
    from tiffin.config import RegistrySettings
    from tiffin.registry.endpoints import Endpoint
    from tiffin.registry.transport import Transport

    now = iter(range(0, 100_000, 30))
    waiting = Patient()
    waiting.clock = lambda: float(next(now))
    evil.on("GET", ".*", Answer(200, JSON, b"x" * (1 << 20), -2, then="endless"))
    transport = Transport(RegistrySettings(), environment={}, waiting=waiting)
    with (
        transport.request(Endpoint(evil.url, evil.host), "GET", "/") as response,
        pytest.raises(TransferError, match="comes too slowly"),
    ):
        response.document(1 << 30, "the document")
    transport.close()


@pytest.mark.parametrize("head", ["continue", "early", "trailers", "folded"])
def test_heads_and_trailers_without_end_are_cut(head: str) -> None:
    """What http.client would read for ever: provisional answers, and lines after the last chunk."""
    import socket
    import threading

    first = {
        "continue": b"HTTP/1.1 100 Continue\r\n\r\n",
        "early": b"HTTP/1.1 100 Continue\r\nX: " + b"y" * 60_000 + b"\r\n\r\n",
        "trailers": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n",
        "folded": b"HTTP/1.1 200 OK\r\nX: y\r\n",
    }[head]
    more = {"trailers": b"X: y\r\n", "folded": b" y\r\n"}.get(head, first)
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection = listener.accept()[0]
            except OSError:
                return
            with connection:
                try:
                    if connection.recv(1, socket.MSG_PEEK) == b"\x16":
                        continue
                    connection.sendall(first)
                    while True:
                        connection.sendall(more * 10)
                except OSError:
                    continue

    thread = threading.Thread(target=serve)
    thread.start()
    began = time.monotonic()
    try:
        with client_of() as client, pytest.raises(TransferError):
            client.repository(f"127.0.0.1:{listener.getsockname()[1]}/a").manifest("1")
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()
    assert time.monotonic() - began < 10


@pytest.mark.parametrize("whole", [17, 20, 45, 60])
def test_a_head_that_breaks_off_is_no_answer(whole: int) -> None:
    """Without its last headers a 206 would have no range, and a length no meaning."""
    import socket
    import threading

    head = b"HTTP/1.1 200 OK\r\nContent-Length: 1048576\r\nDocker-Content-Digest: sha256:x\r\n\r\n"
    listener = socket.create_server(("127.0.0.1", 0))
    asked: list[bytes] = []

    def serve() -> None:
        while True:
            try:
                connection = listener.accept()[0]
            except OSError:
                return
            with connection:
                data = connection.recv(65536)
                if data[:1] != b"\x16":
                    asked.append(data)
                    connection.sendall(head[:whole] if len(asked) < 3 else head + DATA)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        with client_of() as client:
            repository = client.repository(f"127.0.0.1:{listener.getsockname()[1]}/a")
            assert read_all(repository.open_blob(blob_of(DATA))) == DATA
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()
    assert len(asked) == 3


def test_headers_without_end_are_cut(evil: Hostile) -> None:
    evil.on("GET", "/v2/a/manifests/many", Answer(200, {f"X-{n}": "y" for n in range(200)}, b"{}"))
    evil.on("GET", "/v2/a/manifests/long", Answer(200, {"X": "y" * 100_000}, b"{}"))
    with client_of() as client:
        for tag in ("many", "long"):
            with pytest.raises(TransferError):
                client.repository(f"{evil.host}/a").manifest(tag)


def test_a_reset_blob_is_resumed_at_the_byte(evil: Hostile) -> None:
    def ranged(seen):
        start = int(seen.headers["range"].removeprefix("bytes=").removesuffix("-"))
        rest = DATA[start:]
        headers = {"Content-Range": f"bytes {start}-{len(DATA) - 1}/{len(DATA)}"}
        return Answer(
            206, headers, rest, cut=min(len(rest), 300_000), then="reset" if len(rest) > 300_000 else ""
        )

    evil.on("GET", ".*", Answer(200, {}, DATA, cut=200_000, then="reset"), ranged)
    with client_of() as client:
        stream = client.repository(f"{evil.host}/a").open_blob(blob_of(DATA))
        assert read_all(stream, 10_000) == DATA
        assert stream.resumed >= 3
    assert all("range" in seen.headers for seen in evil.seen[1:])


def test_a_resume_that_begins_anew_is_passed_over_to_the_byte(evil: Hostile) -> None:
    evil.on("GET", ".*", Answer(200, {}, DATA, cut=200_000, then="close"), Answer(200, {}, DATA))
    with client_of() as client:
        assert read_all(client.repository(f"{evil.host}/a").open_blob(blob_of(DATA)), 10_000) == DATA


def test_a_blob_that_changed_before_its_resume_fails_its_hash(evil: Hostile) -> None:
    other = DATA[::-1]
    evil.on("GET", ".*", Answer(200, {}, DATA, cut=200_000, then="close"), Answer(200, {}, other))
    with client_of() as client:
        data = read_all(client.repository(f"{evil.host}/a").open_blob(blob_of(DATA)), 10_000)
    assert len(data) == len(DATA)
    assert hashlib.sha256(data).digest() != hashlib.sha256(DATA).digest()


@pytest.mark.parametrize(
    "answer",
    [
        Answer(200, {}, DATA + b"x"),
        Answer(206, {"Content-Range": f"bytes 0-{len(DATA) - 1}/{len(DATA)}"}, DATA),
        Answer(206, {"Content-Range": f"bytes 200000-{len(DATA)}/{len(DATA) + 1}"}, DATA[200000:] + b"x"),
        Answer(206, {"Content-Range": f"bytes 200000-{len(DATA) - 1}/{len(DATA)}"}, DATA),
        Answer(206, {"Content-Range": "bytes */*"}, DATA),
        Answer(206, {}, DATA[200_000:]),
    ],
)
def test_a_resume_with_other_bytes_than_asked_for_is_refused(evil: Hostile, answer: Answer) -> None:
    evil.on("GET", ".*", Answer(200, {}, DATA, cut=200_000, then="close"), answer)
    with client_of() as client, pytest.raises(Corrupt):
        read_all(client.repository(f"{evil.host}/a").open_blob(blob_of(DATA)), 200_000)


def test_one_byte_a_connection_is_no_progress(evil: Hostile) -> None:
    def one_byte(seen):
        start = int(seen.headers.get("range", "bytes=0-").removeprefix("bytes=").removesuffix("-"))
        headers = {"Content-Range": f"bytes {start}-{len(DATA) - 1}/{len(DATA)}"}
        return Answer(206 if start else 200, headers, DATA[start:], cut=1, then="close")

    evil.on("GET", ".*", one_byte)
    with client_of() as client, pytest.raises(TransferError, match="broke off 5 times"):
        read_all(client.repository(f"{evil.host}/a").open_blob(blob_of(DATA)))
    assert len(evil.seen) < 10


def test_a_truncated_blob_is_resumed(evil: Hostile) -> None:
    """Less than its Content-Length, and less without one."""
    for length in (None, -1):
        evil._rules.clear()
        evil.on("GET", ".*", Answer(200, {}, DATA, length, cut=700_000, then="close"), Answer(200, {}, DATA))
        with client_of() as client:
            assert read_all(client.repository(f"{evil.host}/a").open_blob(blob_of(DATA))) == DATA


def test_a_size_of_nothing_is_nothing(evil: Hostile) -> None:
    evil.on("GET", ".*", Answer(200, {}, b"", -1, then="endless"))
    with client_of() as client, pytest.raises(Corrupt):
        read_all(client.repository(f"{evil.host}/a").open_blob(Descriptor(MANIFEST, blob_of(b"").digest, 0)))


def test_a_busy_registry_is_waited_for_within_bounds(evil: Hostile) -> None:
    busy = [Answer(503, {"Retry-After": "3"}), Answer(429, {"Retry-After": "2"}), Answer(502)]
    evil.on("GET", ".*", *busy, manifest_answer(manifest_of()))
    with client_of() as client:
        assert client.repository(f"{evil.host}/a").manifest("1").data == manifest_of()
        assert client.waits == [3.0, 2.0, 1.0]  # type: ignore[attr-defined] # the tests' own
    evil._rules.clear()
    said = json.dumps({"errors": [{"code": "TOOMANYREQUESTS", "message": "slow down"}]}).encode()
    evil.on("GET", ".*", Answer(429, {"Retry-After": "86400"}, said))
    with client_of() as client:
        with pytest.raises(TransferError, match="toomanyrequests: slow down"):
            client.repository(f"{evil.host}/a").manifest("1")
        assert client.waits == []  # type: ignore[attr-defined] # the tests' own
    evil._rules.clear()
    evil.on("GET", ".*", Answer(503))
    evil.seen.clear()
    with client_of() as client, pytest.raises(TransferError, match="answered 503"):
        client.repository(f"{evil.host}/a").manifest("1")
    assert len(evil.seen) == 5


def test_a_deeply_nested_answer_is_no_recursion(evil: Hostile) -> None:
    evil.on("GET", ".*manifests.*", Answer(404, {}, b"[" * 60_000))
    evil.on("GET", ".*tags.*", Answer(200, {}, b"[" * 100_000))
    with client_of({evil.host: Credential("a", "b")}) as client:
        for work in (lambda r: r.manifest("1"), lambda r: list(r.tags())):
            with pytest.raises(TiffinError):
                work(client.repository(f"{evil.host}/a"))
