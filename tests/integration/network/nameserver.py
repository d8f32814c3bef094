"""A name server for tests, in a network namespace, that does what a name tells it; and a client that asks one.

x.ok.test          192.0.2.99          silent.test   never answered
x.fails.test       SERVFAIL            big.test      cut over UDP, whole over TCP
x.refused.test     REFUSED             forged.test   answers to other questions first, without end
anything else      NXDOMAIN
"""

from __future__ import annotations

import socket
import struct
import threading
from typing import TYPE_CHECKING, NamedTuple

from tests.integration.network.lab import PATIENCE, inside
from tiffin.network import dnswire as wire

if TYPE_CHECKING:
    from types import TracebackType

NXDOMAIN = 3
BIG = 60  # addresses
_ANSWER = bytes([192, 0, 2, 99])


class Response(NamedTuple):
    code: int
    addresses: list[str]
    cut: bool


class NameServer:
    """Answers until it is closed; `asked` are the names that it saw, with the transport."""

    def __init__(self, namespace: int, address: str) -> None:
        self.asked: list[tuple[str, str]] = []
        with inside(namespace):
            self._udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self._tcp = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._udp.bind((address, 53))
        self._tcp.bind((address, 53))
        self._tcp.listen(16)
        self._threads = [threading.Thread(target=work) for work in (self._datagrams, self._connections)]
        for thread in self._threads:
            thread.start()

    def __enter__(self) -> NameServer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for one in (self._udp, self._tcp):
            try:
                one.shutdown(socket.SHUT_RDWR)  # wakes the thread that waits for it
            except OSError:
                pass  # a datagram socket without a peer says so, having woken it
        for thread in self._threads:
            thread.join(PATIENCE)
            assert not thread.is_alive()
        self._udp.close()
        self._tcp.close()

    def names(self) -> list[str]:
        return [name for name, _ in self.asked]

    def _datagrams(self) -> None:
        while True:
            try:
                query, client = self._udp.recvfrom(4096)
            except OSError:
                return
            if not query:
                return
            for response in self._respond(query, "udp", wire.DATAGRAM):
                self._udp.sendto(response, client)

    def _connections(self) -> None:
        while True:
            try:
                client, _ = self._tcp.accept()
            except OSError:
                return
            with client:
                client.settimeout(PATIENCE)
                (length,) = struct.unpack("!H", client.recv(2))
                for response in self._respond(client.recv(length), "tcp", 65535):
                    client.sendall(struct.pack("!H", len(response)) + response)

    def _respond(self, query: bytes, transport: str, limit: int) -> list[bytes]:
        question = wire.parse_query(query)
        self.asked.append((question.name, transport))
        name = question.name

        def reply(code: int, count: int = 0) -> bytes:
            return wire.reply(query, question, code, [(wire.A, _ANSWER)] * count, limit)

        if name == "silent.test":
            return []
        if name == "forged.test":
            return [b"\0\0" + reply(0, 1)[2:]] * 50
        if name == "big.test":
            return [reply(0, BIG)]
        if name.endswith("fails.test"):
            return [reply(wire.SERVER_FAILURE)]
        if name.endswith("refused.test"):
            return [reply(wire.REFUSED)]
        return [
            reply(0, 1 if question.kind == wire.A else 0) if name.endswith("ok.test") else reply(NXDOMAIN)
        ]


def query(name: str, kind: int = wire.A, identity: int = 7) -> bytes:
    """A question, with the wish for recursion."""
    return (
        struct.pack("!HHHHHH", identity, 0x0100, 1, 0, 0, 0)
        + wire.encode_name(name)
        + struct.pack("!HH", kind, 1)
    )


def client(namespace: int, kind: int = socket.SOCK_DGRAM, seconds: float = 30) -> socket.socket:
    """A socket that is connected to the container's resolver."""
    with inside(namespace):
        made = socket.socket(socket.AF_INET, kind)
    made.settimeout(seconds)
    made.connect(("127.0.0.11", 53))
    return made


def ask(namespace: int, name: str, kind: int = wire.A, *, tcp: bool = False) -> Response:
    """What the resolver of the container in that namespace says."""
    data = query(name, kind)
    with client(namespace, socket.SOCK_STREAM if tcp else socket.SOCK_DGRAM) as asking:
        if not tcp:
            asking.send(data)
            return read(data, asking.recv(65535))
        asking.sendall(struct.pack("!H", len(data)) + data)
        with asking.makefile("rb") as stream:
            (length,) = struct.unpack("!H", stream.read(2))
            return read(data, stream.read(length))


def read(asked: bytes, data: bytes) -> Response:
    """A response to the question `asked`."""
    assert wire.belongs(asked, data)
    (count,) = struct.unpack_from("!H", data, 6)
    offset, found = len(asked), []
    for _ in range(count):
        kind, _, _, length = struct.unpack_from("!HHIH", data, offset + 2)
        body = data[offset + 12 : offset + 12 + length]
        family = {wire.A: socket.AF_INET, wire.AAAA: socket.AF_INET6}.get(kind)
        found.append(socket.inet_ntop(family, body) if family else _text(body))
        offset += 12 + length
    return Response(data[3] & 15, found, bool(data[2] & 2))


def _text(name: bytes) -> str:
    labels, offset = [], 0
    while name[offset]:
        labels.append(name[offset + 1 : offset + 1 + name[offset]].decode())
        offset += 1 + name[offset]
    return ".".join(labels)
