"""`ps --filter`, by Docker's rules (docs.docker.com, docker container ls): of one key given several times any value
may hold, but every `label`; all keys must hold."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from tiffin.containers.states import State, shown
from tiffin.containers.store import Container, Containers
from tiffin.errors import InvalidArgument, NotFound
from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from tiffin.state import Store

Test = Callable[[Container], bool]

_STATES = (
    State.CREATED, State.RUNNING, State.PAUSED, State.RESTARTING, State.REMOVING, State.EXITED, State.DEAD,
)  # fmt: skip
_HEALTH = ("none", "starting", "healthy", "unhealthy")
_PORTS = 65536


def parse_filters(store: Store, texts: Sequence[str]) -> list[Test]:
    """The tests that a container must all pass. Raises InvalidArgument, and NotFound for a container that `before` or
    `since` names."""
    groups: dict[str, list[Test]] = {}
    for at, text in enumerate(texts):
        key, equals, value = text.partition("=")
        key = key.strip().lower()
        if not equals:
            raise InvalidArgument(f"bad format of filter '{text}': want name=value")
        if key not in FILTERS:
            raise InvalidArgument(f"invalid filter '{key}'; known: {', '.join(FILTERS)}")
        group = f"{key} {at}" if key.startswith("label") else key
        groups.setdefault(group, []).append(FILTERS[key](store, value))
    return [_any(tests) for tests in groups.values()]


def shows_stopped(texts: Sequence[str]) -> bool:
    """Whether the filters speak of containers that do not run."""
    return any(text.startswith(("status=", "exited=")) for text in texts)


def _any(tests: list[Test]) -> Test:
    return tests[0] if len(tests) == 1 else lambda container: any(test(container) for test in tests)


def _invalid(key: str, value: str, want: str) -> InvalidArgument:
    return InvalidArgument(f"invalid filter '{key}={value}'; want {want}")


def _by_name(_: Store, value: str) -> Test:
    try:
        found = re.compile(value)
    except (re.error, OverflowError, RecursionError) as error:
        raise _invalid("name", value, f"a regular expression: {error}") from error
    return lambda container: bool(found.search(container.name) or found.search(f"/{container.name}"))


def _by_label(_: Store, value: str) -> Test:
    key, equals, wanted = value.partition("=")
    if equals:
        return lambda container: container.record.labels.get(key) == wanted
    return lambda container: key in container.record.labels


def _without_label(store: Store, value: str) -> Test:
    test = _by_label(store, value)
    return lambda container: not test(container)


def _by_status(_: Store, value: str) -> Test:
    if value not in _STATES:
        raise _invalid("status", value, ", ".join(_STATES))
    return lambda container: shown(container.status, container.restarts) == value


def _by_exit(_: Store, value: str) -> Test:
    if not re.fullmatch(r"-?[0-9]{1,9}", value):
        raise _invalid("exited", value, "an exit code")
    return lambda container: container.status == State.EXITED and container.exit_code == int(value)


def _by_image(store: Store, value: str) -> Test:
    from tiffin.images.records import find_image

    try:
        image = find_image(store.db, value)
    except (NotFound, InvalidArgument):
        return lambda container: container.record.image_name == value
    return lambda container: (
        container.record.image == image.id
        or container.record.layers[: len(image.diff_ids)] == tuple(image.diff_ids)
    )


def _before(store: Store, value: str) -> Test:
    created = Containers(store).find(value).record.created
    return lambda container: container.record.created < created


def _since(store: Store, value: str) -> Test:
    created = Containers(store).find(value).record.created
    return lambda container: container.record.created > created


def _by_volume(_: Store, value: str) -> Test:
    return lambda container: any(
        value in (mount.get("name"), mount.get("source"), mount.get("destination"))
        for mount in container.record.mounts
    )


def _by_network(store: Store, value: str) -> Test:
    rows = store.db.execute("SELECT id, name FROM networks").fetchall()
    names = {name for identifier, name in rows if name == value or (value and identifier.startswith(value))}
    joined: dict[str, set[str]] = {}
    for member, name in store.db.execute("SELECT container, name FROM memberships"):
        joined.setdefault(member, set()).add(name)
    wanted = {*names, value}
    return lambda container: bool(joined.get(container.id, {container.record.network}) & wanted)


def _by_published(_: Store, value: str) -> Test:
    wanted = _ports("publish", value)
    return lambda container: any(
        f"{port.container_port}/{port.protocol}" in wanted for port in container.record.ports
    )


def _by_exposed(_: Store, value: str) -> Test:
    wanted = _ports("expose", value)
    return lambda container: any(key in wanted for key in container.record.exposed)


def _ports(key: str, text: str) -> frozenset[str]:
    """`80`, `80/udp`, `8000-8010/tcp` as Docker's keys."""
    match = re.fullmatch(r"([0-9]{1,5})(?:-([0-9]{1,5}))?(?:/(tcp|udp|sctp))?", text)
    if match is None or not int(match[1]) <= int(match[2] or match[1]) < _PORTS:
        raise _invalid(key, text, "PORT[/PROTOCOL] or FIRST-LAST[/PROTOCOL]")
    first, last = int(match[1]), int(match[2] or match[1])
    return frozenset(f"{port}/{match[3] or 'tcp'}" for port in range(first, last + 1))


def _is_task(_: Store, value: str) -> Test:
    """There are no swarm tasks here: no container is one."""
    if value not in ("true", "1", "false", "0"):
        raise _invalid("is-task", value, "true or false")
    return lambda _: value in ("false", "0")


def _by_health(_: Store, value: str) -> Test:
    """A container whose health nobody checks has none."""
    if value not in _HEALTH:
        raise _invalid("health", value, ", ".join(_HEALTH))
    return lambda container: (container.health or "none") == value


FILTERS: dict[str, Callable[[Store, str], Test]] = {
    "ancestor": _by_image,
    "before": _before,
    "exited": _by_exit,
    "expose": _by_exposed,
    "health": _by_health,
    "id": lambda _, value: lambda container: container.id.startswith(value),
    "is-task": _is_task,
    "label": _by_label,
    "label!": _without_label,
    "name": _by_name,
    "network": _by_network,
    "publish": _by_published,
    "since": _since,
    "status": _by_status,
    "volume": _by_volume,
}
