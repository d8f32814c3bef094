"""rm: a container, its files and, when asked, its anonymous volumes."""

from __future__ import annotations

import os
import time

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
        container = recovery.settled(store, reference)
        while True:
            if not can_remove(container.status):
                if not force:
                    raise Conflict(_refusal(container))
                kill_for_removal(store, container)
            if _remove_found(store, container, volumes=volumes):
                return container.id
            time.sleep(0.002)
            container = recovery.settled(store, container.id)


def _refusal(container: Container) -> str:
    if container.status == State.PAUSED:
        return (
            f"You cannot remove a paused container {container.id}. "
            "Unpause and then stop the container before attempting removal or force remove"
        )
    state = "restarting" if container.status == State.RESTARTING else "running"
    return (
        f"You cannot remove a {state} container {container.id}. "
        "Stop the container before attempting removal or force remove"
    )


def remove_resting(store: Store, container: Container) -> bool:
    """Remove a container only if it does not run and nobody is at work on it; whether it was."""
    lock = control.acquire(store.layout, container.id, wait=False)
    if lock < 0:
        return False
    try:
        current = Containers(store).get(container.id)
        if current is None or current.status in SUPERVISED:
            return False
        _remove(store, current, volumes=False)
        return True
    finally:
        os.close(lock)


def _remove_found(store: Store, container: Container, *, volumes: bool) -> bool:
    """Remove a container at rest; somebody else may have removed it. False when somebody is at work on it: maybe it is
    being started, and whoever waits for its lock then waits for its end."""
    lock = control.acquire(store.layout, container.id, wait=False)
    if lock < 0:
        return Containers(store).get(container.id) is None
    try:
        rows = Containers(store)
        current = rows.get(container.id)
        if current is None:
            control.discard(store.layout, container.id)
            return True
        if current.status in SUPERVISED:
            recovery.recover(store, current)
            current = rows.get(container.id)
            if current is None:
                return True
        _remove(store, current, volumes=volumes)
        return True
    finally:
        os.close(lock)


def _remove(store: Store, container: Container, *, volumes: bool) -> None:
    """The caller holds the lock."""
    Containers(store).set_status(container.id, State.REMOVING)
    takedown.take_down(store, container)
    takedown.forget(store, container, volumes=volumes)
