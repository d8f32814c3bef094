"""Between a process and the child that it forked: pipes, errors, and the child's end. Used by `create` and
`exec`, and by `external` for what another runtime's program made."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod

from tiffin import errors
from tiffin.errors import EngineError, TiffinError
from tiffin.kernel.process import pidfd_open, pidfd_send_signal, process_start_time
from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import NoReturn

    from tiffin.runtime.cgroups import Cgroup

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


class Child:
    """A process that this one reaps. `pid` is the host's, `pid_start` makes it unmistakable for as long as the machine
    runs. `console_fd` is the terminal's master, -1 without one. Descriptors are CLOEXEC and closed by `close`, which
    does not end the process. `warnings` are lines for the user."""

    def __init__(self, pid: int, console_fd: int, warnings: list[str]) -> None:
        self.pid = pid
        self.pid_start = process_start_time(pid)
        self.pidfd = pidfd_open(pid)
        self.console_fd = console_fd
        self.warnings = warnings
        self._exit_code: int | None = None

    def wait(self) -> int:
        """The exit code, 128 + n after signal n. Blocks; to be told, poll `pidfd`. Idempotent.

        The kernel ends PID 1 of a namespace last, after every process in it has been reaped: whoever ran
        commands in the container must `wait` for those too, or this blocks."""
        if self._exit_code is None:
            code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
            self._exit_code = code if code >= 0 else 128 - code
        return self._exit_code

    def signal(self, number: int) -> None:
        """Send a signal; a process that has ended is no error."""
        try:
            pidfd_send_signal(self.pidfd, number)
        except ProcessLookupError:
            pass

    def close(self) -> None:
        """Close the descriptors. Idempotent."""
        for fd in (self.pidfd, self.console_fd):
            if fd >= 0:
                os.close(fd)
        self.pidfd = self.console_fd = -1


class FirstProcess(Child, ABC):
    """A container's first process, made and not yet started."""

    def __init__(self, pid: int, cgroup: Cgroup, console_fd: int) -> None:
        super().__init__(pid, console_fd, [])
        self.cgroup = cgroup

    @abstractmethod
    def start(self) -> None:
        """Execute the command. When that fails nothing remains of the container before CommandNotFound or
        CommandNotExecutable (or EngineError) is raised."""

    @abstractmethod
    def _remove(self) -> None:
        """What the container has beside its processes."""

    def destroy(self) -> None:
        """Kill, reap, close and remove. For a process that shall not run (on)."""
        self.signal(_SIGKILL)
        self.wait()
        self.close()
        self._remove()


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
