"""The caller's side of a shell in a failed build step: its terminal is made raw, and what is typed goes there.

See tiffin.build.running.shell for what passes between the two.
"""

from __future__ import annotations

import os
import select
import socket

from tiffin.build.running.shell import ENDED, FAILED, GO, PACKET, SIGNAL, TERMINAL
from tiffin.engine.caller import Caller
from tiffin.engine.options import Streams
from tiffin.errors import EngineError
from tiffin.runtime.console import resize

_CHUNK = 16 * 1024


class FailureShell:
    """A context manager around a build. `fd` is for the request's `shell_fd`; `attend` is to be called when StepShell
    is told, in the main thread. `streams` have the descriptors of the caller's terminal."""

    def __init__(self, streams: Streams) -> None:
        self._streams = streams
        self._ours, self._theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)

    def __enter__(self) -> FailureShell:
        return self

    def __exit__(self, *_: object) -> None:
        self._ours.close()
        self._theirs.close()

    @property
    def fd(self) -> int:
        return self._theirs.fileno()

    def attend(self) -> int:
        """See the shell through: its exit code. The terminal is as it was afterwards. Raises EngineError when there is
        no shell to be had."""
        self._theirs.close()
        self._send(GO)
        packet, fds, _, _ = socket.recv_fds(self._ours, PACKET, 1)
        if packet[:1] != TERMINAL or not fds:
            text = packet[1:].decode(errors="replace") if packet[:1] == FAILED else "the step's process died"
            raise EngineError(f"no shell in the failed step: {text}")
        master = fds[0]
        try:
            os.set_inheritable(master, False)
            os.set_blocking(master, False)
            with Caller(self._streams, tty=True, proxy=True) as caller:
                return _Session(self._ours, master, caller).run()
        finally:
            os.close(master)

    def _send(self, packet: bytes) -> None:
        try:
            self._ours.send(packet)
        except OSError:
            pass  # it has ended; what it last said is still to be received


class _Session:
    def __init__(self, channel: socket.socket, master: int, caller: Caller) -> None:
        self._channel = channel
        self._master = master
        self._caller = caller
        self._input = caller.streams.stdin if isinstance(caller.streams.stdin, int) else -1
        assert isinstance(caller.streams.stdout, int)
        self._output = caller.streams.stdout
        self._unsent = bytearray()
        self._watching = True

    def run(self) -> int:
        self._resize()
        while True:
            for fd, events in self._poll():
                if fd == self._caller.wake:
                    self._caller.handle(self._pass_on, self._resize)
                elif fd == self._input:
                    self._read_input()
                elif fd == self._master:
                    if events & select.POLLOUT:
                        self._flush()
                    if events & ~select.POLLOUT:
                        self._watching = self._show()
                elif fd == self._channel.fileno():
                    packet = self._channel.recv(PACKET)
                    while self._show():
                        pass
                    if packet[:1] == ENDED and len(packet) == 2:
                        return packet[1]
                    raise EngineError("the shell of the failed step died with its step's process")

    def _poll(self) -> list[tuple[int, int]]:
        poller = select.poll()
        poller.register(self._caller.wake, select.POLLIN)
        poller.register(self._channel, select.POLLIN)
        if self._watching:
            poller.register(self._master, select.POLLIN | (select.POLLOUT if self._unsent else 0))
        if self._input >= 0 and len(self._unsent) < _CHUNK:
            poller.register(self._input, select.POLLIN)
        return poller.poll()

    def _show(self) -> bool:
        """Pass on what the shell has written; False when there is nothing (more)."""
        try:
            data = os.read(self._master, _CHUNK)
        except BlockingIOError:
            return False
        except OSError:  # nobody has the other end open
            data = b""
        view = memoryview(data)
        while view:
            view = view[os.write(self._output, view) :]
        return bool(data)

    def _read_input(self) -> None:
        try:
            data = os.read(self._input, _CHUNK)
        except OSError:  # the terminal hung up, or we are in its background
            data = b""
        if not data:
            self._input = -1
            self._caller.hung_up(self._pass_on)
        self._unsent += data
        self._flush()

    def _flush(self) -> None:
        try:
            del self._unsent[: os.write(self._master, self._unsent)]
        except BlockingIOError:
            pass
        except OSError:  # it has ended
            self._unsent.clear()

    def _pass_on(self, number: int) -> None:
        try:
            self._channel.send(SIGNAL + bytes([number]))
        except OSError:
            pass  # it has ended

    def _resize(self) -> None:
        rows, columns = self._caller.size()
        if rows or columns:
            resize(self._master, rows, columns)
