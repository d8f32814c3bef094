"""Where a container's output goes on the caller's side, without ever waiting for it.

A terminal that is slow, or a pager that reads no further, must not keep the caller from passing on keys, sizes and
signals. The descriptors are the caller's, shared with the shell: making them non-blocking would change them for
everybody. A terminal and a pipe can be opened once more instead, as a description of our own.
"""

from __future__ import annotations

import os
import stat

from tiffin.supervisor.frames import Kind
from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from tiffin.engine.options import Sink

_PTMX = os.makedev(5, 2)


class Outlets:
    """Standard output and standard error. What is put is written in that order, whichever of the two it is for."""

    def __init__(self, stdout: Sink, stderr: Sink) -> None:
        self._opened: list[int] = []
        self._sinks: dict[int, Sink] = {
            Kind.STDOUT: self._own(stdout),
            Kind.STDERR: self._own(stderr),
        }
        self._queue: list[tuple[int, memoryview]] = []

    def _own(self, sink: Sink) -> Sink:
        if callable(sink) or sink < 0:
            return sink
        try:
            status = os.fstat(sink)
            # Of a multiplexer, opening again makes another terminal. A file's position would be another, too.
            if stat.S_ISFIFO(status.st_mode) or (os.isatty(sink) and status.st_rdev != _PTMX):
                flags = os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
                self._opened.append(os.open(f"/proc/self/fd/{sink}", flags))
                return self._opened[-1]
        except OSError:
            pass  # another user's terminal, no /proc: as it is then
        return sink

    @property
    def blocked(self) -> int:
        """The descriptor that must take what waits, -1 when nothing does."""
        return self._queue[0][0] if self._queue else -1

    def put(self, kind: int, data: bytes) -> None:
        """Write, or keep what is not taken now. Raises BrokenPipeError when nobody reads any more."""
        sink = self._sinks[kind]
        if callable(sink):
            sink(data)
        elif sink >= 0 and data:
            self._queue.append((sink, memoryview(data)))
            if len(self._queue) == 1:
                self.flush()

    def flush(self) -> None:
        """Write what is taken now."""
        while self._queue:
            fd, view = self._queue[0]
            try:
                written = os.write(fd, view)
            except BlockingIOError:
                return
            except BrokenPipeError:
                raise
            except OSError as error:
                if os.isatty(fd) or error.errno == 5:  # EIO: the terminal hung up
                    raise BrokenPipeError(error.errno, "the terminal is gone") from error
                raise
            if written < len(view):
                self._queue[0] = fd, view[written:]
            else:
                del self._queue[0]

    def close(self) -> None:
        """Drop what waits. Idempotent."""
        self._queue.clear()
        for fd in self._opened:
            os.close(fd)
        self._opened.clear()
