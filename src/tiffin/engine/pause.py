"""pause and unpause: every process of a container held by the freezer, wherever it was.

The row says so before it is done, so that a crash in between leaves a container that `unpause` sets going again.
Whoever freezes or thaws holds a lock of its own in the container's run directory: what `commit` holds still while it
reads is not set going by anybody else.
"""

from __future__ import annotations

import os

from tiffin.containers.states import State
from tiffin.containers.store import Container, Containers
from tiffin.engine import recovery
from tiffin.errors import Conflict
from tiffin.runtime.cgroups import open_cgroup
from tiffin.supervisor import control
from tiffin.typed import TYPE_CHECKING, contextmanager

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tiffin.engine.workspace import Workspace
    from tiffin.runtime.cgroups import Cgroup
    from tiffin.state import Store


def pause(workspace: Workspace, reference: str) -> None:
    """See ContainerService.pause."""
    with workspace.store() as store:
        container = recovery.truth(store, reference)
        with _freezer(store, container):
            _freeze(store, container)


def unpause(workspace: Workspace, reference: str) -> None:
    """See ContainerService.unpause."""
    with workspace.store() as store:
        container = recovery.truth(store, reference)
        with _freezer(store, container):
            _thaw(store, container)


def thaw(store: Store, container: Container) -> None:
    """Let a container go on if it is paused."""
    try:
        with _freezer(store, container):
            _thaw(store, container)
    except Conflict:
        pass  # it has ended, or somebody was quicker


@contextmanager
def held_still(store: Store, container: Container) -> Iterator[None]:
    """A running container is paused meanwhile, and nobody else sets it going; one that is paused stays so, and one that
    has ended is no error. When the caller is killed the container stays paused, and its row says so."""
    with _freezer(store, container):
        ours = _quietly(_freeze, store, container)
        try:
            yield
        finally:
            if ours:
                _quietly(_thaw, store, container)


@contextmanager
def _freezer(store: Store, container: Container) -> Iterator[None]:
    """The lock of those who freeze and thaw. Raises Conflict for a container that does not run."""
    lock = control.acquire_freezer(store.layout, container.id)
    if lock < 0:
        raise Conflict(f"Container {container.id} is not running")
    try:
        yield
    finally:
        os.close(lock)


def _freeze(store: Store, container: Container) -> None:
    """Raises Conflict when it does not run."""
    Containers(store).paused(container.id)
    try:
        _cgroup(store, container).freeze(True)
    except FileNotFoundError:
        raise Conflict(f"Container {container.id} is not running") from None  # it ended meanwhile
    except BaseException:
        _thaw(store, container)
        raise


def _thaw(store: Store, container: Container) -> None:
    """Raises Conflict when it is not paused; it is not touched then."""
    rows = Containers(store)
    current = rows.get(container.id)
    if current is not None and current.status == State.PAUSED:
        try:
            _cgroup(store, container).freeze(False)
        except FileNotFoundError:
            pass  # it is ending
    rows.unpaused(container.id)


def _quietly(step: Callable[[Store, Container], None], store: Store, container: Container) -> bool:
    """Whether the state of the container allowed it."""
    try:
        step(store, container)
    except Conflict:
        return False
    return True


def _cgroup(store: Store, container: Container) -> Cgroup:
    return open_cgroup(container.record.cgroup(store.layout.cgroup))
