"""The listening socket, and an end for every connection: none may idle, dawdle or pile up."""

import asyncio
import ipaddress
import logging
import signal
import socket
import ssl
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress

from aiohttp import web

from tiffin.errors import Conflict, InvalidArgument, TiffinError
from tiffin.registry.server.access import Access, tls_context
from tiffin.registry.server.app import Application, tell
from tiffin.registry.server.desk import STALL_SECONDS, Desk, Limits
from tiffin.typed import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tiffin.registry.server.shelf import Shelf

CONNECTIONS_MAX = 512
IDLE_SECONDS = 60.0  # a connection without a whole request; so also the time that headers may take
GRACE_SECONDS = 10.0  # for requests under way when the server ends
_SWEEP_SECONDS = 5.0
_EXPIRE_SECONDS = 60.0
_THREADS = 8
_HANDSHAKE_SECONDS = 15.0


class Serving(NamedTuple):
    """How to serve. `address` is HOST:PORT, port 0 any free one; paths "" for none. Beyond this machine, doing without
    users or without TLS has to be asked for."""

    address: str = "127.0.0.1:5000"
    htpasswd: str = ""
    certificate: str = ""
    key: str = ""
    allow_anonymous: bool = False
    allow_http: bool = False
    limits: Limits = Limits()


def serve(shelf: "Shelf", serving: Serving, ready: "Callable[[str], None] | None" = None) -> None:
    """Serve until SIGTERM or SIGINT (in a program's main thread), then end requests under way and close the shelf.
    `ready` is called with the URL once connections are taken. Raises InvalidArgument, Conflict (address in use)."""
    try:
        with _listen(serving) as listener:
            context = tls_context(serving.certificate, serving.key) if serving.certificate else None
            asyncio.run(_Server(shelf, serving).run(listener, context, ready))
    finally:
        shelf.close()


def _listen(serving: Serving) -> socket.socket:
    """A listening socket where `serving` says, unless that is too open."""
    host, colon, port_text = serving.address.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not colon or not port_text.isascii() or not port_text.isdigit() or int(port_text) > 65535:
        raise InvalidArgument(f"invalid address {serving.address!r}: want HOST:PORT, such as 127.0.0.1:5000")
    if bool(serving.certificate) != bool(serving.key):
        raise InvalidArgument("a certificate and its key go together: give both --tls-cert and --tls-key")
    try:
        found = socket.getaddrinfo(host or "0.0.0.0", int(port_text), type=socket.SOCK_STREAM)[0]  # noqa: S104 - checked below
    except OSError as error:
        raise InvalidArgument(f"cannot listen on {serving.address}: {error.strerror}") from error
    family, kind, protocol, _, address = found
    if not ipaddress.ip_address(str(address[0]).partition("%")[0]).is_loopback:
        _check_open(serving)
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # What has been sent and is not taken for so long ends the connection; accepted sockets inherit it.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(STALL_SECONDS * 1000))
        listener.bind(address)
        listener.listen(128)
    except OSError as error:
        listener.close()
        why = (error.strerror or str(error)).lower()
        raise Conflict(f"cannot listen on {serving.address}: {why}; choose another with --listen") from error
    return listener


def _check_open(serving: Serving) -> None:
    if not serving.htpasswd and not serving.allow_anonymous:
        raise InvalidArgument(
            f"{serving.address} is reached from other machines: name users with --htpasswd, or say --allow-anonymous"
        )
    if not serving.certificate and not serving.allow_http:
        raise InvalidArgument(
            f"{serving.address} is reached from other machines: give --tls-cert and --tls-key, or say --allow-http"
        )


class _Server:
    """One run of the server."""

    def __init__(self, shelf: "Shelf", serving: Serving) -> None:
        self._shelf = shelf
        self._settings = serving
        self._busy: dict[object, int] = {}
        self._since: dict[object, float] = {}

    async def run(
        self, listener: socket.socket, context: ssl.SSLContext | None, ready: "Callable[[str], None] | None"
    ) -> None:
        pool = ThreadPoolExecutor(_THREADS, "registry")
        try:
            access = Access(self._settings.htpasswd) if self._settings.htpasswd else None
            desk = Desk(self._shelf, self._settings.limits, pool, self._serving)
            app = Application(desk, access)
            silent = logging.getLogger("tiffin.registry.server")
            silent.disabled = (
                True  # refused requests are their senders' business; our own failures, app tells
            )
            http = web.Server(
                app,
                access_log=None,
                logger=silent,
                keepalive_timeout=IDLE_SECONDS,
                auto_decompress=False,  # a blob is the bytes that were sent
                read_bufsize=1 << 18,
            )
            await self._until_told(http, listener, context, ready, app, desk)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    async def _until_told(
        self,
        http: web.Server,
        listener: socket.socket,
        context: ssl.SSLContext | None,
        ready: "Callable[[str], None] | None",
        app: Application,
        desk: Desk,
    ) -> None:
        told = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            with suppress(ValueError, RuntimeError):  # not the main thread: whoever called ends it
                loop.add_signal_handler(number, self._end, loop, told)
        handshake = _HANDSHAKE_SECONDS if context else None
        server = await loop.create_server(
            lambda: self._connect(http), sock=listener, ssl=context, ssl_handshake_timeout=handshake
        )
        care = [
            asyncio.create_task(self._sweep(http)),
            asyncio.create_task(self._expire(app, desk)),
        ]
        try:
            if ready is not None:
                ready(_url(listener, context))
            await told.wait()
        finally:
            server.close()
            http.pre_shutdown()
            await http.shutdown(GRACE_SECONDS)
            for task in care:
                task.cancel()
            await asyncio.gather(*care, return_exceptions=True)

    def _end(self, loop: asyncio.AbstractEventLoop, told: asyncio.Event) -> None:
        """The first signal ends the server in order, the second at once."""
        told.set()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)

    def _connect(self, http: web.Server) -> asyncio.Protocol:
        return _Refused() if len(http.connections) >= CONNECTIONS_MAX else http()

    @contextmanager
    def _serving(self, request: web.BaseRequest) -> "Iterator[None]":
        """The connection of this request is at work."""
        protocol = request.protocol
        self._busy[protocol] = self._busy.get(protocol, 0) + 1
        try:
            yield
        finally:
            self._busy[protocol] -= 1
            if not self._busy[protocol]:
                del self._busy[protocol]
            self._since[protocol] = time.monotonic()

    async def _sweep(self, http: web.Server) -> None:
        """Cut off connections that have been waiting for a whole request for too long."""
        while True:
            await asyncio.sleep(_SWEEP_SECONDS)
            now, connections = time.monotonic(), http.connections
            self._since = {protocol: self._since.get(protocol, now) for protocol in connections}
            for protocol in connections:
                if protocol not in self._busy and now - self._since[protocol] > IDLE_SECONDS:
                    transport = protocol.transport
                    if transport is not None:
                        transport.abort()

    async def _expire(self, app: Application, desk: Desk) -> None:
        while True:
            await asyncio.sleep(_EXPIRE_SECONDS)
            try:
                await app.uploads.expire()
                await desk.run(self._shelf.expire)
            except (TiffinError, OSError) as error:
                tell(error)


class _Refused(asyncio.Protocol):
    """A connection too many."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.close()


def _url(listener: socket.socket, context: ssl.SSLContext | None) -> str:
    host, port = listener.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    return f"{'https' if context else 'http'}://{shown}:{port}"
