"""The pipes between a process and its session. Never the caller's own descriptors: a container could keep them."""

import os
import struct

from tiffin.typed import NamedTuple


class Stdio(NamedTuple):
    """Our ends of a process's stdio: -1 for what it has not. With a tty, `console` (the pty's master) is all."""

    stdin: int = -1
    stdout: int = -1
    stderr: int = -1
    console: int = -1


class Ends(NamedTuple):
    """`theirs` become the process's 0, 1 and 2; `ours` go to the session. With a terminal both are empty: the pty is
    made with the process."""

    theirs: tuple[int, int, int]
    ours: Stdio

    def close_theirs(self) -> None:
        """After the process has them."""
        for fd in self.theirs:
            if fd >= 0:
                os.close(fd)

    def close_ours(self) -> None:
        """When there will be no session."""
        for fd in self.ours:
            if fd >= 0:
                os.close(fd)


def set_size(terminal: int, rows: int, columns: int) -> None:
    """Give a terminal a size; its foreground processes get SIGWINCH."""
    import fcntl
    import termios  # an extension module of its own: most processes have no terminal

    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


def open_stdio(*, terminal: bool, open_stdin: bool) -> Ends:
    """Pipes for a process; its stdin is /dev/null unless `open_stdin`. All descriptors are close-on-exec."""
    if terminal:
        return Ends((-1, -1, -1), Stdio())
    opened: list[int] = []
    try:
        for reading in (True, False, False):
            if reading and not open_stdin:
                opened += [os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC), -1]
            else:
                opened += os.pipe2(os.O_CLOEXEC)
    except BaseException:
        for fd in opened:
            if fd >= 0:
                os.close(fd)
        raise
    in_read, in_write, out_read, out_write, err_read, err_write = opened
    return Ends((in_read, out_write, err_write), Stdio(in_write, out_read, err_read))
