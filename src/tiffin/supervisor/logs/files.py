"""Lines into files that rotate: what json-file and local have in common.

`container.log` is the newest file; rotation renames it to `container.log.1` and so on. An entry reaches the file whole,
in one write, so that a killed supervisor leaves at most one cut entry, which the next writer closes.
"""

import os
import time
from abc import ABC, abstractmethod

from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from tiffin.containers.record import LogConfig

PIECE = 16 * 1024  # bytes of an unfinished line that are held back
NAME = "container.log"


def timestamp(nanoseconds: int) -> str:
    """RFC 3339 in UTC with nine digits of the second."""
    seconds, rest = divmod(nanoseconds, 1_000_000_000)
    parts = time.gmtime(seconds)
    return (
        f"{parts.tm_year:04}-{parts.tm_mon:02}-{parts.tm_mday:02}T"
        f"{parts.tm_hour:02}:{parts.tm_min:02}:{parts.tm_sec:02}.{rest:09}Z"
    )


class LineLog(ABC):
    """A LogWriter to files. A subclass says how entries look. A full or failing disk costs log lines and nothing else:
    what could not be written is dropped whole."""

    def __init__(self, directory: str, config: "LogConfig") -> None:
        self._path = f"{directory}/{NAME}"
        self._config = config
        self._rest: dict[str, bytes] = {}
        self._fd = -1
        self._size = 0
        self._open()

    @abstractmethod
    def encode(self, stream: str, data: bytes, when: int) -> bytes:
        """Entries for `data`, whole lines or an unfinished piece of one, that came at `when` (ns)."""

    @abstractmethod
    def repair(self, fd: int, size: int) -> int:
        """Close an entry that a crash has cut at the end of the file; its new size."""

    def write(self, stream: str, data: bytes) -> None:
        """An unfinished line is held until it is finished, full, or `flush`."""
        rest = self._rest.get(stream)
        if rest:
            data = rest + data
        whole, newline, rest = data.rpartition(b"\n")
        if len(rest) >= PIECE:
            whole, newline, rest = data, b"", b""
        self._rest[stream] = rest
        if whole or newline:
            self._append(self.encode(stream, whole + newline, time.time_ns()))

    def flush(self) -> None:
        for stream, rest in self._rest.items():
            if rest:
                self._append(self.encode(stream, rest, time.time_ns()))
        self._rest.clear()

    def close(self) -> None:
        if self._fd >= 0:
            self.flush()
            os.close(self._fd)
            self._fd = -1

    def _open(self) -> None:
        self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._size = os.fstat(self._fd).st_size
        if self._size:
            self._size = self.repair(self._fd, self._size)

    def _append(self, data: bytes) -> None:
        try:
            if self._config.max_size and self._size and self._size + len(data) > self._config.max_size:
                self._rotate()
            view = memoryview(data)
            while view:
                view = view[os.write(self._fd, view) :]
        except OSError:
            try:
                os.ftruncate(self._fd, self._size)
            except OSError:
                pass  # the disk fails altogether; the reader skips what is cut
            return
        self._size += len(data)

    def _rotate(self) -> None:
        for number in range(self._config.max_file - 1, 0, -1):
            try:
                os.rename(
                    f"{self._path}.{number - 1}" if number > 1 else self._path, f"{self._path}.{number}"
                )
            except FileNotFoundError:
                pass
        if self._config.max_file == 1:
            os.unlink(self._path)
        old = self._fd
        self._open()
        os.close(old)
