"""The loop between a process's stdio, the log and the attached clients.

One `Session` serves the first process of a container, or one `exec`. Output goes to the log and to every client
that wants it; a client that does not read holds the output back once HIGH_WATER bytes wait for it, as with Docker.
One that takes nothing for STALLED seconds is let go, as the log has what it missed; one that is gone is dropped. Input
comes from every client that has stdin.

A container that runs again keeps its session: `run`, `end_run`, `idle` until its time has come, `next_run`, `run`, ...
and `finish` after the last.
"""

import os
import select
import struct
import time

from tiffin.errors import Corrupt
from tiffin.kernel import sockets as socket
from tiffin.kernel.process import pidfd_send_signal
from tiffin.supervisor.client import HIGH_WATER, Client
from tiffin.supervisor.frames import Kind, Want, exit_payload, restart_request, terminal_size
from tiffin.supervisor.stdio import Stdio, set_size
from tiffin.typed import TYPE_CHECKING, Callable, Protocol

if TYPE_CHECKING:
    from tiffin.supervisor.logs import LogWriter

_CHUNK = 64 * 1024
_INPUT_HIGH_WATER = 64 * 1024
_IN = select.POLLIN | select.POLLHUP | select.POLLERR
_LOOK_AGAIN = 10.0  # seconds between looks at clients that hold the output back
_SIGKILL = 9
_NEVER = float("inf")
_LINGER = 60.0  # seconds that a client which reads nothing can keep a finished session from closing


class Companion(Protocol):
    """What goes on beside the process for as long as it runs, in the session's loop: a health check."""

    def descriptors(self) -> tuple[int, ...]:
        """`turn` when one of them can be read."""

    def deadline(self) -> float:
        """`turn` then, by time.monotonic()."""

    def turn(self) -> None:
        """Do what is due. Called often."""


class Session:
    """See the module. Owns the descriptors of `stdio`, the clients and the listener; not the pidfd.

    `companion` is looked after while the process runs. `stop_asked`: no run is to follow; `stopped_by_hand`: until
    somebody starts it again. `restart_asked`: one is to follow whatever the policy says.
    `killed`: this run had to be, because the time that a restart gave it was over."""

    def __init__(
        self,
        pidfd: int,
        stdio: Stdio,
        *,
        log: "LogWriter | None" = None,
        listener: socket.socket | None = None,
        stdin_once: bool = False,
        drain: float = 2.0,
    ) -> None:
        """`drain`: seconds after the process's end in which output held open by others may still come."""
        self._listener = listener
        self._stdin_once = stdin_once
        self._drain = drain
        self._clients: dict[int, Client] = {}
        self._held: list[int] = []
        self.stop_asked = self.stopped_by_hand = False
        self.next_run(pidfd, stdio, log)

    def next_run(self, pidfd: int, stdio: Stdio, log: "LogWriter | None") -> None:
        """Serve another process, after the one before has ended."""
        self._pidfd = pidfd
        self._tty = stdio.console >= 0
        self._stdin = stdio.console if self._tty else stdio.stdin
        self._outputs = {
            fd: kind
            for fd, kind in (
                (stdio.console, Kind.STDOUT),
                (stdio.stdout, Kind.STDOUT),
                (stdio.stderr, Kind.STDERR),
            )
            if fd >= 0
        }
        self._log = log
        self._input = bytearray()
        self._input_ended = False
        self._exited_at = 0.0
        self._kill_at = _NEVER
        self.restart_asked = self.killed = False
        self.companion: Companion | None = None
        for fd in (*self._outputs, self._stdin):
            if fd >= 0:
                os.set_blocking(fd, False)

    def add(self, client: Client) -> None:
        """Serve one more connection."""
        self._clients[client.fileno()] = client

    def run(self) -> None:
        """Until the process has ended and its output is drained; then stdio and log are closed."""
        while not (self._exited_at and (not self._outputs or self._drained())):
            for fd, events in self._poll():
                self._handle(fd, events)
            self._tend()
            self._drop_closed()
        for fd in list(self._outputs):
            self._close_output(fd)
        self._close_stdin()
        if self._log is not None:
            self._log.close()
        self._hear_all()

    def release(self) -> None:
        """Close what clients gave to be kept for this run. Idempotent."""
        for fd in self._held:
            os.close(fd)
        self._held = []

    def end_run(self, code: int) -> None:
        """Tell the exit code to who attached or waits. Who follows the log stays, and who wants another run."""
        self._pidfd = -1
        for client in self._clients.values():
            if client.asked and not client.watching and not client.restarting:
                client.queue(Kind.EXIT, exit_payload(code))
                client.leave()
        self._drop_closed()

    def idle(self, until: float) -> None:
        """Serve the clients without a process until that time (monotonic), or until somebody asks for a stop or
        a restart."""
        while not (self.stop_asked or self.restart_asked) and time.monotonic() < until:
            for fd, events in self._poll(until):
                self._handle(fd, events)
            self._drop_closed()

    def answer_restart(self, failed: bytes = b"") -> None:
        """Tell who asked for a restart that there is another run, or that there is none: FAILED's payload."""
        for client in self._clients.values():
            if client.restarting:
                client.queue(Kind.FAILED if failed else Kind.STARTED, failed)
                client.restarting = False
                client.leave()

    def finish(self, code: int) -> None:
        """Tell everyone the exit code and wait until they have taken what is theirs. Closes the listener."""
        if self._listener is not None:
            self._accept()
            self._listener.close()
        for client in self._clients.values():
            client.queue(Kind.EXIT, exit_payload(code))
        deadline = time.monotonic() + _LINGER
        while waiting := [client for client in self._clients.values() if client.open and client.backlog]:
            poller = select.poll()
            for client in waiting:
                poller.register(client, select.POLLOUT)
            if not poller.poll(max(0, deadline - time.monotonic()) * 1000):
                break
            before = sum(client.backlog for client in waiting)
            for client in waiting:
                client.flush()
            if sum(client.backlog for client in waiting) < before:
                deadline = time.monotonic() + _LINGER
        for client in self._clients.values():
            client.close()

    # One turn of the loop

    def _poll(self, until: float = _NEVER) -> list[tuple[int, int]]:
        poller = select.poll()
        if not self._exited_at:
            poller.register(self._pidfd, select.POLLIN)
            for fd in self.companion.descriptors() if self.companion else ():
                poller.register(fd, select.POLLIN)
        if self._listener is not None:
            poller.register(self._listener, select.POLLIN)
        wanted: dict[int, int] = {}
        if not self._held_back():
            wanted = dict.fromkeys(self._outputs, select.POLLIN)
        if self._input and self._stdin >= 0:
            wanted[self._stdin] = wanted.get(self._stdin, 0) | select.POLLOUT
        for fd, events in wanted.items():
            poller.register(fd, events)
        accepting = len(self._input) < _INPUT_HIGH_WATER
        for fd, client in self._clients.items():
            events = (select.POLLIN if accepting or not client.wants & Want.STDIN else 0) | (
                select.POLLOUT if client.backlog else 0
            )
            poller.register(fd, events)
        return poller.poll(self._timeout(until))

    def _timeout(self, until: float) -> float | None:
        """Milliseconds until there is something to do."""
        if not self._exited_at:
            until = min(until, self._kill_at, self.companion.deadline() if self.companion else _NEVER)
            if self._held_back():
                until = min(until, time.monotonic() + _LOOK_AGAIN)
        elif self._outputs:
            until = min(until, self._exited_at + self._drain)
        # A poll of a fraction of a millisecond is none: round up, or the loop turns at full speed.
        return None if until == _NEVER else max(0.0, (until - time.monotonic()) * 1000 + 1)

    def _tend(self) -> None:
        """What is due by time."""
        if self._exited_at:
            return
        if time.monotonic() >= self._kill_at:
            self._kill_at = _NEVER
            self.killed = True
            self._send(_SIGKILL)
        if self.companion is not None:
            self.companion.turn()

    def _hear_all(self) -> None:
        """Take what clients have sent so far: what they asked before the process ended counts."""
        self._accept()
        for client in list(self._clients.values()):
            if client.open:
                self._receive(client)

    def _drained(self) -> bool:
        """Whether the wait for others that hold our pipes is over. A slow client is no such wait."""
        if time.monotonic() < self._exited_at + self._drain:
            return False
        if self._held_back():
            self._exited_at = time.monotonic()
            return False
        return True

    def _held_back(self) -> bool:
        return any(client.backlog > HIGH_WATER and not client.leaving for client in self._clients.values())

    def _handle(self, fd: int, events: int) -> None:
        if fd == self._pidfd:
            self._exited_at = time.monotonic()
        elif self._listener is not None and fd == self._listener.fileno():
            self._accept()
        elif fd in self._clients:
            client = self._clients[fd]
            if events & select.POLLOUT:
                client.flush()
            if events & _IN and client.open:
                self._receive(client)
        else:
            if events & select.POLLOUT and fd == self._stdin:
                self._write_input()
            if events & _IN and fd in self._outputs:
                self._copy(fd)
            elif events & select.POLLERR and fd == self._stdin:
                self._close_stdin()

    def _copy(self, fd: int) -> None:
        try:
            data = os.read(fd, _CHUNK)
        except BlockingIOError:
            return
        except OSError:  # EIO: no process has the terminal open any more
            data = b""
        if not data:
            # A terminal that nobody has open right now may be opened again while the process lives.
            if fd != self._stdin or not self._tty or self._exited_at:
                self._close_output(fd)
            else:
                self._await_exit()
            return
        kind = self._outputs[fd]
        if self._log is not None:
            self._log.write("stdout" if kind == Kind.STDOUT else "stderr", data)
        wanted = Want.STDOUT if kind == Kind.STDOUT else Want.STDERR
        for client in self._clients.values():
            if client.wants & wanted:
                client.queue(kind, data)
            elif client.watching and not client.backlog:
                client.queue(Kind.CHANGED)

    def _await_exit(self) -> None:
        # A hung-up terminal polls as ready for ever: look again in a moment, or at the process's end.
        poller = select.poll()
        poller.register(self._pidfd, select.POLLIN)
        if poller.poll(10):
            self._exited_at = time.monotonic()

    # Clients

    def _accept(self) -> None:
        if self._listener is None:
            return
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            peer = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
            if peer[1] not in (0, os.geteuid()):
                connection.close()
                continue
            client = Client(connection)
            client.asked = False
            self.add(client)

    def _receive(self, client: Client) -> None:
        for kind, payload in client.receive():
            try:
                _COMMANDS.get(kind, Session._ignore)(self, client, payload)
            except Corrupt:
                client.close()
                return

    def _take_input(self, client: Client, payload: bytes) -> None:
        if client.wants & Want.STDIN and self._stdin >= 0 and not self._input_ended:
            self._input += payload
            self._write_input()

    def _attach(self, client: Client, payload: bytes) -> None:
        client.asked = True
        client.want(payload[0] if payload else 0)
        client.queue(Kind.ATTACHED, bytes([self._tty]))

    def _wait(self, client: Client, payload: bytes) -> None:  # noqa: ARG002 - one signature for all commands
        client.asked = True
        client.queue(Kind.ATTACHED, bytes([self._tty]))

    def _watch(self, client: Client, payload: bytes) -> None:  # noqa: ARG002 - as above
        client.asked = client.watching = True
        client.queue(Kind.ATTACHED, bytes([self._tty]))

    def _resize(self, client: Client, payload: bytes) -> None:  # noqa: ARG002 - as above
        if self._tty and self._stdin >= 0:
            rows, columns = terminal_size(payload)
            set_size(self._stdin, rows, columns)

    def _signal(self, client: Client, payload: bytes) -> None:  # noqa: ARG002 - as above
        if len(payload) == 1:
            self._send(payload[0])

    def _send(self, number: int) -> None:
        if not self._exited_at:
            try:
                pidfd_send_signal(self._pidfd, number)
            except OSError:
                pass  # it has just ended, or there is no such signal: Docker's proxy ignores both

    def _stop(self, client: Client, payload: bytes) -> None:
        client.asked = True
        self.stop_asked, self.restart_asked = True, False
        self._kill_at = _NEVER  # who stops it says how long that may take
        self.stopped_by_hand = self.stopped_by_hand or payload == b"\1"
        client.queue(Kind.ATTACHED, bytes([self._tty]))

    def _restart(self, client: Client, payload: bytes) -> None:
        number, seconds = restart_request(payload)
        client.asked = client.restarting = True
        self.restart_asked = True
        self.stop_asked = self.stopped_by_hand = False
        if seconds >= 0:
            self._kill_at = min(self._kill_at, time.monotonic() + seconds)
        self._send(number)

    def _hold(self, client: Client, payload: bytes) -> None:  # noqa: ARG002 - as above
        if self._exited_at or self._pidfd < 0:
            client.close()  # what would be kept now would be in the way of another run
            return
        self._held += client.descriptors
        client.descriptors = []
        client.queue(Kind.HELD)

    def _ignore(self, client: Client, payload: bytes) -> None:
        pass

    def _drop_closed(self) -> None:
        for fd, client in list(self._clients.items()):
            if client.open and client.backlog > HIGH_WATER and client.is_stalled():
                client.close()
            if client.open and client.leaving and not client.backlog:
                client.close()
            if not client.open:
                del self._clients[fd]
                if client.had_stdin:
                    self._end_input(client)

    # The process's stdin

    def _end_input(self, client: Client, payload: bytes = b"") -> None:  # noqa: ARG002 - as above
        """A client's input is over; the process's is too when it was to have one client's (Docker's StdinOnce)."""
        if client.had_stdin and self._stdin_once and not self._tty:
            self._input_ended = True
            self._write_input()

    def _write_input(self) -> None:
        while self._input and self._stdin >= 0:
            try:
                sent = os.write(self._stdin, memoryview(self._input)[:_CHUNK])
            except BlockingIOError:
                return
            except OSError:  # nobody reads it any more
                self._input.clear()
                self._close_stdin()
                return
            del self._input[:sent]
        if self._input_ended:
            self._close_stdin()

    def _close_stdin(self) -> None:
        if self._stdin >= 0 and not self._tty:
            os.close(self._stdin)
        if not self._tty:
            self._stdin = -1

    def _close_output(self, fd: int) -> None:
        del self._outputs[fd]
        os.close(fd)
        if self._tty:
            self._stdin = -1


_COMMANDS: dict[int, Callable[[Session, Client, bytes], None]] = {
    Kind.STDIN: Session._take_input,
    Kind.STDIN_EOF: Session._end_input,
    Kind.ATTACH: Session._attach,
    Kind.WAIT: Session._wait,
    Kind.WATCH: Session._watch,
    Kind.RESIZE: Session._resize,
    Kind.SIGNAL: Session._signal,
    Kind.STOP: Session._stop,
    Kind.RESTART: Session._restart,
    Kind.HOLD: Session._hold,
}
