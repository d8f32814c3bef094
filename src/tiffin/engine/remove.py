"""rm: a container, its files and, when asked, its anonymous volumes."""

from __future__ import annotations

import os

from tiffin.containers.states import SUPERVISED, State, can_remove
from tiffin.containers.store import Container, Containers
from tiffin.engine import recovery
from tiffin.engine.stop import kill_for_removal
from tiffin.errors import Conflict
from tiffin.supervisor import control, takedown
from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from tiffin.engine.workspace import Workspace
    from tiffin.state import Store


def remove(workspace: Workspace, reference: str, *, force: bool, volumes: bool) -> str:
    """See ContainerService.remove."""
    with workspace.store() as store:
        container = recovery.truth(store, reference)
        if not can_remove(container.status):
            if not force:
                raise Conflict(
                    f"You cannot remove a running container {container.id}. "
                    "Stop the container before attempting removal or force remove"
                )
            kill_for_removal(store, container)
        remove_found(store, container, volumes=volumes)
        return container.id


def remove_found(store: Store, container: Container, *, volumes: bool) -> None:
    """Remove a container at rest, once whoever is at work on it is done. Somebody else may have removed it."""
    lock = control.acquire(store.layout, container.id)
    try:
        rows = Containers(store)
        current = rows.get(container.id)
        if current is None:
            control.discard(store.layout, container.id)
            return
        if current.status in SUPERVISED:
            recovery.recover(store, current)
            current = rows.get(container.id)
            if current is None:
                return
        rows.set_status(current.id, State.REMOVING)
        takedown.take_down(store, current)
        takedown.forget(store, current, volumes=volumes)
    finally:
        os.close(lock)
