"""restart: a running container ends and runs again, in one piece: its supervisor does both.

Whoever asked may die meanwhile, and a container that is to be removed with its end is not.
"""

from __future__ import annotations

from tiffin.containers.states import State, can_stop
from tiffin.engine import lifecycle, recovery
from tiffin.engine.pause import thaw
from tiffin.engine.signals import parse_signal
from tiffin.state.events import tell
from tiffin.supervisor import control, failure
from tiffin.supervisor.frames import FrameReader, Kind, frame, restart_payload
from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from tiffin.containers import Container
    from tiffin.engine.workspace import Workspace
    from tiffin.kernel import sockets as socket
    from tiffin.state import Store


def restart(workspace: Workspace, reference: str, timeout: int | None, stop_signal: str) -> None:
    """See ContainerService.restart."""
    with workspace.store() as store:
        container = recovery.truth(store, reference)
        number = parse_signal(stop_signal or container.record.stop_signal)
        seconds = container.record.stop_timeout if timeout is None else timeout
        again = can_stop(container.status) and _ask(store, container, int(number), seconds)
    if not again:
        lifecycle.start(workspace, container.id)
    with workspace.store() as store:
        tell(store, "restart", container.id)


def _ask(store: Store, container: Container, number: int, seconds: int) -> bool:
    """Have the supervisor do it; False when it ended before it was asked. Raises what the start raises."""
    connection = control.connect(store.layout, container.id)
    if connection is None:
        return False
    with connection:
        if container.status != State.RESTARTING:
            # First of all: what follows from it is told by the supervisor, as it happens.
            tell(store, "kill", container.id, {"signal": str(number)})
        try:
            connection.sendall(frame(Kind.RESTART, restart_payload(number, seconds)))
        except OSError:
            return False
        if container.status == State.PAUSED:
            thaw(store, container)
        return _await(connection)


def _await(connection: socket.socket) -> bool:
    reader = FrameReader()
    while True:
        try:
            data = connection.recv(4096)
        except ConnectionError:
            return False
        if not data:
            return False
        for kind, payload in reader.feed(data):
            if kind == Kind.STARTED:
                return True
            if kind == Kind.FAILED:
                raise failure.decode(payload)
            if kind == Kind.EXIT:
                return False
