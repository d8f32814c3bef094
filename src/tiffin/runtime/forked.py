"""Between a process and the child that it forked: pipes, errors, and the child's end. Used by `create` and `exec`."""

from __future__ import annotations

import os

from tiffin import errors
from tiffin.errors import EngineError, TiffinError
from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import NoReturn

_SIGKILL = 9


class Descriptors:
    """The pipes between parent and child; whatever is not kept is closed when `create` ends."""

    def __init__(self) -> None:
        self._open: set[int] = set()
        self._child: list[int] = []

    def open(self) -> None:
        self.errors, self.child_errors = self._pipe(False)
        self.go, self.child_go = self._pipe(True)
        self.status, self.child_status = self._pipe(False)
        self.start, self.child_start = self._pipe(True)

    def _pipe(self, parent_writes: bool) -> tuple[int, int]:
        read, write = os.pipe2(os.O_CLOEXEC)
        ours, theirs = (write, read) if parent_writes else (read, write)
        return self.own(ours), self.child_end(theirs)

    def own(self, fd: int) -> int:
        self._open.add(fd)
        return fd

    def child_end(self, fd: int) -> int:
        self._child.append(fd)
        return self.own(fd)

    def parent_ends(self) -> tuple[int, ...]:
        return tuple(self._open - set(self._child))

    def close_child_ends(self) -> None:
        for fd in self._child:
            self._open.discard(fd)
            os.close(fd)
        self._child = []

    def keep(self, fd: int) -> int:
        self._open.discard(fd)
        return fd

    def close(self) -> None:
        for fd in self._open:
            os.close(fd)
        self._open.clear()


def read_all(fd: int) -> bytes:
    chunks = []
    while chunk := os.read(fd, 65536):
        chunks.append(chunk)
    return b"".join(chunks)


def reap(pid: int) -> None:
    try:
        os.kill(pid, _SIGKILL)  # our own child, not yet reaped: the pid is its
        os.waitpid(pid, 0)
    except (ProcessLookupError, ChildProcessError):
        pass


def report(errors_fd: int, error: BaseException) -> None:
    """Send an error to the parent, which raises it again with `raise_reported`."""
    if isinstance(error, TiffinError):
        kind, text = type(error).__name__, str(error)
    else:
        kind, text = "EngineError", f"cannot start the container's process: {type(error).__name__}: {error}"
    os.write(errors_fd, f"{kind}\0{text}".encode("utf-8", "surrogateescape"))


def raise_reported(message: bytes) -> NoReturn:
    kind, _, text = message.decode("utf-8", "surrogateescape").partition("\0")
    raise getattr(errors, kind, EngineError)(text)
