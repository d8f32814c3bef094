"""Becoming the helper, the last call of a child that the engine forked; or having it run in a child."""

from __future__ import annotations

import fcntl
import os

from tiffin.init.message import MESSAGE_FD, START_FD, STATUS_FD, WINDOW
from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import NoReturn

    from tiffin.init.message import Message

_FIRST_FREE = START_FD + 1
_STATE_SLOT, _SLOTS = 2, 4  # WINDOW_STATE and WINDOW_SIZE of tiffin-init.c
_COPIES_FROM = 16  # above what the helper is given
_WINDOW_FROM = 64  # above what is opened by and by


def execute_helper(helper_fd: int, message: Message, status_fd: int, start_fd: int = -1) -> NoReturn:
    """Replace this process by the helper, with its descriptors in place; fds 0 to 2 are as the caller set
    them.

    The message's own descriptors (root_fd, join_pidfd) may have any number and be close-on-exec. Only what
    the helper is to hold should be inheritable otherwise. Returns by OSError alone, with descriptors 3 to 5
    spent: for a process that has nothing left to do but report and exit.
    """
    root_fd, join_pidfd = message.root_fd, message.join_pidfd
    # First everything out of the way of 3 to 5, so that no dup2 below lands on what a later one needs.
    helper, status = _move(helper_fd, True), _move(status_fd, True)
    start = _move(start_fd, True) if start_fd >= 0 else -1
    placed = message._replace(
        root_fd=_move(root_fd, False) if root_fd >= 0 else root_fd,
        join_pidfd=_move(join_pidfd, False) if join_pidfd >= 0 else join_pidfd,
    )
    if message.preserve or message.hooks or message.label:
        placed = _lay_out(placed)
    encoded = _move(placed.open(), True)
    os.dup2(encoded, MESSAGE_FD)
    os.dup2(status, STATUS_FD)
    if start >= 0:
        os.dup2(start, START_FD)
    os.execve(helper, ["tiffin-init"], {})


def spawn_helper(
    helper_fd: int, message: Message, stdio: tuple[int, int, int], status_fd: int, start_fd: int
) -> int:
    """Run the helper in a child of this process; its pid. Unlike a fork and `execute_helper`, this copies nothing of
    the process, nor takes a copy apart: two milliseconds. For a message without hooks, a label or preserved
    descriptors, and a process of one thread: what the helper inherits is inheritable meanwhile. Raises OSError."""
    made: list[int] = []

    def copy(fd: int, how: int = fcntl.F_DUPFD_CLOEXEC) -> int:
        made.append(fcntl.fcntl(fd, how, _COPIES_FROM))
        return made[-1]

    try:
        placed = message._replace(
            join_pidfd=copy(message.join_pidfd, fcntl.F_DUPFD),
            enter=[copy(fd, fcntl.F_DUPFD) for fd in message.enter],
        )
        encoded = placed.open()
        made.append(encoded)
        ends = [*stdio, encoded, status_fd, start_fd]  # 0 to 2, MESSAGE_FD, STATUS_FD, START_FD
        actions = [(os.POSIX_SPAWN_DUP2, copy(fd), target) for target, fd in enumerate(ends)]
        program = f"/proc/self/fd/{copy(helper_fd)}"
        return os.posix_spawn(program, ["tiffin-init"], {}, file_actions=actions)
    finally:
        for fd in made:
            os.close(fd)


def _lay_out(message: Message) -> Message:
    """Put what the helper hands on, and the state that hooks read, side by side, with free numbers behind each other
    for the helper's own (see `window` in tiffin-init.c)."""
    window = _free_run(len(message.preserve) + _SLOTS)
    for at, fd in enumerate(message.preserve):
        os.dup2(fd, window + at)
    if message.state_fd >= 0:
        os.dup2(message.state_fd, window + len(message.preserve) + _STATE_SLOT)
    return message._replace(window=window, flags=message.flags | WINDOW)


def _free_run(length: int) -> int:
    """The first of so many numbers that no descriptor has. Asked of the kernel one by one: /proc/self is not ours to
    read in a user namespace that we have joined."""
    start = at = _WINDOW_FROM
    while at < start + length:
        try:
            fcntl.fcntl(at, fcntl.F_GETFD)
        except OSError:
            at += 1
        else:
            start = at = at + 1
    return start


def _move(fd: int, close_on_exec: bool) -> int:
    return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC if close_on_exec else fcntl.F_DUPFD, _FIRST_FREE)
