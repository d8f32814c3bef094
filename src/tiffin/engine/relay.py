"""The caller's side of an attached container or exec: its streams on one side, the supervisor's frames on the other.

Shared by run, start, attach and exec. Blocks until the process has ended or the caller detached.
"""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tiffin.engine.detach import DetachWatch, parse_keys
from tiffin.errors import EngineError
from tiffin.supervisor import failure
from tiffin.supervisor.frames import FrameReader, Kind, Want, exit_code, frame, size_payload
from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    import socket

    from tiffin.engine.options import Sink, Streams

_CHUNK = 64 * 1024
_PROXIED = ("SIGHUP", "SIGINT", "SIGQUIT", "SIGTERM", "SIGUSR1", "SIGUSR2", "SIGCONT")


def wants(streams: Streams) -> int:
    """What an attach with these streams asks the supervisor for."""
    return Want.STDOUT | Want.STDERR | (Want.STDIN if streams.stdin is not None else 0)


def terminal_size(streams: Streams) -> tuple[int, int]:
    """(rows, columns) of the caller's terminal, (0, 0) when it has none."""
    for end in (streams.stdout, streams.stdin):
        if isinstance(end, int) and end >= 0 and os.isatty(end):
            size = os.get_terminal_size(end)
            return size.lines, size.columns
    return 0, 0


def await_started(channel: socket.socket) -> tuple[str, ...]:
    """Wait for a start without attaching; lines that the user should read. Raises what the start raised."""
    reader = FrameReader()
    notices: list[str] = []
    while data := channel.recv(_CHUNK):
        for kind, payload in reader.feed(data):
            if kind == Kind.STARTED:
                return tuple(notices)
            if kind == Kind.NOTICE:
                notices.append(payload.decode())
            if kind == Kind.FAILED:
                raise failure.decode(payload)
    raise EngineError("the supervisor ended before the container was started; see `tiffin ps -a`")


def relay(channel: socket.socket, streams: Streams, *, tty: bool, proxy: bool) -> int | None:
    """Copy until EXIT: the exit code, or None once the detach keys were typed. `proxy`: pass this process's
    signals on (only from the main thread, and without a tty). Raises what a start raised, EngineError when the
    supervisor died, BrokenPipeError when nobody reads the caller's output."""
    with _Relay(channel, streams, tty) as copying, _raw(streams, tty), _signals(copying, tty, proxy):
        return copying.run()


class _Relay:
    def __init__(self, channel: socket.socket, streams: Streams, tty: bool) -> None:
        self._channel = channel
        self._streams = streams
        self._reader = FrameReader()
        self._unsent = bytearray()
        self._watch = DetachWatch(parse_keys(streams.detach_keys) if tty else b"")
        self._input = streams.stdin if isinstance(streams.stdin, int) else -1
        self._signals: list[int] = []
        self._wake, self._waker = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        channel.setblocking(False)
        if isinstance(streams.stdin, bytes):
            for start in range(0, len(streams.stdin), _CHUNK):
                self._send(Kind.STDIN, streams.stdin[start : start + _CHUNK])
            self._send(Kind.STDIN_EOF)

    def __enter__(self) -> _Relay:
        return self

    def __exit__(self, *exception: object) -> None:
        os.close(self._wake)
        os.close(self._waker)

    def signalled(self, number: int) -> None:
        """Called by a signal handler: handle the signal in the loop."""
        self._signals.append(number)
        try:
            os.write(self._waker, b"\0")
        except BlockingIOError:
            pass  # it is awake already

    def run(self) -> int | None:
        while True:
            for fd, events in self._poll():
                if fd == self._wake:
                    self._handle_signals()
                elif fd == self._input:
                    if self._read_input():
                        return None
                elif events & select.POLLOUT:
                    self._flush()
                if fd == self._channel.fileno() and events & ~select.POLLOUT:
                    code = self._receive()
                    if code is not None:
                        return code

    def _poll(self) -> list[tuple[int, int]]:
        poller = select.poll()
        poller.register(self._wake, select.POLLIN)
        poller.register(self._channel, select.POLLIN | (select.POLLOUT if self._unsent else 0))
        if self._input >= 0 and len(self._unsent) < _CHUNK:
            poller.register(self._input, select.POLLIN)
        return poller.poll()

    def _receive(self) -> int | None:
        try:
            data = self._channel.recv(4 * _CHUNK)
        except BlockingIOError:
            return None
        except ConnectionError:
            data = b""
        if not data:
            raise EngineError(
                "the container's supervisor is gone; `tiffin ps -a` says what became of the container"
            )
        for kind, payload in self._reader.feed(data):
            if kind == Kind.STDOUT:
                _deliver(self._streams.stdout, payload)
            elif kind == Kind.STDERR:
                _deliver(self._streams.stderr, payload)
            elif kind == Kind.EXIT:
                return exit_code(payload)
            elif kind == Kind.FAILED:
                raise failure.decode(payload)
            elif kind == Kind.NOTICE and isinstance(self._streams.stderr, int):
                _deliver(self._streams.stderr, b"WARNING: " + payload + b"\n")
        return None

    def _read_input(self) -> bool:
        """Pass typed bytes on; whether the detach keys were among them."""
        try:
            data = os.read(self._input, _CHUNK)
        except BlockingIOError:
            return False
        except OSError:  # the terminal hung up, or we are in its background: there is no more input
            data = b""
        if not data:
            self._input = -1
            self._send(Kind.STDIN_EOF)
            return False
        passed, detached = self._watch.feed(data)
        if passed:
            self._send(Kind.STDIN, passed)
        return detached

    def _handle_signals(self) -> None:
        os.read(self._wake, 64)
        while self._signals:
            number = self._signals.pop(0)
            if number == signal.SIGWINCH:
                self._send(Kind.RESIZE, size_payload(*terminal_size(self._streams)))
            else:
                self._send(Kind.SIGNAL, bytes([number]))

    def _send(self, kind: int, payload: bytes = b"") -> None:
        self._unsent += frame(kind, payload)
        self._flush()

    def _flush(self) -> None:
        while self._unsent:
            try:
                sent = self._channel.send(memoryview(self._unsent)[: 4 * _CHUNK])
            except BlockingIOError:
                return
            except OSError:  # it has ended; what it last said is still to be received
                self._unsent.clear()
                return
            del self._unsent[:sent]


def _deliver(sink: Sink, data: bytes) -> None:
    if callable(sink):
        sink(data)
    elif sink >= 0:
        view = memoryview(data)
        while view:
            try:
                view = view[os.write(sink, view) :]
            except BlockingIOError:
                poller = select.poll()
                poller.register(sink, select.POLLOUT)
                poller.poll()


@contextmanager
def _raw(streams: Streams, tty: bool) -> Iterator[None]:
    """The caller's terminal in raw mode for as long as the container's own does the line editing."""
    fd = streams.stdin
    if not tty or not isinstance(fd, int) or fd < 0 or not os.isatty(fd):
        yield
        return
    import termios
    import tty as modes

    before = termios.tcgetattr(fd)
    modes.setraw(fd, termios.TCSADRAIN)  # and not the default, which drops what was typed ahead
    try:
        yield
    finally:
        try:
            termios.tcsetattr(fd, termios.TCSADRAIN, before)
        except termios.error:
            pass  # the terminal is gone


@contextmanager
def _signals(copying: _Relay, tty: bool, proxy: bool) -> Iterator[None]:
    import _thread

    numbers = [int(getattr(signal, name)) for name in _PROXIED] if proxy and not tty else []
    if tty:
        numbers.append(int(signal.SIGWINCH))
    if _thread.get_ident() != _main_thread() or not numbers:
        yield
        return
    before: dict[int, Callable[..., object] | int | None] = {}
    try:
        for number in numbers:
            before[number] = signal.signal(number, lambda got, _: copying.signalled(got))
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)


def _main_thread() -> int:
    """The main thread's ident. Where `threading` was never imported, no other thread runs Python code."""
    import _thread
    import sys

    threading = sys.modules.get("threading")
    return int(threading.main_thread().ident) if threading else _thread.get_ident()
