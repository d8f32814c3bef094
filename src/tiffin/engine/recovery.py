"""Telling the truth after a crash: what a dead supervisor left is taken down, and its row says so.

Cheap when nothing is wrong: one query, and one try at a lock per running container. A supervisor holds its
container's lock for its life, and the kernel drops a lock with its holder, so a free lock is proof.
"""

from __future__ import annotations

import os
import time

from tiffin.containers.states import SUPERVISED, State
from tiffin.containers.store import Container, Containers
from tiffin.errors import Conflict, EngineError, NotFound
from tiffin.kernel.process import boot_id
from tiffin.supervisor import control
from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from tiffin.engine.workspace import Workspace
    from tiffin.state import Store

_KILLED = 128 + 9
_LOST = 255  # Docker's exit code of a container whose own nobody was there to see
_STARTING_PATIENCE = 60.0
_DIED = "the container's supervisor died, and the container with it"
_WENT_DOWN = "the machine went down, and the container with it"
_DIED_EARLY = "the container's supervisor died before the container was started"


def reconcile(store: Store) -> None:
    """Recover every container whose supervisor died, and put networks back that somebody flushed. Idempotent; safe
    beside other processes."""
    _release_orphans(store)
    _unmount_orphans(store)
    _mend_networks(store)
    found = [
        container
        for container in Containers(store).in_states(SUPERVISED)
        if _recover_if_dead(store, container)
    ]
    if found:
        from tiffin.network.manager import Networks

        live = {container.id for container in Containers(store).in_states(SUPERVISED)}
        Networks(store).reconcile(live)


def _mend_networks(store: Store) -> None:
    if store.db.execute("SELECT 1 FROM endpoints LIMIT 1").fetchone() is not None:
        from tiffin.network.manager import Networks

        try:
            Networks(store).mend()
        except OSError as error:
            raise EngineError(f"cannot put the networks back: {error}") from error


def _release_orphans(store: Store) -> None:
    """Volumes taken for a container whose `create` died before there was a container, and its run directory."""
    try:
        names = os.listdir(f"{store.layout.run}/containers")
    except FileNotFoundError:
        names = []  # the run directory went while an engine was open: the machine's own cleaning
    taken = {row[0] for row in store.db.execute("SELECT DISTINCT container FROM volume_uses")}
    if not names and not taken:
        return
    known = {row[0] for row in store.db.execute("SELECT id FROM containers")}
    for container_id in (taken | set(names)) - known:
        lock = control.acquire(store.layout, container_id, wait=False)
        if lock >= 0:
            try:
                if Containers(store).get(container_id) is None:
                    if container_id in taken:
                        from tiffin.volumes import Volumes

                        Volumes(store).release(container_id, anonymous=True)
                    control.discard(store.layout, container_id)
            finally:
                os.close(lock)


def _unmount_orphans(store: Store) -> None:
    """Volumes that were mounted for a container at rest, or for an archive, by a command that died."""
    query = f"""SELECT DISTINCT container FROM volume_mounts WHERE NOT failed AND container NOT IN
        (SELECT id FROM containers WHERE status IN ({", ".join("?" * len(SUPERVISED))}))"""  # noqa: S608 - marks
    for (user,) in store.db.execute(query, SUPERVISED).fetchall():
        lock = control.acquire(store.layout, user, wait=False)
        if lock < 0:
            continue  # at work
        try:
            container = Containers(store).get(user)
            if container is None or container.status not in SUPERVISED:
                from tiffin.volumes.mounting import unmount_all

                unmount_all(store, user, last=container is None)
            if container is None:
                control.discard(store.layout, user)
        finally:
            os.close(lock)


def teardown(workspace: Workspace) -> None:
    """See Engine.teardown."""
    from tiffin.network.manager import Networks
    from tiffin.runtime.cgroups import prune_parent

    with workspace.store() as store:
        reconcile(store)
        running = Containers(store).in_states(SUPERVISED)
        if running:
            raise Conflict(f"container {running[0].id} is running; stop it first")
        Networks(store).teardown()
        prune_parent(workspace.layout.cgroup)


def truth(store: Store, reference: str) -> Container:
    """The container that `reference` means, recovered first when its supervisor died, and no longer being started.
    Raises NotFound."""
    container = Containers(store).find(reference)
    deadline = time.monotonic() + _STARTING_PATIENCE
    while container.status == State.STARTING and control.is_held(store.layout, container.id):
        # It is about to run, or to be as it was: short work, and neither state is the truth now.
        if time.monotonic() > deadline:
            raise Conflict(f"container {container.id} is still being started; try again")
        time.sleep(0.005)
        container = Containers(store).find(container.id)
    if container.status in SUPERVISED and _recover_if_dead(store, container):
        current = Containers(store).get(container.id)
        if current is None:
            raise NotFound(f"No such container: {reference}")
        return current
    return container


def settled(store: Store, reference: str) -> Container:
    """As `truth`, and nobody is at work on a container at rest: a start that was begun has become one that runs, an end
    is over. For whoever is to change it by what it is. Raises NotFound, Conflict when that takes too long."""
    container = truth(store, reference)
    deadline = time.monotonic() + _STARTING_PATIENCE
    while container.status not in SUPERVISED and control.is_held(store.layout, container.id):
        if time.monotonic() > deadline:
            raise Conflict(f"container {container.id} is busy; try again")
        time.sleep(0.002)
        container = truth(store, container.id)
    return container


def _recover_if_dead(store: Store, container: Container) -> bool:
    lock = control.acquire(store.layout, container.id, wait=False)
    if lock < 0:
        return False
    try:
        current = Containers(store).get(container.id)
        if current is None:
            control.discard(store.layout, container.id)
        elif current.status in SUPERVISED:
            recover(store, current)
            return True
        return False
    finally:
        os.close(lock)


def recover(store: Store, container: Container) -> None:
    """Take down what is left of a container whose supervisor died; the caller holds its lock. It ends exited
    with code 137 (255 when the machine went down with it), or back where it was when it had not started, or gone
    when it was to be removed."""
    from tiffin.supervisor import takedown

    takedown.kill_processes(container)
    takedown.take_down(store, container)
    rows = Containers(store)
    if container.status == State.REMOVING or container.record.auto_remove:
        takedown.forget(store, container, volumes=container.record.auto_remove)
    elif container.status == State.STARTING:
        before = State.EXITED if container.started else State.CREATED
        rows.not_started(container.id, before, _KILLED, _DIED_EARLY)
    elif not container.pid:  # its end was recorded, and only the taking down was left
        rows.exited(container.id, container.exit_code, container.finished, oom_killed=container.oom_killed)
    elif container.boot_id != boot_id():
        rows.exited(container.id, _LOST, time.time_ns(), oom_killed=False, error=_WENT_DOWN)
    else:
        rows.exited(container.id, _KILLED, time.time_ns(), oom_killed=False, error=_DIED)
