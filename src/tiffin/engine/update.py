"""update: other limits and another restart policy for a container, at once when it runs, and for its next starts.

The record stays as it was made; the row's `limits` are laid over it whenever the row is read.
"""

from __future__ import annotations

import os

from tiffin.containers.policy import check_restart, restart_of
from tiffin.containers.record import Resources
from tiffin.containers.states import State, can_kill
from tiffin.containers.store import Container, Containers
from tiffin.engine import kernel_support, limits, recovery
from tiffin.errors import Conflict, InvalidArgument, NotFound, TiffinError
from tiffin.runtime.cgroups import open_cgroup
from tiffin.runtime.cgroups.change import change
from tiffin.runtime.spec import ContainerOptions
from tiffin.runtime.spec import resources as oci_resources
from tiffin.state import lock_file
from tiffin.supervisor import prepare, shared
from tiffin.typed import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tiffin.containers.record import RestartPolicy
    from tiffin.engine.workspace import Workspace
    from tiffin.state import Store

_UNSET = Resources()
_CHANGEABLE = frozenset(
    (
        *(
            "nano_cpus",
            "cpu_shares",
            "cpu_quota",
            "cpu_period",
            "cpu_rt_period",
            "cpu_rt_runtime",
            "cpuset_cpus",
        ),
        *("cpuset_mems", "memory", "memory_swap", "memory_reservation", "pids_limit", "blkio_weight"),
        *("bandwidth_in", "bandwidth_out"),
    )
)
_BANDWIDTH = {"bandwidth_in", "bandwidth_out"}
# part of linux.resources: the fields that are told there
_PARTS = {
    "memory": ("memory", "memory_swap", "memory_reservation"),
    "pids": ("pids_limit",),
    "blockIO": ("blkio_weight",),
    "cpu": (
        *("nano_cpus", "cpu_shares", "cpu_quota", "cpu_period", "cpu_rt_period", "cpu_rt_runtime"),
        *("cpuset_cpus", "cpuset_mems"),
    ),
}


def update(
    workspace: Workspace, reference: str, wanted: Resources, restart: RestartPolicy | None
) -> tuple[str, ...]:
    """See ContainerService.update."""
    asked = {key for key, value in wanted._asdict().items() if value != getattr(_UNSET, key)}
    if asked - _CHANGEABLE:
        raise InvalidArgument(f"{min(asked - _CHANGEABLE)} cannot be changed; make the container anew")
    if restart is not None:
        check_restart(restart)
    with workspace.store() as store:
        # One at a time: each change is the whole of what was asked, over what was there.
        lock = lock_file(f"{store.layout.run}/update.lock")
        try:
            container = recovery.truth(store, reference)
            if restart is not None and container.record.auto_remove:
                raise InvalidArgument(
                    "Restart policy cannot be updated because AutoRemove is enabled for the container"
                )
            return _update(store, container, wanted, asked, restart)
        finally:
            os.close(lock)


def _update(
    store: Store, container: Container, wanted: Resources, asked: set[str], restart: RestartPolicy | None
) -> tuple[str, ...]:
    if container.status in (State.REMOVING, State.DEAD):
        raise Conflict(
            f'Cannot update container {container.id}: Container is marked for removal and cannot be "update".'
        )
    wanted, warnings = kernel_support.adapt(wanted)
    asked = {key for key in asked if getattr(wanted, key) != getattr(_UNSET, key)}
    before = container.record.resources
    after = limits.check(merged(before, wanted, asked))
    if asked & _BANDWIDTH and container.record.network in ("host", "none"):
        raise InvalidArgument(
            f"--bandwidth needs a network of the container's own, not {container.record.network}"
        )
    changed = [key for key in Resources._fields if getattr(after, key) != getattr(before, key)]
    rows = Containers(store)
    # The row first: a start that comes meanwhile reads it, or is seen below.
    rows.update(container.id, {key: getattr(after, key) for key in changed}, restart)
    try:
        current = recovery.truth(store, container.id)
        if can_kill(current.status):
            warnings += _apply(store, current, before, after, asked)
    except BaseException:
        former = restart_of(container.policy) if restart is not None else None
        rows.update(container.id, {key: getattr(before, key) for key in changed}, former)
        raise
    return tuple(warnings)


def merged(before: Resources, wanted: Resources, asked: set[str]) -> Resources:
    """`before` with what was asked. Raises InvalidArgument in Docker's words for what contradicts the rest."""
    for field, name in (("cpu_period", "CPU Period"), ("cpu_quota", "CPU Quota")):
        if "nano_cpus" in asked and getattr(before, field) > 0:
            raise InvalidArgument(
                f"Conflicting options: Nano CPUs cannot be updated as {name} has already been set"
            )
        if getattr(wanted, field) > 0 and before.nano_cpus:
            raise InvalidArgument(
                f"Conflicting options: {name} cannot be updated as NanoCPUs has already been set"
            )
    # A quota of -1 is no limit, in whichever way there was one; and it is none that a later --cpus contradicts.
    if "nano_cpus" in asked:
        before = before._replace(cpu_quota=0)
    elif wanted.cpu_quota < 0:
        before = before._replace(nano_cpus=0)
    swap = before.memory_swap
    if "memory" in asked and "memory_swap" not in asked and before.memory:
        swap = swap or 2 * before.memory  # what the default came to stays
        if 0 < swap < wanted.memory:
            raise InvalidArgument(
                "Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the same "
                "time"
            )
    return before._replace(memory_swap=swap)._replace(**{key: getattr(wanted, key) for key in asked})


def _apply(
    store: Store, container: Container, before: Resources, after: Resources, asked: set[str]
) -> list[str]:
    """To the running container's interface and cgroup. One that has ended meanwhile is no error."""
    document = _document(after, asked)
    try:
        if asked & _BANDWIDTH:
            _shape(store, container, after)
        try:
            return (
                change(open_cgroup(container.record.cgroup(store.layout.cgroup)), document)
                if document
                else []
            )
        except BaseException:
            if asked & _BANDWIDTH:
                _shape(store, container, before)
            raise
    except FileNotFoundError:
        return []
    except TiffinError as error:
        current = Containers(store).get(container.id)
        if current is None:
            raise NotFound(f"No such container: {container.id}") from error
        if not can_kill(current.status):
            return []
        if isinstance(error, Conflict):
            raise Conflict(f"Cannot update container {container.id}: {error}") from error
        raise


def _document(resources: Resources, asked: set[str]) -> dict[str, Any]:
    """`linux.resources`, of the parts that were asked about."""
    block = {"weight": resources.blkio_weight} if resources.blkio_weight else {}
    whole = oci_resources(ContainerOptions(argv=(), block=block, **prepare.limits(resources)))
    return {
        part: whole[part] for part, fields in _PARTS.items() if asked.intersection(fields) and part in whole
    }


def _shape(store: Store, container: Container, resources: Resources) -> None:
    from tiffin.network.shaping import shape

    namespace = shared.open_namespace(container, "net")
    try:
        shape(store, container.id, namespace, resources.bandwidth_in, resources.bandwidth_out)
    finally:
        os.close(namespace)
