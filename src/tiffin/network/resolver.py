"""The resolver: one small process an engine, there while a container is on a network that a user made.

It answers for the names, aliases, short IDs and addresses of the running containers that share such a network with who
asks, the replicas of a name in turn, and asks the machine's name servers (or the container's own, --dns) for the rest;
for a container that is on internal networks only, it asks nobody. The store says who is where; it is read again
when it has changed. It also watches the firewall: rules that somebody flushes are put back.

Bounded: so many forwarded questions and connections at a time, of all and of each container.
"""

from __future__ import annotations

import json
import os
import selectors
import socket
import struct
import threading
import time
from contextlib import suppress

from tiffin.errors import InvalidArgument, TiffinError
from tiffin.kernel.process import process_start_time
from tiffin.network import dnswire as wire
from tiffin.network.manager import Networks
from tiffin.network.records import DEFAULT_NETWORK
from tiffin.network.resolving import LISTENER, SERVED, open_sockets, retire
from tiffin.state import Layout, Store, locate, open_store
from tiffin.typed import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

_MOST, _MOST_EACH = 128, 32  # threads that wait for somebody
_PATIENCE = 2.0  # seconds for a name server
_MOST_SERVERS = 3  # that are asked in turn, as resolv.conf(5) has it
_IDLE = (
    5.0  # seconds for a client's connection, whatever it asks: what it may ask for changes with its networks
)
_LINGER = 1.0  # seconds without a container
_MESSAGE = 65535
_PORT = 53
_ARPA, _ARPA6 = ".in-addr.arpa", ".ip6.arpa"
_NFNLGRP_NFTABLES = 7
_QUERY = """SELECT e.container, e.network, n.name, n.options, e.address, e.address6, e.aliases,
        coalesce(c.name, ''),
        coalesce(json_extract(c.record, '$.dns'), '[]')
    FROM endpoints e JOIN networks n ON n.id = e.network LEFT JOIN containers c ON c.id = e.container
    ORDER BY e.container, e.interface"""

_LINKS = "SELECT container, alias, target FROM links WHERE network != ?"


class View(NamedTuple):
    """Who is where. `names` and `addresses` by (network, what); `homes` the named networks of a container; `servers` of
    one that may ask beyond; `links` what a container calls others by names of its own."""

    names: dict[tuple[str, str], list[str]]
    addresses: dict[tuple[str, str], str]
    homes: dict[str, list[str]]
    servers: dict[str, list[str]]
    links: dict[str, dict[str, str]]


class Served(NamedTuple):
    """A container: its sockets, and the connection or pidfd whose end is its end."""

    udp: socket.socket
    tcp: socket.socket
    watch: int


def read_view(store: Store) -> View:
    """What the store says now."""
    view = View({}, {}, {}, {}, {})
    for container, network, title, options, *both, aliases, name, servers in store.db.execute(_QUERY):
        if '"internal":true' not in options:
            view.servers[container] = json.loads(servers)
        if title == DEFAULT_NETWORK:
            continue
        view.homes.setdefault(container, []).append(network)
        for known in dict.fromkeys([name, container[:12], *json.loads(aliases)]):
            for form in (known, f"{known}.{title}") if known else ():
                view.names.setdefault((network, form.lower()), []).extend(one for one in both if one)
        for address in filter(None, both):
            view.addresses[network, address] = f"{name or container[:12]}.{title}"
    for container, alias, target in store.db.execute(_LINKS, (DEFAULT_NETWORK,)):
        view.links.setdefault(container, {})[alias.lower()] = target.lower()
    return view


class Resolver:
    """The process's state; `run` is its life."""

    def __init__(self, layout: Layout, listener: socket.socket) -> None:
        self._layout, self._listener = layout, listener
        self._store = open_store(layout)
        self._version = -1
        self._view = View({}, {}, {}, {}, {})
        self._served: dict[str, Served] = {}
        self._selector = selectors.DefaultSelector()
        self._busy: dict[str, int] = {}
        self._lock = threading.Lock()
        self._turn = 0
        self._flushed = False
        self._adopting: list[socket.socket] = []

    def run(self) -> None:
        """Until no container has been served for a while."""
        self._listener.setblocking(False)
        self._watch(self._listener.fileno(), self._greet)
        self._watch_firewall()
        self._flushed = True  # what went before we watched was told to nobody
        self._adopt()
        since = time.monotonic()
        while True:
            if self._adopting:
                self._adopt()
            idle = not self._served
            for key, _ in self._selector.select(_LINGER if idle or self._flushed else None):
                key.data()
            if self._flushed:
                self._flushed = False
                with suppress(TiffinError, OSError):
                    Networks(self._store).mend()
            if self._served:
                since = time.monotonic()
            elif time.monotonic() - since > _LINGER:
                late = retire(self._layout, self._listener)
                if late is None:
                    return
                self._receive(late)

    def _watch(self, fd: int, call: Callable[[], object]) -> None:
        self._selector.register(fd, selectors.EVENT_READ, call)

    # Containers come and go

    def _greet(self) -> bool:
        """Take the next one in, if there is one."""
        try:
            connection = self._listener.accept()[0]
        except BlockingIOError:
            return False
        self._receive(connection)
        return True

    def _receive(self, connection: socket.socket) -> None:
        connection.settimeout(_IDLE)
        try:
            data, fds, _, _ = socket.recv_fds(connection, 4096, 2)
        except OSError:
            data, fds = b"", []
        if len(fds) == 2:
            udp, tcp = (socket.socket(fileno=fd) for fd in fds)
            with suppress(OSError):  # its supervisor has died meanwhile: the watch tells
                connection.send(SERVED)
            self._serve(json.loads(data)["container"], udp, tcp, connection.detach())
            return
        for fd in fds:
            os.close(fd)
        if data:
            self._adopting.append(connection)
        else:
            connection.close()  # somebody changed his mind

    def _serve(self, container: str, udp: socket.socket, tcp: socket.socket, watch: int) -> None:
        """In the place of what served it before. Nothing that is still to be done for that one harms this one."""
        self._forget(container, self._served.get(container))
        udp.setblocking(False)
        tcp.setblocking(False)
        served = self._served[container] = Served(udp, tcp, watch)
        self._watch(udp.fileno(), lambda: self._datagram(container, udp))
        self._watch(tcp.fileno(), lambda: self._connection(container, tcp))
        self._watch(watch, lambda: self._forget(container, served))

    def _forget(self, container: str, served: Served | None) -> None:
        if served is None or self._served.get(container) is not served:
            return
        del self._served[container]
        for fd in (served.udp.fileno(), served.tcp.fileno(), served.watch):
            self._selector.unregister(fd)
        served.udp.close()
        served.tcp.close()
        os.close(served.watch)

    def _adopt(self) -> None:
        """Serve the containers that run and are on networks with names and are not served: those of a resolver that was
        killed, and one that joined its first such network."""
        rows = self._store.db.execute(
            "SELECT DISTINCT c.id, c.pid, c.pid_start FROM containers c JOIN endpoints e ON e.container = c.id"
            " JOIN networks n ON n.id = e.network WHERE n.name != ? AND c.pid > 0",
            (DEFAULT_NETWORK,),
        ).fetchall()
        # Whoever runs by now, and was not another's, has handed its sockets over already: nobody else makes any.
        while self._greet():
            pass
        waiting, self._adopting = self._adopting, []
        for container, pid, start in rows:
            if container not in self._served:
                with suppress(OSError, TiffinError):  # it has ended
                    self._take(container, pid, start)
        for connection in waiting:
            with connection, suppress(OSError):
                connection.send(SERVED)

    def _take(self, container: str, pid: int, start: int) -> None:
        watch = os.pidfd_open(pid)
        try:
            namespace = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
            try:
                if process_start_time(pid) != start:
                    raise ProcessLookupError(f"process {pid} is another one now")
                udp, tcp = open_sockets(namespace)
            finally:
                os.close(namespace)
        except BaseException:
            os.close(watch)
            raise
        self._serve(container, udp, tcp, watch)

    def _watch_firewall(self) -> None:
        events = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 12)
        events.bind((0, 1 << (_NFNLGRP_NFTABLES - 1)))
        events.setblocking(False)

        def changed() -> None:
            self._flushed = True
            try:
                while True:
                    events.recv(1 << 16)
            except OSError:
                return  # all read, or more than it could hold

        self._watch(events.fileno(), changed)

    # Questions

    def _datagram(self, container: str, udp: socket.socket) -> None:
        try:
            query, client = udp.recvfrom(_MESSAGE)
        except OSError:
            return
        answer = self._answer(container, query, wire.DATAGRAM)
        if answer is not None:
            with suppress(OSError):
                if answer:
                    udp.sendto(answer, client)
            return
        view = self._view

        def forward() -> None:
            response = _ask(query, view.servers.get(container), stream=False)
            with suppress(OSError):
                udp.sendto(response, client)

        self._start(container, forward)

    def _connection(self, container: str, tcp: socket.socket) -> None:
        try:
            client, _ = tcp.accept()
        except OSError:
            return
        self._look()

        def talk() -> None:
            end = time.monotonic() + _IDLE
            with client, suppress(OSError, EOFError):
                while query := _read_message(client, end):
                    answer = self._answer(container, query, _MESSAGE, look=False)
                    if answer is None:
                        answer = _ask(query, self._view.servers.get(container), stream=True)
                    if not answer:
                        return
                    client.sendall(struct.pack("!H", len(answer)) + answer)

        if not self._start(container, talk):
            client.close()

    def _start(self, container: str, work: Callable[[], None]) -> bool:
        """Do it in a thread of its own; what is too much is dropped, as UDP may be."""
        with self._lock:
            mine = self._busy.get(container, 0)
            if mine >= _MOST_EACH or sum(self._busy.values()) >= _MOST:
                return False
            self._busy[container] = mine + 1

        def run() -> None:
            try:
                work()
            finally:
                with self._lock:
                    self._busy[container] -= 1
                    if not self._busy[container]:
                        del self._busy[container]

        try:
            threading.Thread(target=run, daemon=True).start()
        except RuntimeError:  # the machine has no more threads for us
            with self._lock:
                self._busy[container] -= 1
            return False
        return True

    def _look(self) -> None:
        """Read the store when it has changed. Of the main thread only."""
        (version,) = self._store.db.execute("PRAGMA data_version").fetchone()
        if version != self._version:
            self._view = read_view(self._store)
            self._version = version

    def _answer(self, container: str, query: bytes, limit: int, *, look: bool = True) -> bytes | None:
        """The response of our own, b"" for what none is due to; None for what others are to be asked."""
        if look:
            self._look()
        try:
            question = wire.parse_query(query)
        except InvalidArgument:
            return wire.refuse(query)
        records = lookup(self._view, container, question, self._turn)
        if (
            question.kind == wire.A
        ):  # clients ask for both kinds: counting both would skip every second replica
            self._turn += 1
        if records is None:
            if container in self._view.servers:
                return None
            return wire.reply(query, question, wire.SERVER_FAILURE, [])
        return wire.reply(query, question, 0, records, limit)


def lookup(
    view: View, container: str, question: wire.Question, turn: int = 0
) -> list[tuple[int, bytes]] | None:
    """The records for a container's question, the first being another at each turn; [] for a name that is ours and has
    none of that type; None for names of others."""
    homes = view.homes.get(container, [])
    address = _asked_address(question) if question.kind == wire.PTR else ""
    if address:
        names = [view.addresses[home, address] for home in homes if (home, address) in view.addresses]
        return [(wire.PTR, wire.encode_name(name)) for name in names] or None
    name = view.links.get(container, {}).get(question.name, question.name)
    found = [one for home in homes for one in view.names.get((home, name), ())]
    if not found:
        return None
    if question.kind not in (wire.A, wire.AAAA):
        return []
    found = [address for address in found if (":" in address) == (question.kind == wire.AAAA)]
    start = turn % max(len(found), 1)
    family = socket.AF_INET if question.kind == wire.A else socket.AF_INET6
    return [(question.kind, socket.inet_pton(family, address)) for address in found[start:] + found[:start]]


def _asked_address(question: wire.Question) -> str:
    """The address whose name is asked for, as endpoints have it; "" for none."""
    if question.name.endswith(_ARPA):
        return ".".join(reversed(question.name.removesuffix(_ARPA).split(".")))
    digits = question.name.removesuffix(_ARPA6).split(".")
    if not question.name.endswith(_ARPA6) or len(digits) != 32 or any(len(digit) != 1 for digit in digits):
        return ""
    try:
        return socket.inet_ntop(socket.AF_INET6, bytes.fromhex("".join(reversed(digits))))
    except ValueError:
        return ""


def _ask(query: bytes, servers: list[str] | None, *, stream: bool) -> bytes:
    """What the first name server says that answers, and has not failed itself; in the end its failure."""
    failure = b""
    for server in (servers or host_servers())[:_MOST_SERVERS]:
        with suppress(OSError, EOFError):
            response = _exchange(server, query, time.monotonic() + _PATIENCE, stream=stream)
            if not wire.has_failed(response):
                return response
            failure = failure or response
    return failure or wire.reply(query, wire.parse_query(query), wire.SERVER_FAILURE, [])


def _exchange(server: str, query: bytes, end: float, *, stream: bool) -> bytes:
    """One name server's response. Raises OSError, also when it is not there by `end`, and EOFError."""
    family = socket.AF_INET6 if ":" in server else socket.AF_INET
    kind = socket.SOCK_STREAM if stream else socket.SOCK_DGRAM
    with socket.socket(family, kind) as upstream:
        upstream.settimeout(_PATIENCE)
        upstream.connect((server, _PORT))
        if stream:
            upstream.sendall(struct.pack("!H", len(query)) + query)
        else:
            upstream.send(query)
        while True:
            if stream:
                response = _read_message(upstream, end)
            else:
                upstream.settimeout(_left(end))
                response = upstream.recv(_MESSAGE)
            if wire.belongs(query, response):
                return response


def host_servers() -> list[str]:
    """The machine's own name servers, those on its loopback too: we are where it is."""
    try:
        with open("/etc/resolv.conf", encoding="utf-8", errors="replace") as file:
            lines = [line.split() for line in file.read(64 * 1024).splitlines()]
    except OSError:
        return []
    return [words[1] for words in lines if len(words) > 1 and words[0] == "nameserver"][:3]


def _read_message(stream: socket.socket, end: float) -> bytes:
    (length,) = struct.unpack("!H", _read(stream, 2, end))
    return _read(stream, length, end)


def _read(stream: socket.socket, length: int, end: float) -> bytes:
    data = b""
    while len(data) < length:
        stream.settimeout(_left(end))
        piece = stream.recv(length - len(data))
        if not piece:
            raise EOFError
        data += piece
    return data


def _left(end: float) -> float:
    """Seconds until then. Raises TimeoutError when there are none."""
    left = end - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def main(root: str, run: str) -> None:
    """The process's whole life."""
    import signal

    os.set_inheritable(LISTENER, False)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with suppress(OSError):
        os.setsid()
    with socket.socket(fileno=LISTENER) as listener:
        Resolver(locate(root, run), listener).run()
