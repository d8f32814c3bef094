"""The caller's side of an attached container or exec: its streams on one side, the supervisor's frames on the other.

Shared by run, start, attach and exec. Blocks until the process has ended or the caller detached. The loop waits for
nobody: while output waits for the caller's terminal, keys, sizes and signals are still passed on, and only the
supervisor's frames are left where they are.
"""

from __future__ import annotations

import os
import select

from tiffin.engine.caller import wants
from tiffin.engine.detach import DetachWatch, parse_keys
from tiffin.engine.outlets import Outlets
from tiffin.errors import EngineError
from tiffin.supervisor import failure
from tiffin.supervisor.frames import FrameReader, Kind, Want, exit_code, frame, size_payload
from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from tiffin.engine.caller import Caller
    from tiffin.kernel import sockets as socket

_CHUNK = 64 * 1024
_TTY_CHUNK = 16 * 1024  # so that what is typed during a flood is heard soon


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


def relay(channel: socket.socket, caller: Caller, size: tuple[int, int]) -> int | None:
    """Copy until EXIT: the exit code, or None once the detach keys were typed, or, when only input is attached, it has
    all been passed on. `size` is the terminal's that the process was started with. Raises what a start raised,
    EngineError when the supervisor died, BrokenPipeError when nobody reads the caller's output."""
    with _Relay(channel, caller, size) as copying:
        return copying.run()


class _Relay:
    def __init__(self, channel: socket.socket, caller: Caller, size: tuple[int, int]) -> None:
        streams = caller.streams
        self._channel = channel
        self._caller = caller
        self._reader = FrameReader()
        self._unsent = bytearray()
        self._watch = DetachWatch(parse_keys(streams.detach_keys) if caller.tty else b"")
        self._input = streams.stdin if isinstance(streams.stdin, int) else -1
        self._outlets = Outlets(streams.stdout, streams.stderr)
        self._input_alone = wants(streams) == Want.STDIN
        self._joined = False
        self._code: int | None = None
        self._size = size
        channel.setblocking(False)
        if isinstance(streams.stdin, bytes):
            for start in range(0, len(streams.stdin), _CHUNK):
                self._send(Kind.STDIN, streams.stdin[start : start + _CHUNK])
            self._send(Kind.STDIN_EOF)

    def __enter__(self) -> _Relay:
        return self

    def __exit__(self, *exception: object) -> None:
        self._outlets.close()

    def run(self) -> int | None:
        self._resize()  # it may have changed since
        while True:
            for fd, events in self._poll():
                if fd == self._caller.wake:
                    self._caller.handle(self._pass_on, self._resize)
                elif fd == self._input:
                    if self._read_input():
                        return None
                elif fd == self._outlets.blocked:
                    self._outlets.flush()
                elif fd == self._channel.fileno():
                    if events & select.POLLOUT:
                        self._flush()
                    if events & ~select.POLLOUT and self._code is None:
                        self._receive()
            if self._code is not None and self._outlets.blocked < 0:
                return self._code
            if self._input_alone and self._input < 0 and self._joined and not self._unsent:
                return None

    def _poll(self) -> list[tuple[int, int]]:
        poller = select.poll()
        poller.register(self._caller.wake, select.POLLIN)
        blocked = self._outlets.blocked
        if blocked >= 0:
            poller.register(blocked, select.POLLOUT)
        receiving = blocked < 0 and self._code is None
        if receiving or self._unsent:
            poller.register(
                self._channel,
                (select.POLLIN if receiving else 0) | (select.POLLOUT if self._unsent else 0),
            )
        if self._input >= 0 and len(self._unsent) < _CHUNK:
            poller.register(self._input, select.POLLIN)
        return poller.poll()

    def _receive(self) -> None:
        try:
            data = self._channel.recv(_TTY_CHUNK if self._caller.tty else 4 * _CHUNK)
        except BlockingIOError:
            return
        except ConnectionError:
            data = b""
        if not data:
            raise EngineError(
                "the container's supervisor is gone; `tiffin ps -a` says what became of the container"
            )
        for kind, payload in self._reader.feed(data):
            if kind in (Kind.STDOUT, Kind.STDERR):
                self._outlets.put(kind, payload)
            elif kind == Kind.EXIT:
                self._code = exit_code(payload)
            elif kind == Kind.FAILED:
                raise failure.decode(payload)
            elif kind in (Kind.STARTED, Kind.ATTACHED):
                self._joined = True
            elif kind == Kind.NOTICE and not callable(self._caller.streams.stderr):
                self._warn(payload.decode(errors="replace"))

    def _warn(self, text: str) -> None:
        shown = "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)
        ending = "\r\n" if self._caller.raw else "\n"
        self._outlets.put(Kind.STDERR, f"WARNING: {shown}{ending}".encode())

    def _read_input(self) -> bool:
        """Pass typed bytes on; whether the caller is to leave: the detach keys were among them, or it hung up."""
        try:
            data = os.read(self._input, _CHUNK)
        except BlockingIOError:
            return False
        except OSError:  # the terminal hung up, or we are in its background: there is no more input
            data = b""
        if not data:
            self._input = -1
            if held := self._watch.end():
                self._send(Kind.STDIN, held)
            self._send(Kind.STDIN_EOF)
            if self._caller.raw:  # in raw mode no key ends the input
                self._caller.hung_up(self._pass_on)
                return True
            return False
        passed, detached = self._watch.feed(data)
        if passed:
            self._send(Kind.STDIN, passed)
        return detached

    def _pass_on(self, number: int) -> None:
        if self._code is None:
            self._send(Kind.SIGNAL, bytes([number]))
        else:
            self._caller.do_own(number)  # it has ended, and what is left is between the caller and its output

    def _resize(self) -> None:
        size = self._caller.size()
        if any(size) and size != self._size:
            self._size = size
            self._send(Kind.RESIZE, size_payload(*size))

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
