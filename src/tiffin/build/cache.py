"""The build cache: which layer a step gave, by the step's key. Rows of the store of record, nothing else.

A row is of use only while its layer and blob are there; they are, as long as a row names them. A step without
a layer (it changed the config alone, or nothing at all) has a row too, for the time it was made: a build
that finds every step gives the very same image again.
"""

from __future__ import annotations

import time
from collections.abc import Iterable

from tiffin.jsontext import dumps, loads
from tiffin.state import Store
from tiffin.typed import Any, NamedTuple, Protocol

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
    from a stage is known by where its files come from, and by what they are. `origins` are the places named with
    --cache-from that it, or something that it was made with, came from.
    """

    key: str
    layer: Layer | None
    created: int
    origins: frozenset[str] = frozenset()


class Kept(NamedTuple):
    """A step's result to be taken elsewhere: under its own key and other `names`. `in_result`: the target is made of
    it. `outline` as in `BuildCache.keep`. `absent`: its key alone is known here."""

    found: Cached
    names: tuple[str, ...]
    created_by: str
    outline: str
    in_result: bool
    absent: bool = False


class Elsewhere(Protocol):
    """Results of other engines' builds, which whoever builds has chosen to believe."""

    @property
    def names(self) -> frozenset[str]:
        """Of the places."""

    def find(self, key: str) -> Kept | None:
        """The result of the step with this key, its layer brought here and verified; None when there is none, or when
        it is not what it should be."""

    def own_key(self, key: str) -> str:
        """The own key of the step with this key whose result is not there, "" for an unknown one."""

    def has(self, outline: str) -> bool:
        """As `BuildCache.has`."""


class BuildCache:
    """Rows of `build_cache`, and what is `elsewhere`. Not to be used in a forked child.

    A result that came from elsewhere, or that was made with one, is found again only by builds that name the same
    place: that one build believed it binds no other.
    """

    def __init__(self, store: Store, elsewhere: Elsewhere | None = None) -> None:
        self._elsewhere = elsewhere
        self._believed = elsewhere.names if elsewhere is not None else frozenset()
        self._db = store.db
        self._store = store
        self._used: set[str] = set()

    def find(self, key: str) -> Cached | None:
        """The result of the step with this key. Whether its layer is still there is the caller's to check."""
        query = "SELECT diff_id, blob, media_type, blob_size, detail, used FROM build_cache WHERE key = ?"
        row = self._db.execute(query, (key,)).fetchone()
        detail = loads(row[4]) if row is not None else {}
        origins = frozenset(detail.get("origins", ()))
        if row is None or not origins <= self._believed:
            return self._import(key)
        if row[5] < time.time_ns() - _USED_PRECISION:
            self._used.add(key)
        layer = Layer(*row[:4]) if row[0] else None
        return Cached(detail.get("key") or key, layer, detail["created"], origins)

    def _import(self, key: str) -> Cached | None:
        kept = self._elsewhere.find(key) if self._elsewhere is not None else None
        if kept is None:
            return None
        self.keep(kept.found, kept.created_by, *kept.names, outline=kept.outline)
        return kept.found

    def own_key(self, key: str) -> str:
        """The own key of a step whose result is elsewhere and was not brought along, "" for an unknown one."""
        return self._elsewhere.own_key(key) if self._elsewhere is not None else ""

    def has(self, outline: str) -> bool:
        """Whether any result was kept with this `outline`."""
        if self._db.execute("SELECT 1 FROM build_cache WHERE key = ?", (outline,)).fetchone() is not None:
            return True
        return self._elsewhere is not None and self._elsewhere.has(outline)

    def keep(self, found: Cached, created_by: str, *names: str, outline: str = "") -> None:
        """Record a result under its key, and under further `names`. Atomic; a later result replaces one
        before it. `outline` is no name, but will be known to `has`."""
        now = time.time_ns()
        layer = found.layer or (None, None, None, None)
        rows = []
        for key in (found.key, *names):
            detail: dict[str, Any] = {"created": found.created, "created_by": created_by[:500]}
            if key != found.key:
                detail["key"] = found.key
            if found.origins:
                detail["origins"] = sorted(found.origins)
            rows.append((key, *layer, dumps(detail, separators=(",", ":")), now, now))
        if outline:
            rows.append((outline, None, None, None, None, dumps({"outline": True}), now, now))
        with self._store.transaction() as db:
            db.executemany("INSERT OR REPLACE INTO build_cache VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)

    def drop(self, keys: Iterable[str], *, unused_since: int = -1) -> None:
        """Forget these results, by their own keys, with all their names; and those without a layer, and outlines, that
        were not used after `unused_since` (ns). What they alone named is the collector's."""
        gone = set(keys)
        with self._store.transaction() as db:
            rows = db.execute("SELECT key, diff_id IS NULL, detail, used FROM build_cache").fetchall()
            doomed = [
                (key,)
                for key, empty, detail, used in rows
                if key in gone
                or (empty and used <= unused_since)
                or ('"key"' in detail and loads(detail).get("key") in gone)
            ]
            db.executemany("DELETE FROM build_cache WHERE key = ?", doomed)

    def touch(self) -> None:
        """Note that every row found so far has been used, to the hour, for whoever drops the oldest."""
        if self._used:
            now = time.time_ns()
            with self._store.transaction() as db:
                db.executemany(
                    "UPDATE build_cache SET used = ? WHERE key = ?", [(now, key) for key in self._used]
                )
            self._used.clear()
