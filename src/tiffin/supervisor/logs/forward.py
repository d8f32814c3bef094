"""Lines sent on to a log server while a `local` log keeps them to be read here."""

import socket
import time
from abc import ABC, abstractmethod

from tiffin.supervisor.logs.files import PIECE
from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from tiffin.supervisor.logs import LogWriter

_PATIENCE = 1.0  # seconds that one send or connect may take
_PAUSE = 1.0  # seconds between attempts to connect


class Forward(ABC):
    """A LogWriter. A subclass formats one line and sends it; what a server does not take within a second is dropped for
    it, and stays in the local log."""

    def __init__(self, kept: "LogWriter", connect: "Callable[[], socket.socket]") -> None:
        self._kept = kept
        self._connect = connect
        self._socket: socket.socket | None = None
        self._failed_at = -_PAUSE
        self._rest: dict[str, bytes] = {}

    @abstractmethod
    def message(self, stream: str, line: bytes) -> bytes:
        """The bytes to send for one line, without its newline."""

    def write(self, stream: str, data: bytes) -> None:
        self._kept.write(stream, data)
        *lines, rest = (self._rest.get(stream, b"") + data).split(b"\n")
        if len(rest) >= PIECE:
            lines, rest = [*lines, rest], b""
        self._rest[stream] = rest
        for line in lines:
            self._send(stream, line)

    def flush(self) -> None:
        self._kept.flush()
        for stream, rest in self._rest.items():
            if rest:
                self._send(stream, rest)
        self._rest.clear()

    def close(self) -> None:
        self.flush()
        self._kept.close()
        self._disconnect()

    def _send(self, stream: str, line: bytes) -> None:
        if self._socket is None and not self._open():
            return
        message = self.message(stream, line)
        for _ in range(2):  # a server that was restarted gets it at the second attempt
            try:
                if self._socket is not None:
                    self._socket.sendall(message)
                return
            except OSError:
                self._disconnect()
                if not self._open():
                    return

    def _open(self) -> bool:
        if time.monotonic() < self._failed_at + _PAUSE:
            return False
        try:
            self._socket = self._connect()
            self._socket.settimeout(_PATIENCE)
        except OSError:
            self._failed_at = time.monotonic()
            return False
        return True

    def _disconnect(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def datagram(path: str) -> socket.socket:
    """A socket connected to a datagram socket in the file system."""
    found = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
    return _connected(found, path)


def stream(path: str) -> socket.socket:
    """A socket connected to a stream socket in the file system."""
    found = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    return _connected(found, path)


def network(kind: int, host: str, port: int) -> socket.socket:
    """A socket connected over the network; `kind` is SOCK_STREAM or SOCK_DGRAM."""
    error: OSError = OSError(f"no address for {host}")
    for family, _, _, _, address in socket.getaddrinfo(host, port, type=socket.SocketKind(kind)):
        found = socket.socket(family, kind | socket.SOCK_CLOEXEC)
        try:
            return _connected(found, address)
        except OSError as failed:
            error = failed
    raise error


def _connected(found: socket.socket, address: "str | tuple[object, ...]") -> socket.socket:
    try:
        found.settimeout(_PATIENCE)
        found.connect(address)
    except BaseException:
        found.close()
        raise
    return found
