"""The caller's side of an attached container: which streams to hand over, raw mode, and its end."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tiffin.errors import InvalidArgument
from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import TypeVar

    from tiffin.engine.options import Streams

    T = TypeVar("T")


def streams(
    *, stdin: bool, tty: bool, sig_proxy: bool = True, detach_keys: str = "ctrl-p,ctrl-q"
) -> "Streams":
    """The process's own descriptors, standard input only when asked for."""
    from tiffin.engine.options import Streams

    sys.stdout.flush()
    return Streams(
        stdin=0 if stdin else None,
        stdout=1,
        stderr=2,
        detach_keys=detach_keys if tty else "",
        sig_proxy=sig_proxy and not tty,
    )


def check_terminal(*, stdin: bool, tty: bool) -> None:
    """Docker's refusal of `-it` when standard input is not a terminal."""
    if tty and stdin and not os.isatty(0):
        raise InvalidArgument("the input device is not a TTY; leave out -t, or run it from a terminal")


@contextmanager
def raw_mode(wanted: bool) -> Iterator[None]:
    """The terminal in raw mode for the length of the block; always restored."""
    if not wanted or not os.isatty(0):
        yield
        return
    import termios
    import tty

    before = termios.tcgetattr(0)
    try:
        tty.setraw(0, termios.TCSADRAIN)
        yield
    finally:
        termios.tcsetattr(0, termios.TCSADRAIN, before)


def attached(call: "Callable[[], T]", *, stdin: bool, tty: bool) -> "T":
    """Run `call` with the terminal raw when it should be."""
    with raw_mode(stdin and tty):
        return call()
