"""What happened: rows written in the transaction of the change that they tell of, so that none is told that was undone.

Types, actions and attributes are Docker's (Engine API, GET /events). The newest KEPT events stay.
"""

import time

from tiffin import jsontext as json
from tiffin.errors import NoSpace
from tiffin.typed import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator, Mapping

    from tiffin.state.store import Store

KEPT = 10_000
_SPARE = 256  # so many more may lie about before old ones are removed
_INSERT = "INSERT INTO events (time, type, action, actor, attributes) VALUES (?, ?, ?, ?, ?)"
# The attributes of a container's events: its labels, its image and name, and what the action adds.
_OF_CONTAINER = """INSERT INTO events (time, type, action, actor, attributes)
    SELECT ?, 'container', ?, id, json_patch(json_patch(coalesce(json_extract(record, '$.labels'), '{}'),
        json_object('image', json_extract(record, '$.image_name'), 'name', name)), ?)
    FROM containers WHERE id = ?"""
_AFTER = """SELECT number, time, type, action, actor, attributes FROM events
    WHERE number > ? AND time >= ? ORDER BY number"""


class Event(NamedTuple):
    """One event. `time` in ns since the epoch; `actor` is the ID or name of what it happened to."""

    number: int
    time: int
    type: str
    action: str
    actor: str
    attributes: dict[str, str]


def emit(
    db: "sqlite3.Connection",
    kind: str,
    action: str,
    actor: str,
    attributes: "Mapping[str, str] | None" = None,
) -> None:
    """Tell of a change; within its transaction."""
    row = (time.time_ns(), kind, action, actor, json.dumps(dict(attributes or {})))
    _trim(db, db.execute(_INSERT, row).lastrowid)


def emit_container(
    db: "sqlite3.Connection", action: str, container_id: str, attributes: "Mapping[str, str] | None" = None
) -> None:
    """The same of a container, with the attributes that its row has."""
    more = json.dumps(dict(attributes)) if attributes else "{}"
    _trim(db, db.execute(_OF_CONTAINER, (time.time_ns(), action, more, container_id)).lastrowid)


def tell(
    store: "Store",
    action: str,
    container_id: str,
    attributes: "Mapping[str, str] | None" = None,
    *,
    then: str = "",
) -> None:
    """Tell of what happened to a container and changed no row, and of what happened `then`. Not waited for until the
    disk has it; and what a full disk has no room for is not told, as who is about to stop a container must not fail by
    that."""
    before = store.db.execute("PRAGMA synchronous").fetchone()[0]
    store.db.execute("PRAGMA synchronous=NORMAL")
    try:
        with store.transaction() as db:
            emit_container(db, action, container_id, attributes)
            if then:
                emit_container(db, then, container_id, attributes)
    except NoSpace:
        pass
    finally:
        store.db.execute(f"PRAGMA synchronous={int(before)}")


def events_after(db: "sqlite3.Connection", number: int, since: int = 0) -> "Iterator[Event]":
    """Events with a greater number that happened at `since` (ns) or later, in order."""
    for at, when, kind, action, actor, attributes in db.execute(_AFTER, (number, since)):
        yield Event(at, when, kind, action, actor, json.loads(attributes))


def last_number(db: "sqlite3.Connection") -> int:
    """The number of the newest event, 0 before the first."""
    return int(db.execute("SELECT coalesce(max(number), 0) FROM events").fetchone()[0])


def _trim(db: "sqlite3.Connection", number: "int | None") -> None:
    if number and number % _SPARE == 0:
        db.execute("DELETE FROM events WHERE number <= ?", (number - KEPT,))
