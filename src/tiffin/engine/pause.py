"""pause and unpause: every process of a container held by the freezer, wherever it was.

The row says so before it is done, so that a crash in between leaves a container that `unpause` sets going again.
"""

from __future__ import annotations

from tiffin.containers.store import Container, Containers
from tiffin.engine import recovery
from tiffin.errors import Conflict
from tiffin.runtime.cgroups import open_cgroup
from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from tiffin.engine.workspace import Workspace
    from tiffin.state import Store


def pause(workspace: Workspace, reference: str) -> None:
    """See ContainerService.pause."""
    with workspace.store() as store:
        container = recovery.truth(store, reference)
        rows = Containers(store)
        rows.paused(container.id)
        try:
            open_cgroup(container.record.cgroup(store.layout.cgroup)).freeze(True)
        except FileNotFoundError:
            raise Conflict(f"Container {container.id} is not running") from None  # it ended meanwhile
        except BaseException:
            thaw(store, container)
            raise


def unpause(workspace: Workspace, reference: str) -> None:
    """See ContainerService.unpause."""
    with workspace.store() as store:
        container = recovery.truth(store, reference)
        _thaw(store, container)
        Containers(store).unpaused(container.id)


def thaw(store: Store, container: Container) -> None:
    """Let a paused container go on, whatever its state is by now."""
    _thaw(store, container)
    try:
        Containers(store).unpaused(container.id)
    except Conflict:
        pass  # it has ended, or somebody was quicker


def _thaw(store: Store, container: Container) -> None:
    cgroup = open_cgroup(container.record.cgroup(store.layout.cgroup))
    try:
        cgroup.freeze(False)
    except FileNotFoundError:
        pass
