"""The processes of a container from outside: reached by pidfd, and only when they are the ones that were meant."""

from __future__ import annotations

import os
import select

from tiffin.kernel.process import pidfd_open, pidfd_send_signal, process_start_time
from tiffin.typed import TYPE_CHECKING, Iterator, contextmanager

if TYPE_CHECKING:
    from tiffin.containers import Container


def open_process(pid: int, start: int) -> int:
    """A pidfd of the process that has this pid and started then; -1 when it is gone, recycled or not."""
    if pid <= 0:
        return -1
    try:
        pidfd = pidfd_open(pid)
    except OSError:
        return -1
    # Only after the descriptor is held is the start time that of the process it names.
    if process_start_time(pid) != start:
        os.close(pidfd)
        return -1
    return pidfd


def open_init(container: Container) -> int:
    """A pidfd of the container's first process, or -1."""
    return open_process(container.pid, container.pid_start)


def send(pidfd: int, number: int) -> bool:
    """Signal it; False when it has ended."""
    try:
        pidfd_send_signal(pidfd, number)
    except ProcessLookupError:
        return False
    return True


def await_end(pidfd: int, seconds: float | None) -> bool:
    """Whether the process ended within the time (None: wait for ever)."""
    poller = select.poll()
    poller.register(pidfd, select.POLLIN)
    return bool(poller.poll(None if seconds is None else max(0.0, seconds) * 1000))


@contextmanager
def closing(pidfd: int) -> Iterator[None]:
    """Close it at the end."""
    try:
        yield
    finally:
        os.close(pidfd)
