"""Waiting for a container's process in the foreground: signals go to it, and its terminal is the caller's."""

from __future__ import annotations

import fcntl
import os
import select
import signal
import struct

from tiffin.kernel.process import pidfd_send_signal
from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

_FORWARDED = ("SIGHUP", "SIGINT", "SIGQUIT", "SIGTERM", "SIGUSR1", "SIGUSR2", "SIGALRM", "SIGCONT", "SIGTSTP")
_CHUNK = 1 << 16
_TIOCGWINSZ, _TIOCSWINSZ = 0x5413, 0x5414


def attend(pidfd: int, console: int, wait: Callable[[], int]) -> int:
    """The exit code, once the process of `pidfd` has ended. `console`: its terminal's master, -1 for none."""

    def forward(number: int, _: FrameType | None) -> None:
        try:
            pidfd_send_signal(pidfd, number)
        except ProcessLookupError:
            pass

    for name in _FORWARDED:
        signal.signal(getattr(signal, name), forward)
    if console >= 0:
        _relay(pidfd, console)
    return wait()


def _relay(pidfd: int, console: int) -> None:
    import termios
    import tty

    before = termios.tcgetattr(0) if os.isatty(0) else None
    if before is not None:
        _copy_size(console)
        signal.signal(signal.SIGWINCH, lambda *_: _copy_size(console))
        tty.setraw(0)
    try:
        _copy(pidfd, console)
    finally:
        if before is not None:
            termios.tcsetattr(0, termios.TCSADRAIN, before)


def _copy_size(console: int) -> None:
    try:
        size = fcntl.ioctl(0, _TIOCGWINSZ, struct.pack("4H", 0, 0, 0, 0))
        fcntl.ioctl(console, _TIOCSWINSZ, size)
    except OSError:
        pass  # the terminal has gone: nothing to size


def _copy(pidfd: int, console: int) -> None:
    poller = select.poll()
    for fd in (pidfd, console, 0):
        poller.register(fd, select.POLLIN)
    ended = False
    while True:
        ready = dict(poller.poll(0 if ended else None))
        if console in ready:
            try:
                data = os.read(console, _CHUNK)
            except OSError:  # EIO: nobody has the terminal open
                data = b""
            if not data:
                return
            _write_all(1, data)
        elif ended:
            return
        if 0 in ready:
            data = os.read(0, _CHUNK)
            if data:
                _write_all(console, data)
            else:
                poller.unregister(0)
                _write_all(console, b"\x04")
        ended = ended or pidfd in ready


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
