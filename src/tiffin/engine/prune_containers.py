"""container prune: those that do not run, shown first and then removed."""

from __future__ import annotations

from tiffin.containers.states import State
from tiffin.containers.store import Container, Containers
from tiffin.engine import recovery
from tiffin.engine.query import summarize
from tiffin.errors import InvalidArgument
from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tiffin.engine.options import Summary
    from tiffin.engine.workspace import Workspace
    from tiffin.state import Store

_AT_REST = (State.CREATED, State.EXITED, State.DEAD)
_FILTERS = ("label", "label!", "until")


def plan(workspace: Workspace, filters: Sequence[str]) -> list[Summary]:
    """See ContainerService.plan_prune."""
    with workspace.store() as store:
        recovery.reconcile(store)
        return summarize(store, resting(store, filters))


def prune(workspace: Workspace, filters: Sequence[str], only: Sequence[str] | None) -> tuple[list[str], int]:
    """See ContainerService.prune. Each is looked at again under its lock: one that was started since stays."""
    from tiffin.engine.remove import remove_resting
    from tiffin.engine.sizes import measure

    removed, reclaimed = [], 0
    with workspace.store() as store:
        recovery.reconcile(store)
        for container in resting(store, filters):
            if only is not None and container.id not in only:
                continue
            size = measure(store, container).written
            if remove_resting(store, container):
                removed.append(container.id)
                reclaimed += size
    return removed, reclaimed


def resting(store: Store, filters: Sequence[str]) -> list[Container]:
    """The containers that do not run and that all filters let through, the newest first. Raises InvalidArgument."""
    from tiffin.engine.container_filters import parse_filters
    from tiffin.images.filters import moment

    tests, before = [], 0
    for text in filters:
        key, equals, value = text.partition("=")
        if not equals or key not in _FILTERS:
            raise InvalidArgument(f"invalid filter '{text}'; known: {', '.join(_FILTERS)}")
        if key == "until":
            before = moment(value)
        else:
            tests += parse_filters(store, [text])
    found = Containers(store).in_states(_AT_REST)
    return [
        container
        for container in found
        if all(test(container) for test in tests) and (not before or container.record.created < before)
    ]
