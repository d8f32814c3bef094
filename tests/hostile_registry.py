"""Registries that misbehave as they are told, and names and a proxy that lead to them, all on loopback.

with Hostile() as evil:
    evil.on("GET", "/v2/a/manifests/1", Answer(200, {"Content-Type": MANIFEST}, b"{}"))
    evil.on("GET", "/v2/a/blobs/.*", Answer(503, {"Retry-After": "0"}), Answer(200, body=b"data", cut=2))
    ...
    evil.seen[0].headers["authorization"]

with Internet(tmp_path, {"registry.example": evil}) as internet:      # evil = Hostile(tls=internet.tls) for https
    client = internet.client(credentials)
"""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, NamedTuple

from tests.registries import Tls


class Seen(NamedTuple):
    """One request that came; header names are in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    certificate: bool = False


class Answer(NamedTuple):
    """What to answer. `length` is stated in place of the body's own (-1: none, by closing; -2: chunked); after `cut`
    bytes of the body comes `then`: "reset", "close" (the connection ends), "stall" (nothing, until the server ends) or
    "endless" (zeros for as long as anybody reads)."""

    status: int = 200
    headers: dict[str, str] = {}
    body: bytes = b""
    length: int | None = None
    cut: int | None = None
    then: str = ""


Responder = Callable[[Seen], Answer]


class Hostile:
    """A scripted server. Rules are tried in order; each gives its answers one after the other, the last for ever.
    What no rule matches is answered 404. A context manager."""

    def __init__(self, tls: Tls | None = None, *, ask_certificate: bool = False) -> None:
        self.seen: list[Seen] = []
        self.handshakes_failed = 0
        self._rules: list[tuple[str, re.Pattern[str], list[Answer | Responder]]] = []
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._context: ssl.SSLContext | None = None
        if tls is not None:
            self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._context.load_cert_chain(tls.certificate, tls.key)
            if ask_certificate:
                self._context.verify_mode = ssl.CERT_OPTIONAL
                self._context.load_verify_locations(tls.authority)
        self._server = _Server(self)
        self.port: int = self._server.server_address[1]
        self.host = f"127.0.0.1:{self.port}"
        self.url = f"{'https' if tls else 'http'}://{self.host}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    def on(self, method: str, path: str, *answers: Answer | Responder) -> None:
        """`path` is a regular expression for the whole path with its query; method "*" is any."""
        self._rules.append((method, re.compile(path), list(answers)))

    def requests(self, method: str = "", path: str = ".*") -> list[Seen]:
        """What came, by method and path."""
        return [
            one
            for one in self.seen
            if method in ("", one.method) and re.fullmatch(path, one.path) is not None
        ]

    def answer(self, seen: Seen) -> Answer:
        with self._lock:
            self.seen.append(seen)
            for method, path, answers in self._rules:
                if method in ("*", seen.method) and path.fullmatch(seen.path):
                    found = answers.pop(0) if len(answers) > 1 else answers[0]
                    break
            else:
                return Answer(404, {"Content-Type": "application/json"}, b'{"errors":[]}')
        return found if isinstance(found, Answer) else found(seen)

    def wait_for_end(self) -> None:
        self._ended.wait()

    def wrap(self, connection: socket.socket) -> socket.socket:
        """TLS on it, where this is a server of TLS; an OSError for a client that does not speak what we do."""
        first = connection.recv(1, socket.MSG_PEEK)
        if self._context is None:
            if first == b"\x16":
                raise ConnectionError("TLS to a plain port")
            return connection
        try:
            return self._context.wrap_socket(connection, server_side=True)
        except OSError:
            self.handshakes_failed += 1
            raise

    def __enter__(self) -> Hostile:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self, owner: Hostile) -> None:
        self.owner = owner
        super().__init__(("127.0.0.1", 0), _Handler)

    def finish_request(self, request: Any, client_address: Any) -> None:
        with contextlib.suppress(OSError, ValueError):
            request.settimeout(30)
            wrapped = self.owner.wrap(request)
            try:
                _Handler(wrapped, client_address, self)
            finally:
                wrapped.close()

    def handle_error(self, request: Any, client_address: Any) -> None: ...


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def do(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        body = self.rfile.read(int(headers.get("content-length", 0)))
        shown = isinstance(self.connection, ssl.SSLSocket) and bool(self.connection.getpeercert())
        self.respond(self.server.owner.answer(Seen(self.command, self.path, headers, body, shown)))

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do

    def respond(self, answer: Answer) -> None:
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        if answer.length == -2:
            self.send_header("Transfer-Encoding", "chunked")
        elif answer.length != -1:
            self.send_header(
                "Content-Length", str(len(answer.body) if answer.length is None else answer.length)
            )
        else:
            self.close_connection = True
        self.end_headers()
        if self.command == "HEAD":
            return
        self.send_body(answer.body[: answer.cut], chunked=answer.length == -2)
        if answer.then:
            self.misbehave(answer)
        elif answer.length == -2:
            self.wfile.write(b"0\r\n\r\n")

    def send_body(self, data: bytes, *, chunked: bool) -> None:
        if chunked and data:
            data = b"%x\r\n%b\r\n" % (len(data), data)
        self.wfile.write(data)

    def misbehave(self, answer: Answer) -> None:
        self.wfile.flush()
        self.close_connection = True
        if answer.then == "reset":
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        elif answer.then == "stall":
            self.server.owner.wait_for_end()
        elif answer.then == "endless":
            while True:
                self.send_body(bytes(1 << 16), chunked=answer.length == -2)

    def log_message(self, *args: object) -> None: ...


class Proxy:
    """A proxy that connects each name to the server that stands for it: CONNECT for https, absolute URLs for http.
    `asked` are the request lines that came, `authorizations` what they carried for the proxy."""

    def __init__(self, names: dict[str, int]) -> None:
        self.names = names
        self.asked: list[str] = []
        self.authorizations: list[str] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._open: list[socket.socket] = []

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._open.append(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError, ValueError), connection:
            head = b""
            while b"\r\n\r\n" not in head:
                data = connection.recv(1)
                if not data:
                    return
                head += data
            lines = head.decode("latin-1").split("\r\n")
            self.asked.append(lines[0])
            self.authorizations += [
                line.partition(": ")[2] for line in lines if line.lower().startswith("proxy-authorization:")
            ]
            method, target, _ = lines[0].split(" ")
            name = target if method == "CONNECT" else target.split("/")[2]
            port = self.names.get(name.partition(":")[0])
            if port is None:
                connection.sendall(b"HTTP/1.1 502 nobody\r\nContent-Length: 0\r\n\r\n")
                return
            with socket.create_connection(("127.0.0.1", port)) as upstream:
                self._open.append(upstream)
                if method == "CONNECT":
                    connection.sendall(b"HTTP/1.1 200 connected\r\n\r\n")
                else:
                    upstream.sendall(head)
                back = threading.Thread(target=_copy, args=(upstream, connection), daemon=True)
                back.start()
                _copy(connection, upstream)
                back.join()

    def __enter__(self) -> Proxy:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for one in (self._listener, *self._open):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()


def _copy(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(1 << 16):
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)


class Cutter:
    """A wire to a real server that breaks: of each connection, after so many bytes in either direction, until `cuts`
    is used up. `address` is HOST:PORT of its near end."""

    def __init__(self, host: str, after: int, cuts: int) -> None:
        self.after, self.cuts = after, cuts
        name, _, port = host.rpartition(":")
        self._target = (name, int(port))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._open: list[socket.socket] = []
        self._lock = threading.Lock()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            far = socket.create_connection(self._target)
            self._open += [near, far]
            for source, target in ((near, far), (far, near)):
                threading.Thread(target=self._copy, args=(source, target), daemon=True).start()

    def _copy(self, source: socket.socket, target: socket.socket) -> None:
        passed, cut = 0, False
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                passed += len(data)
                with self._lock:
                    cut = passed > self.after and self.cuts > 0
                    self.cuts -= cut
                if cut:
                    target.sendall(data[: len(data) // 2])
                    break
                target.sendall(data)
        for one in (source, target):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            if cut:
                one.close()  # what its peer still sends is answered by a reset

    def __enter__(self) -> Cutter:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()
        for one in self._open:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()


PUBLIC_ADDRESS = "93.184.215.14"


@contextlib.contextmanager
def names(table: dict[str, list[str]]) -> Iterator[None]:
    """While it lasts, names have these addresses, one of them at each question in turn, the last for ever; others have
    none. Addresses stay themselves."""
    real = socket.getaddrinfo
    left = {name: list(addresses) for name, addresses in table.items()}

    def lookup(host: Any, port: Any, *rest: Any, **how: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else str(host)
        if name in left:
            found = left[name].pop(0) if len(left[name]) > 1 else left[name][0]
            return real(found, port, *rest, **how)
        if name == "localhost" or re.fullmatch(r"[0-9.]+|.*:.*", name):
            return real(host, port, *rest, **how)
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    socket.getaddrinfo = lookup
    try:
        yield
    finally:
        socket.getaddrinfo = real
