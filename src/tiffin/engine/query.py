"""ps, port, rename, and what a reference means: reading rows, after the truth has been told."""

from __future__ import annotations

import time

from tiffin.containers.states import LIVE, State, can_kill, shown
from tiffin.containers.store import Container, Containers
from tiffin.engine import recovery
from tiffin.engine.options import PortBinding, Summary
from tiffin.engine.times import human_duration
from tiffin.typed import TYPE_CHECKING, Sequence

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


def summaries(
    workspace: Workspace, *, show_all: bool, last: int, filters: Sequence[str], size: bool = False
) -> list[Summary]:
    """See ContainerService.list."""
    with workspace.store() as store:
        recovery.reconcile(store)
        tests, by_status = [], False
        if filters:
            from tiffin.engine.container_filters import parse_filters, shows_stopped

            tests, by_status = parse_filters(store, filters), shows_stopped(filters)
        rows = Containers(store)
        everything = show_all or last > 0 or by_status
        found = rows.all() if everything else _running(rows)
        kept = [container for container in found if all(test(container) for test in tests)]
        kept = kept[:last] if last > 0 else kept
        summaries = summarize(store, kept)
        if not size:
            return summaries
        from tiffin.engine.sizes import measure

        return [
            summary._replace(size=measure(store, container))
            for summary, container in zip(summaries, kept, strict=True)
        ]


def _running(rows: Containers) -> list[Container]:
    """Those that run or, between two runs, will again."""
    found = rows.in_states((*LIVE, State.RESTARTING, State.STARTING))
    return [container for container in found if container.status != State.STARTING or container.restarts]


def summarize(store: Store, found: Sequence[Container]) -> list[Summary]:
    """What `ps` shows of these."""
    bindings, now = _bindings(store), time.time_ns()
    joined: dict[str, list[str]] = {}
    for member, name in store.db.execute("SELECT container, name FROM memberships ORDER BY position"):
        joined.setdefault(member, []).append(name)
    return [
        _summary(container, bindings.get(container.id, []), now)._replace(
            network=",".join(joined.get(container.id, [container.record.network]))
        )
        for container in found
    ]


def status_text(container: Container, now: int) -> str:
    """`ps`'s STATUS column."""
    if container.status == State.PAUSED:
        return f"Up {human_duration(now - container.started)} (Paused)"
    if shown(container.status, container.restarts) == State.RESTARTING:
        return f"Restarting ({container.exit_code}) {human_duration(now - container.finished)} ago"
    if container.status == State.RUNNING:
        health = {"": "", "starting": " (health: starting)"}.get(container.health, f" ({container.health})")
        return f"Up {human_duration(now - container.started)}{health}"
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
        state=shown(container.status, container.restarts),
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
        f"{_shown_host(binding.host_ip)}:{binding.host_port}->{binding.container_port}/{binding.protocol}"
        for binding in sorted(bindings)
    ]
    return ", ".join([*(key for key in exposed if key not in published), *texts])


def _shown_host(address: str) -> str:
    return f"[{address}]" if ":" in address else address


def _bindings(store: Store) -> dict[str, list[PortBinding]]:
    """The published ports of every container that is attached, by its ID."""
    found: dict[str, list[PortBinding]] = {}
    rows = store.db.execute(
        "SELECT container, container_port, protocol, host_ip, host_port FROM published_ports"
    )
    for container_id, *binding in rows:
        found.setdefault(container_id, []).append(PortBinding(*binding))
    return found
