"""The caller of an attached container or exec: its terminal, which is always given back, and the signals sent to it.

Everything begins before the container is started and ends after the last byte, so that no moment is left in which a
signal finds the terminal raw and nobody to restore it.

    signal          without a tty                       with a tty, its line editing done by the container
    HUP             passed on                           passed on, then the caller's own
    INT QUIT TERM   passed on                           passed on
    TSTP CONT       passed on                           the caller's own: stops as it began, goes on raw
    WINCH           -                                   the new size is passed on
    others          passed on                           passed on

"Passed on" holds with `proxy`; else the signal is the caller's own: the terminal is given back, what the signal did
before is done (which mostly ends the process), and if that returns, the terminal is taken again. Never passed on are
KILL and STOP, which cannot be; CHLD, PIPE and URG as with Docker; WINCH, which is about the window and which some
servers take for something else; TTIN and TTOU, which answer what the caller itself did; and those that say that this
program is at fault.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found] # `signal` turns numbers into names: 0.3 ms for all of them
import os

from tiffin.supervisor.frames import Want
from tiffin.typed import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from tiffin.engine.options import Streams

_NEVER = frozenset((
    _signal.SIGKILL, _signal.SIGSTOP, _signal.SIGCHLD, _signal.SIGPIPE, _signal.SIGURG, _signal.SIGWINCH,
    _signal.SIGTTIN, _signal.SIGTTOU, _signal.SIGSEGV, _signal.SIGBUS, _signal.SIGFPE, _signal.SIGILL,
))  # fmt: skip
_RESERVED = (32, 33)  # the C library's own
_HUP, _TSTP, _CONT, _WINCH = _signal.SIGHUP, _signal.SIGTSTP, _signal.SIGCONT, _signal.SIGWINCH
_OWN = (_HUP, _signal.SIGINT, _signal.SIGQUIT, _signal.SIGTERM, _TSTP, _CONT)
PROXIED = tuple(number for number in range(1, 65) if number not in _NEVER and number not in _RESERVED)


def wants(streams: Streams) -> int:
    """What an attach with these streams asks the supervisor for."""
    return (
        (Want.STDIN if streams.stdin is not None else 0)
        | (Want.STDOUT if streams.stdout != -1 else 0)
        | (Want.STDERR if streams.stderr != -1 else 0)
    )


class Caller:
    """A context manager. `tty` is the container's; the caller's own terminal is made raw when its input goes there.
    Signals are only looked after in the main thread."""

    def __init__(self, streams: Streams, *, tty: bool, proxy: bool) -> None:
        self.streams = streams
        self.tty = tty
        self._proxy = proxy
        fd = streams.stdin
        self._terminal = fd if tty and isinstance(fd, int) and fd >= 0 and os.isatty(fd) else -1
        self._before: list[Any] | None = None
        self._handlers: dict[int, Any] = {}
        self._arrived: list[int] = []
        self.wake, self._waker = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)

    def __enter__(self) -> Caller:
        try:
            self._catch()
            self._take_terminal()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        self._give_terminal_back()
        for number, handler in self._handlers.items():
            _signal.signal(number, _signal.SIG_DFL if handler is None else handler)
        self._handlers.clear()
        os.close(self.wake)
        os.close(self._waker)

    @property
    def raw(self) -> bool:
        """Whether the caller's terminal is in raw mode."""
        return self._before is not None

    def size(self) -> tuple[int, int]:
        """(rows, columns) of the caller's terminal, (0, 0) when it has none, or one without a size."""
        if self.tty:
            for end in (self.streams.stdout, self.streams.stdin):
                if isinstance(end, int) and end >= 0 and os.isatty(end):
                    try:
                        size = os.get_terminal_size(end)
                    except OSError:
                        continue  # it hung up
                    return size.lines, size.columns
        return 0, 0

    # Signals

    def _catch(self) -> None:
        if not _is_main_thread():
            return
        numbers = PROXIED if self._proxy else _OWN if self.tty else ()
        for number in (*numbers, _WINCH) if self.tty else numbers:
            try:
                self._handlers[number] = _signal.signal(number, self._signalled)
            except (OSError, ValueError):
                continue  # not on this machine

    def _signalled(self, number: int, _frame: object) -> None:
        self._arrived.append(number)
        try:
            os.write(self._waker, b"\0")
        except OSError:
            pass  # it is awake already

    def handle(self, pass_on: Callable[[int], None], resize: Callable[[], None]) -> None:
        """Do what the signals that arrived ask for; to be called when `wake` is readable."""
        try:
            os.read(self.wake, 64)
        except BlockingIOError:
            pass
        while self._arrived:
            number = self._arrived.pop(0)
            if not self.tty:
                pass_on(number)
            elif number == _WINCH:
                resize()
            elif number in (_TSTP, _CONT):
                if number == _TSTP:
                    self.do_own(number)
                self._take_terminal_again()
                resize()
            else:
                if self._proxy:
                    pass_on(number)
                if number == _HUP or not self._proxy:
                    self.do_own(number)

    def do_own(self, number: int) -> None:
        """What the signal would have done to this process, with its terminal as it found it."""
        self._give_terminal_back()
        before = self._handlers.get(number, _signal.SIG_DFL)
        _signal.signal(number, _signal.SIG_DFL if before is None else before)
        os.kill(os.getpid(), number)
        _signal.signal(number, self._signalled)
        self._take_terminal()

    def hung_up(self, pass_on: Callable[[int], None]) -> None:
        """The terminal is gone and this process was not told: as if it had been. Returns when it ignores that."""
        if self._proxy:
            pass_on(_HUP)
        if _is_main_thread():
            self.do_own(_HUP)

    # The terminal

    def _take_terminal(self) -> None:
        if self._terminal < 0 or self._before is not None:
            return
        import termios
        import tty

        try:
            before = termios.tcgetattr(self._terminal)
            self._before = before
            tty.setraw(self._terminal, termios.TCSANOW)  # the default drops what was typed ahead
        except termios.error:
            self._before = None  # it hung up

    def _take_terminal_again(self) -> None:
        """After a stop: whoever went on with the terminal meanwhile may have changed it. Not from the background."""
        try:
            ours = os.tcgetpgrp(self._terminal) == os.getpgrp()
        except OSError:
            ours = self._terminal >= 0
        if ours:
            if self._before is not None:
                import termios
                import tty

                try:
                    tty.setraw(self._terminal, termios.TCSANOW)
                except termios.error:
                    pass  # it hung up
            else:
                self._take_terminal()

    def _give_terminal_back(self) -> None:
        if self._before is None:
            return
        import termios

        before, self._before = self._before, None
        try:
            termios.tcsetattr(
                self._terminal, termios.TCSANOW, before
            )  # not when all is shown: that may be never
        except termios.error:
            pass  # it is gone


def _is_main_thread() -> bool:
    """Where `threading` was never imported, no other thread runs Python code."""
    import _thread
    import sys

    threading = sys.modules.get("threading")
    return threading is None or bool(threading.main_thread().ident == _thread.get_ident())
