"""stop, kill, wait: ending a container, and knowing that it ended.

All of them hold a connection to the supervisor, which says EXIT once everything is taken down and recorded; a
connection that ends without it means that the supervisor died, and what it left is recovered.
"""

from __future__ import annotations

import os
import select
import time

from tiffin.containers.states import LIVE, State, can_stop
from tiffin.containers.store import Containers
from tiffin.engine import recovery
from tiffin.engine.pause import thaw
from tiffin.engine.signals import parse_signal
from tiffin.errors import Conflict, EngineError, TiffinError
from tiffin.state.events import tell
from tiffin.supervisor import control, processes
from tiffin.supervisor.frames import FrameReader, Kind, exit_code, frame
from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from tiffin.containers import Container
    from tiffin.engine.workspace import Workspace
    from tiffin.kernel import sockets as socket
    from tiffin.state import Store

_WAIT, _STOP, _PART = frame(Kind.WAIT), frame(Kind.STOP, b"\1"), frame(Kind.STOP, b"\0")
_SIGKILL = 9
_KILL_PATIENCE = 20.0  # seconds for the kernel to end killed processes and for the supervisor to take down


def stop(workspace: Workspace, reference: str, timeout: int | None, stop_signal: str) -> None:
    """See ContainerService.stop."""
    with workspace.store() as store:
        container = recovery.settled(store, reference)
        if not can_stop(container.status):
            return
        number = parse_signal(stop_signal or container.record.stop_signal)
        seconds = container.record.stop_timeout if timeout is None else timeout
        with _Ending(store, container, _STOP) as ending:
            ending.signal(number)
            if not ending.ended(None if seconds < 0 else float(seconds)):
                ending.signal(_SIGKILL)
                ending.require()
            ending.tell("stop")


def kill(workspace: Workspace, reference: str, signal_name: str) -> None:
    """See ContainerService.kill. After SIGKILL the container is down when this returns."""
    number = parse_signal(signal_name)
    with workspace.store() as store:
        container = recovery.settled(store, reference)
        if not can_stop(container.status):
            raise Conflict(f"Cannot kill container: {reference}: Container {container.id} is not running")
        # A signal that is to end it ends its restarts too; any other leaves the policy in place.
        fatal = number in (_SIGKILL, parse_signal(container.record.stop_signal))
        with _Ending(store, container, _STOP if fatal else _WAIT) as ending:
            ending.signal(number)
            if number == _SIGKILL or (fatal and container.status == State.RESTARTING):
                ending.require()


def kill_for_removal(store: Store, container: Container) -> None:
    """SIGKILL, and wait until it is down (and gone, with auto_remove)."""
    with _Ending(store, container, _STOP) as ending:
        ending.signal(_SIGKILL)
        ending.require()


def wait(workspace: Workspace, reference: str) -> int:
    """See ContainerService.wait."""
    with workspace.store() as store:
        container = recovery.truth(store, reference)
        if container.status not in (*LIVE, State.STARTING, State.RESTARTING):
            return container.exit_code
        with _Ending(store, container) as ending:
            ending.ended(None)
            return ending.exit_code


def stop_all(workspace: Workspace) -> list[tuple[str, str]]:
    """See SystemService.stop_containers."""
    from contextlib import ExitStack

    failed = []
    with workspace.store() as store, ExitStack() as stack:
        recovery.reconcile(store)
        endings = []
        for container in Containers(store).in_states((*LIVE, State.STARTING, State.RESTARTING)):
            try:
                known = recovery.truth(store, container.id)
                ending = stack.enter_context(_Ending(store, known, _PART))
                ending.signal(parse_signal(known.record.stop_signal))
                endings.append((known, ending))
            except TiffinError as error:
                failed.append((container.name, str(error)))
        began = time.monotonic()
        for container, ending in endings:
            patience = container.record.stop_timeout
            left = None if patience < 0 else max(0.0, began + patience - time.monotonic())
            try:
                if not ending.ended(left):
                    ending.signal(_SIGKILL)
                    ending.require()
            except TiffinError as error:
                failed.append((container.name, str(error)))
    return failed


class _Ending:
    """A watch on a container's end: a connection to its supervisor, and its first process. `request` is the frame that
    it begins with: to WAIT for the end of this run, or that no other follows."""

    def __init__(self, store: Store, container: Container, request: bytes = _WAIT) -> None:
        self._store = store
        self._request = request
        self._container = container
        self.exit_code = container.exit_code
        self._over = False
        self._reader = FrameReader()
        self._pidfd = processes.open_init(container)
        self._connection = control.connect(store.layout, container.id)
        self._send(request)

    def _send(self, data: bytes) -> None:
        try:
            if self._connection is not None:
                self._connection.sendall(data)
        except OSError:
            pass  # it is ending; what it said last, or its silence, is received below

    def __enter__(self) -> _Ending:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._connection is not None:
            self._connection.close()
        if self._pidfd >= 0:
            os.close(self._pidfd)

    def signal(self, number: int) -> None:
        """Signal the first process; a paused container goes on first, or it could not end."""
        if self._pidfd < 0 or not processes.send(self._pidfd, number):
            # Its supervisor has run it again since the row was read: it knows which process is the first now.
            self._send(frame(Kind.SIGNAL, bytes([number])))
        else:
            self.tell("kill", {"signal": str(int(number))})
            if self._container.status == State.PAUSED:
                thaw(self._store, self._container)
                self._container = self._container._replace(status=State.RUNNING)

    def tell(self, action: str, attributes: dict[str, str] | None = None) -> None:
        """An event; none of a container that has been removed since."""
        tell(self._store, action, self._container.id, attributes)

    def require(self) -> None:
        """Raise EngineError unless it ends in due time."""
        if not self.ended(_KILL_PATIENCE):
            raise EngineError(f"container {self._container.id} was killed and has not ended; try again")

    def ended(self, seconds: float | None) -> bool:
        """Whether it ended, and was taken down, within the time (None: wait for ever)."""
        deadline = None if seconds is None else time.monotonic() + seconds
        while not self._over:
            if self._connection is None:
                self._settle()
                break
            poller = select.poll()
            poller.register(self._connection, select.POLLIN)
            left = None if deadline is None else max(0.0, deadline - time.monotonic()) * 1000
            if not poller.poll(left):
                return False
            self._receive(self._connection)
        return True

    def _receive(self, connection: socket.socket) -> None:
        try:
            data = connection.recv(4096)
        except ConnectionError:
            data = b""
        if not data:
            self._settle()
        for kind, payload in self._reader.feed(data):
            if kind == Kind.EXIT:
                self.exit_code = exit_code(payload)
                self._over = True

    def _settle(self) -> None:
        """The supervisor is gone, or on its way: wait for its lock, and have the row tell."""
        self._over = True
        os.close(control.acquire(self._store.layout, self._container.id))
        recovery.reconcile(self._store)
        current = Containers(self._store).get(self._container.id)
        if current is not None and self._request == _STOP:
            Containers(self._store).stopped(current.id)  # its supervisor could not say so
        if current is None:
            control.discard(self._store.layout, self._container.id)
        else:
            self.exit_code = current.exit_code
