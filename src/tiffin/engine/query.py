"""ps, port, rename, and what a reference means: reading rows, after the truth has been told."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from tiffin.containers.states import State, can_kill, shown
from tiffin.containers.store import Container, Containers
from tiffin.engine import recovery
from tiffin.engine.options import PortBinding, Summary
from tiffin.engine.times import human_duration
from tiffin.errors import InvalidArgument, NotFound
from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from tiffin.engine.workspace import Workspace
    from tiffin.state import Store


def resolve(workspace: Workspace, reference: str) -> str:
    """See ContainerService.resolve."""
    with workspace.store() as store:
        return Containers(store).find(reference).id


def rename(workspace: Workspace, reference: str, name: str) -> None:
    """See ContainerService.rename."""
    with workspace.store() as store:
        rows = Containers(store)
        rows.rename(rows.find(reference).id, name)


def ports(workspace: Workspace, reference: str) -> list[PortBinding]:
    """See ContainerService.port."""
    with workspace.store() as store:
        container = recovery.truth(store, reference)
        found = _bindings(store).get(container.id, [])
        return sorted(found) if can_kill(container.status) else []


def summaries(workspace: Workspace, *, show_all: bool, last: int, filters: Sequence[str]) -> list[Summary]:
    """See ContainerService.list."""
    with workspace.store() as store:
        recovery.reconcile(store)
        tests = [_filter(store, text) for text in filters]
        by_status = any(text.startswith(("status=", "exited=")) for text in filters)
        rows = Containers(store)
        everything = show_all or last > 0 or by_status
        found = rows.all() if everything else rows.in_states((State.RUNNING,))
        bindings = _bindings(store)
        kept = [container for container in found if all(test(container) for test in tests)]
        now = time.time_ns()
        return [
            _summary(container, bindings.get(container.id, []), now) for container in kept[: last or None]
        ]


def status_text(container: Container, now: int) -> str:
    """`ps`'s STATUS column."""
    if container.status == State.RUNNING:
        return f"Up {human_duration(now - container.started)}"
    if container.status == State.EXITED:
        return f"Exited ({container.exit_code}) {human_duration(now - container.finished)} ago"
    if container.status == State.REMOVING:
        return "Removal In Progress"
    return "Dead" if container.status == State.DEAD else "Created"


def _summary(container: Container, bindings: list[PortBinding], now: int) -> Summary:
    record = container.record
    running = can_kill(container.status)
    return Summary(
        id=container.id,
        name=container.name,
        image=record.image_name,
        image_id=record.image,
        command=record.argv,
        created=record.created,
        state=shown(container.status),
        status=status_text(container, now),
        ports=_ports_text(record.exposed, bindings) if running else "",
        labels=record.labels,
        mounts=tuple(str(mount.get("name") or mount.get("source") or "") for mount in record.mounts),
        network=record.network,
        record=record,
    )


def _ports_text(exposed: Sequence[str], bindings: list[PortBinding]) -> str:
    published = {f"{binding.container_port}/{binding.protocol}" for binding in bindings}
    texts = [
        f"{binding.host_ip}:{binding.host_port}->{binding.container_port}/{binding.protocol}"
        for binding in sorted(bindings)
    ]
    return ", ".join([*(key for key in exposed if key not in published), *texts])


def _bindings(store: Store) -> dict[str, list[PortBinding]]:
    """The published ports of every container that is attached, by its ID."""
    found: dict[str, list[PortBinding]] = {}
    rows = store.db.execute(
        "SELECT container, container_port, protocol, host_ip, host_port FROM published_ports"
    )
    for container_id, *binding in rows:
        found.setdefault(container_id, []).append(PortBinding(*binding))
    return found


def _filter(store: Store, text: str) -> Callable[[Container], bool]:
    key, equals, value = text.partition("=")
    if not equals or key not in _FILTERS:
        raise InvalidArgument(f"invalid filter '{text}'; known: {', '.join(_FILTERS)}")
    return _FILTERS[key](store, value)


def _by_label(_: Store, value: str) -> Callable[[Container], bool]:
    key, equals, wanted = value.partition("=")
    if equals:
        return lambda container: container.record.labels.get(key) == wanted
    return lambda container: key in container.record.labels


def _by_status(_: Store, value: str) -> Callable[[Container], bool]:
    known = (State.CREATED, State.RUNNING, State.EXITED, State.REMOVING, State.DEAD, "paused", "restarting")
    if value not in known:
        raise InvalidArgument(f"invalid filter 'status={value}'; known: {', '.join(known)}")
    return lambda container: shown(container.status) == value


def _by_exit(_: Store, value: str) -> Callable[[Container], bool]:
    if not value.removeprefix("-").isdigit():
        raise InvalidArgument(f"invalid filter 'exited={value}'; give an exit code")
    return lambda container: container.status == State.EXITED and container.exit_code == int(value)


def _by_image(store: Store, value: str) -> Callable[[Container], bool]:
    from tiffin.images.records import find_image

    try:
        image = find_image(store.db, value)
    except (NotFound, InvalidArgument):
        return lambda container: container.record.image_name == value
    return lambda container: (
        container.record.image == image.id
        or container.record.layers[: len(image.diff_ids)] == tuple(image.diff_ids)
    )


def _by_volume(_: Store, value: str) -> Callable[[Container], bool]:
    return lambda container: any(
        value in (mount.get("name"), mount.get("source"), mount.get("destination"))
        for mount in container.record.mounts
    )


_FILTERS: dict[str, Callable[[Store, str], Callable[[Container], bool]]] = {
    "id": lambda _, value: lambda container: container.id.startswith(value),
    "name": lambda _, value: lambda container: value.removeprefix("/") in container.name,
    "label": _by_label,
    "status": _by_status,
    "exited": _by_exit,
    "ancestor": _by_image,
    "network": lambda _, value: lambda container: container.record.network == value,
    "volume": _by_volume,
}
