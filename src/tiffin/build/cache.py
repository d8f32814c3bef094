"""The build cache: which layer a step gave, by the step's key. Rows of the store of record, nothing else.

A row is of use only while its layer and blob are there; they are, as long as a row names them. A step without
a layer (it changed the config alone, or nothing at all) has a row too, for the time it was made: a build
that finds every step gives the very same image again.
"""

from __future__ import annotations

import json
import time

from tiffin.state import Store
from tiffin.typed import NamedTuple

_USED_PRECISION = 3600 * 10**9  # a build every minute is not to write every minute


class Layer(NamedTuple):
    """A layer's two faces: the unpacked tree, by DiffID, and the compressed blob."""

    diff_id: str
    blob: str
    media_type: str
    blob_size: int


class Cached(NamedTuple):
    """What a step gave. `created` is nanoseconds since the epoch; `layer` None when it left the files alone.

    `key` is the step's own key. It differs from the one looked up when that was only a name for it: a COPY
    from a stage is known by where its files come from, and by what they are.
    """

    key: str
    layer: Layer | None
    created: int


class BuildCache:
    """Rows of `build_cache`. Not to be used in a forked child."""

    def __init__(self, store: Store) -> None:
        self._db = store.db
        self._store = store
        self._used: set[str] = set()

    def find(self, key: str) -> Cached | None:
        """The result of the step with this key. Whether its layer is still there is the caller's to check."""
        query = "SELECT diff_id, blob, media_type, blob_size, detail, used FROM build_cache WHERE key = ?"
        row = self._db.execute(query, (key,)).fetchone()
        if row is None:
            return None
        detail = json.loads(row[4])
        if row[5] < time.time_ns() - _USED_PRECISION:
            self._used.add(key)
        layer = Layer(*row[:4]) if row[0] else None
        return Cached(detail.get("key") or key, layer, detail["created"])

    def has(self, outline: str) -> bool:
        """Whether any result was kept with this `outline`."""
        return self._db.execute("SELECT 1 FROM build_cache WHERE key = ?", (outline,)).fetchone() is not None

    def keep(self, found: Cached, created_by: str, *names: str, outline: str = "") -> None:
        """Record a result under its key, and under further `names`. Atomic; a later result replaces one
        before it. `outline` is no name, but will be known to `has`."""
        now = time.time_ns()
        layer = found.layer or (None, None, None, None)
        rows = []
        for key in (found.key, *names):
            detail = {"created": found.created, "created_by": created_by[:500]}
            if key != found.key:
                detail["key"] = found.key
            rows.append((key, *layer, json.dumps(detail, separators=(",", ":")), now, now))
        if outline:
            rows.append((outline, None, None, None, None, json.dumps({"outline": True}), now, now))
        with self._store.transaction() as db:
            db.executemany("INSERT OR REPLACE INTO build_cache VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)

    def touch(self) -> None:
        """Note that every row found so far has been used, to the hour, for whoever drops the oldest."""
        if self._used:
            now = time.time_ns()
            with self._store.transaction() as db:
                db.executemany(
                    "UPDATE build_cache SET used = ? WHERE key = ?", [(now, key) for key in self._used]
                )
            self._used.clear()
