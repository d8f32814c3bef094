"""events: what happened, and what happens while somebody looks."""

from __future__ import annotations

import time

from tiffin.errors import InvalidArgument
from tiffin.state.events import Event, events_after, last_number
from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterator, Sequence

    from tiffin.engine.workspace import Workspace

    Test = Callable[[Event], bool]

_SHORTEST = 3  # characters of an ID that a filter must give at least
_LOOK = 0.1  # seconds between looks at the database; each is one read of a page in memory
_TYPES = ("container", "image", "volume", "network", "daemon", "builder", "plugin")


def events(
    workspace: Workspace, *, since: int, until: int, filters: Sequence[str], follow: bool
) -> Iterator[Event]:
    """See Engine.events."""
    tests = _tests(filters)
    with workspace.store() as store:
        number = 0 if since else last_number(store.db)
        while True:
            now = time.time_ns()
            for event in events_after(store.db, number, since):
                number = event.number
                if until and event.time > until:
                    return
                if all(test(event) for test in tests):
                    yield event
            if not follow or (until and now >= until):
                return
            _await_change(store.db, until)


def _await_change(db: sqlite3.Connection, until: int) -> None:
    """Until another process has written, or the time is over."""
    version = db.execute("PRAGMA data_version").fetchone()
    while db.execute("PRAGMA data_version").fetchone() == version:
        if until and time.time_ns() >= until:
            return
        time.sleep(_LOOK)


def _tests(filters: Sequence[str]) -> list[Test]:
    """Of one key any value may hold; all keys must. Docker's keys."""
    groups: dict[str, list[Test]] = {}
    for text in filters:
        key, equals, value = text.partition("=")
        if not equals:
            raise InvalidArgument(f"bad format of filter '{text}': want name=value")
        groups.setdefault(key, []).append(_test(key, value))
    return [_any(tests) for tests in groups.values()]


def _any(tests: list[Test]) -> Test:
    return lambda event: any(test(event) for test in tests)


def _test(key: str, value: str) -> Test:
    if key == "event":
        return lambda event: event.action == value or event.action.split(":")[0] == value
    if key == "type":
        return lambda event: event.type == value
    if key == "label":
        name, equals, wanted = value.partition("=")
        return lambda event: name in event.attributes and (not equals or event.attributes[name] == wanted)
    if key == "scope":
        return lambda _: value == "local"
    if key == "image":
        return lambda event: _is_image(event, value)
    if key in _TYPES:
        return lambda event: event.type == key and _is(event, value)
    raise InvalidArgument(
        f"invalid filter '{key}'; known: event, image, label, scope, type, {', '.join(_TYPES[:5])}"
    )


def _is(event: Event, value: str) -> bool:
    if event.attributes.get("name", "") == value.removeprefix("/"):
        return True
    return event.actor == value or (len(value) >= _SHORTEST and event.actor.startswith(value))


def _is_image(event: Event, value: str) -> bool:
    names: tuple[str, ...] = ()
    if event.type == "image":
        names = (event.actor, event.attributes.get("name", ""))
    elif event.type == "container":
        names = (event.attributes.get("image", ""),)
    return any(value in (name, name.rpartition(":")[0]) for name in names)
