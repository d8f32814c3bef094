"""The build cache as a thing to look at and to clear: `builder du`, `builder prune`, cache mounts in and out.

A record is a step's result with a layer (type "regular"), or a directory of RUN --mount=type=cache ("exec.cachemount").
Results without a layer take up nothing worth showing; they go with the records that are as old.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence

from tiffin.build.cache import BuildCache
from tiffin.build.running import cache_mounts
from tiffin.engine.images import open_images
from tiffin.engine.usage import cache_mounts_use
from tiffin.errors import InvalidArgument
from tiffin.images.filters import moment
from tiffin.images.usage import images_use
from tiffin.oci.reference import shown
from tiffin.typed import TYPE_CHECKING, NamedTuple
from tiffin.volumes.options import nearest

if TYPE_CHECKING:
    from tiffin.engine.workspace import Workspace
    from tiffin.state import Store

REGULAR, MOUNT = "regular", "exec.cachemount"
# What BuildKit keeps in its cache besides, and tiffin elsewhere or not at all: known, and never there.
_OTHER_KINDS = ("internal", "frontend", "source.local", "source.git.checkout")
FILTERS = ("id", "inuse", "shared", "type", "unused-for", "until")
_TRUE, _FALSE = ("1", "t", "true"), ("0", "f", "false")


class CacheRecord(NamedTuple):
    """One thing in the build cache. `size` bytes on disk; `shared`: an image has all of it; `private`: the parts that
    no image has, with their bytes, which other records may have too. Times in ns. `description` is the step, or the id
    of the cache mount."""

    id: str
    kind: str
    description: str
    size: int
    shared: bool
    in_use: bool
    created: int
    used: int
    private: tuple[tuple[str, int], ...]


class CacheUsage(NamedTuple):
    """`private` bytes are what `system df` says of the build cache; `shared` belong to images too; `reclaimable` is
    what comes free when all goes that nobody uses."""

    records: tuple[CacheRecord, ...]
    shared: int
    private: int
    reclaimable: int


class CachePruneRequest(NamedTuple):
    """`all`: also what images have, whose bytes then stay with these. `filters` as `builder prune --filter`. What was
    used most lately may stay: `keep` bytes in any case, `most` at the most, and no more than leaves `free` bytes on the
    disk; -1 each for not said, and all of them for nothing."""

    all: bool = False
    filters: tuple[str, ...] = ()
    keep: int = -1
    most: int = -1
    free: int = -1


class CachePrunePlan(NamedTuple):
    """What would go, the least lately used first; `frees` bytes. `bound`: results without a layer go that were not
    used after it (ns)."""

    records: tuple[CacheRecord, ...]
    frees: int
    bound: int

    @property
    def is_empty(self) -> bool:
        return not self.records


def usage(workspace: Workspace, filters: Sequence[str] = ()) -> CacheUsage:
    """See BuildService.cache_usage."""
    test = _test(filters)
    with workspace.store() as store:
        records = tuple(record for record in _records(store) if test(record))
    private = _bytes(records)
    shared = sum(record.size for record in records) - sum(
        size for record in records for _, size in record.private
    )
    return CacheUsage(records, shared, private, private - _bytes([one for one in records if one.in_use]))


def plan(workspace: Workspace, request: CachePruneRequest) -> CachePrunePlan:
    """See BuildService.plan_cache_prune."""
    test = _test(request.filters)
    with workspace.store() as store:
        everything = _records(store)
    left = [*everything]
    may_stay = _may_stay(request, _bytes(everything), workspace.layout.root)
    gone = []
    for record in everything:
        if record.in_use or (record.shared and not request.all) or not test(record):
            continue
        if may_stay >= 0 and _bytes(left) <= may_stay:
            break
        left.remove(record)
        gone.append(record)
    plain = not request.filters and may_stay < 0
    bound = time.time_ns() if plain and request.all else max((one.used for one in gone), default=-1)
    return CachePrunePlan(tuple(gone), _bytes(everything) - _bytes(left), bound)


def _may_stay(request: CachePruneRequest, total: int, path: str) -> int:
    """How many of `total` bytes need not go; -1: all must."""
    most = request.most
    if request.free >= 0:
        disk = os.statvfs(path)
        missing = max(0, request.free - disk.f_bavail * disk.f_frsize)
        most = max(0, total - missing) if most < 0 else min(most, max(0, total - missing))
    return max(most, request.keep)


def prune(workspace: Workspace, plan: CachePrunePlan) -> tuple[CacheRecord, ...]:
    """See BuildService.prune_cache."""
    from tiffin.build.sweep import sweep

    gone = []
    with workspace.store() as store:
        mounts = [record for record in plan.records if record.kind == MOUNT]
        steps = [record for record in plan.records if record.kind == REGULAR]
        gone += [record for record in mounts if cache_mounts.remove(store, record.id)]
        BuildCache(store).drop([record.id for record in steps], unused_since=plan.bound)
        sweep(store)
        open_images(store).collect(partials=True)
    return (*gone, *steps)


def _records(store: Store) -> list[CacheRecord]:
    """Everything, the least lately used first."""
    found = [
        CacheRecord(
            one.key, REGULAR, one.created_by, one.size, one.shared, False, one.created, one.used, one.private
        )
        for one in images_use(open_images(store)).cache
    ]
    for one in cache_mounts_use(store):
        private = ((f"mount {one.name}", one.size),)
        found.append(
            CacheRecord(one.name, MOUNT, one.id, one.size, False, one.in_use, one.created, one.used, private)
        )
    return sorted(found, key=lambda record: (record.used, record.id))


def _bytes(records: Sequence[CacheRecord]) -> int:
    """What only they have, each part once."""
    return sum(dict(part for record in records for part in record.private).values())


def _test(filters: Sequence[str]) -> Callable[[CacheRecord], bool]:
    """All that `filters` ask. Raises InvalidArgument."""
    tests = [_one_test(text) for text in filters]
    return lambda record: all(test(record) for test in tests)


def _one_test(text: str) -> Callable[[CacheRecord], bool]:
    key, equals, value = text.partition("=")
    key = key.strip().lower()
    if key not in FILTERS:
        raise InvalidArgument(f"invalid filter '{shown(key)}'{nearest(key, FILTERS)}")
    if key in ("inuse", "shared"):
        wanted = not equals or value.lower() in _TRUE
        if equals and value.lower() not in _TRUE + _FALSE:
            raise InvalidArgument(f"invalid filter '{shown(text)}': want true or false")
        return lambda record: (record.in_use if key == "inuse" else record.shared) is wanted
    if not value:
        raise InvalidArgument(f"bad format of filter '{shown(text)}': want {key}=VALUE")
    if key == "id":
        return lambda record: record.id.removeprefix("sha256:").startswith(value.removeprefix("sha256:"))
    if key == "type":
        if value not in (REGULAR, MOUNT, *_OTHER_KINDS):
            raise InvalidArgument(f"invalid filter '{shown(text)}'{nearest(value, (REGULAR, MOUNT))}")
        return lambda record: record.kind == value
    bound = moment(value)
    return lambda record: record.used <= bound
