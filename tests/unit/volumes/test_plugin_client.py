"""Answers of volume plugins as they come over the wire: whole, in pieces, broken off, without end."""

from __future__ import annotations

import socket
import threading
from typing import TYPE_CHECKING

import pytest

from tiffin.errors import NotFound, PluginFailed
from tiffin.volumes.plugin_client import VolumePlugin
from tiffin.volumes.plugins import Plugin

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

ACTIVE = b'HTTP/1.1 200 OK\r\nContent-Length: 32\r\n\r\n{"Implements": ["VolumeDriver"]}'


class Wire:
    """Listens, and answers each connection with the next of `answers`; keeps what it was asked."""

    def __init__(self, listener: socket.socket) -> None:
        self.answers: list[bytes] = []
        self.asked: list[bytes] = []
        self._listener = listener
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection:
                self.asked.append(connection.recv(65536))
                try:
                    connection.sendall(self.answers.pop(0))
                except OSError:
                    pass  # it had enough

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()


@pytest.fixture(params=["unix", "tcp"])
def wire(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Wire, VolumePlugin]]:
    if request.param == "unix":
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(f"{tmp_path}/s")
        address = f"unix://{tmp_path}/s"
    else:
        listener = socket.socket()
        listener.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{listener.getsockname()[1]}"
    listener.listen()
    made = Wire(listener)
    yield made, VolumePlugin(Plugin("x", address, 30))
    made.close()


@pytest.mark.parametrize(
    "answer",
    [
        b'HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n{"Mountpoint": "/m"}',
        b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{"Mou\r\nf\r\nntpoint": "/m"}\r\n0\r\n\r\n',
        b'HTTP/1.1 200 OK\r\n\r\n{"Mountpoint": "/m"}',
        b'HTTP/1.0 200 OK\r\n\r\n{"Mountpoint": "/m", "Err": null, "more": [1]}',
        b'HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n{"Mountpoint": "/m"}',
    ],
)
def test_an_answer_is_read_however_it_is_framed(wire: tuple[Wire, VolumePlugin], answer: bytes) -> None:
    server, plugin = wire
    server.answers += [ACTIVE, answer]
    assert plugin.mount("data", "me") == "/m"
    head, _, body = server.asked[1].partition(b"\r\n\r\n")
    assert (
        head.startswith(b"POST /VolumeDriver.Mount HTTP/1.1\r\n") and body == b'{"Name": "data", "ID": "me"}'
    )
    assert b"Content-Type: application/vnd.docker.plugins.v1.2+json" in head.split(b"\r\n")
    assert server.asked[0].startswith(b"POST /Plugin.Activate HTTP/1.1\r\n")


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200",
        b"SSH-2.0-OpenSSH\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 200 + b"\r\n{}",
        b"HTTP/1.1 200 OK\r\nA: " + b"b" * 70_000 + b"\r\n\r\n{}",
        b'HTTP/1.1 200 OK\r\nContent-Length: 90\r\n\r\n{"Mountpoint": "/',
        b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{"Mou',
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffff\r\n" + b" " * (5 << 20),
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n" + b" " * (5 << 20),
        b"HTTP/1.1 200 OK\r\n\r\n\xff\xfe",
        b'HTTP/1.1 200 OK\r\n\r\n["Mountpoint"]',
    ],
    ids=range(11),
)
def test_what_is_no_answer_is_a_failure_that_names_the_request(
    wire: tuple[Wire, VolumePlugin], answer: bytes
) -> None:
    server, plugin = wire
    server.answers += [ACTIVE, answer]
    with pytest.raises(PluginFailed) as caught:
        plugin.mount("data", "me")
    assert str(caught.value).startswith("volume plugin x: VolumeDriver.Mount: ")
    assert len(str(caught.value)) < 1000


def refused(status: int) -> bytes:
    return b'HTTP/1.1 %d No\r\nContent-Length: 13\r\n\r\n{"Err": "no"}' % status


@pytest.mark.parametrize("status", [200, 404, 500])
@pytest.mark.parametrize(
    ("ask", "want"), [(lambda plugin: plugin.get("data"), None), (lambda plugin: plugin.scope(), "local")]
)
def test_a_refusal_says_that_there_is_none(
    wire: tuple[Wire, VolumePlugin], status: int, ask: Callable[[VolumePlugin], object], want: object
) -> None:
    server, plugin = wire
    server.answers += [ACTIVE, refused(status)]
    assert ask(plugin) == want


def test_a_plugin_of_something_else_is_no_driver(wire: tuple[Wire, VolumePlugin]) -> None:
    server, plugin = wire
    server.answers += [b'HTTP/1.1 200 OK\r\n\r\n{"Implements": ["NetworkDriver"]}']
    with pytest.raises(NotFound, match='plugin "x" is not a VolumeDriver'):
        plugin.create("data", {})
