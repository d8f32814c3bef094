"""`system prune`: first what would go, by name and size, then exactly that.

A plan is made as things stand; carrying it out takes only what the plan named and what is still unused by then.
Containers go first, then the networks and images that they held, then the build cache.
"""

from __future__ import annotations

from tiffin.containers.store import Containers
from tiffin.engine import recovery
from tiffin.engine.images import open_images
from tiffin.engine.networks import prune as prune_networks
from tiffin.engine.networks import unused
from tiffin.engine.prune_containers import resting
from tiffin.engine.usage import (
    CacheMountUse,
    ContainerUse,
    VolumeUse,
    cache_mounts_use,
    container_use,
    leftover_bytes,
    volumes_use,
)
from tiffin.errors import Conflict, InvalidArgument, NotFound
from tiffin.images.filters import moment
from tiffin.images.prune import plan as plan_images
from tiffin.images.prune import prune as prune_images
from tiffin.images.usage import CacheUse, ImageUse, images_use
from tiffin.typed import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from tiffin.engine.workspace import Workspace
    from tiffin.images.usage import ImagesUse
    from tiffin.state import Store

_FILTERS = ("label", "label!", "until")


class PruneRequest(NamedTuple):
    """`all`: every image without a container, and the whole build cache, where else only images without a name go and
    the cache of steps that no image has. The cache mounts of RUN are part of the whole.
    `volumes`: anonymous ones that no container has, too. `filters` are
    `until=`, `label=` and `label!=`, all of which must hold; the build cache knows `until` alone."""

    all: bool = False
    volumes: bool = False
    filters: tuple[str, ...] = ()


class PrunePlan(NamedTuple):
    """What a prune would remove; `leftover` bytes are what nothing names; `reclaims` all that would come free."""

    request: PruneRequest
    containers: tuple[ContainerUse, ...] = ()
    networks: tuple[str, ...] = ()
    images: tuple[ImageUse, ...] = ()
    volumes: tuple[VolumeUse, ...] = ()
    cache: tuple[CacheUse, ...] = ()
    leftover: int = 0
    reclaims: int = 0
    cache_mounts: tuple[CacheMountUse, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether nothing would go."""
        found = self.containers, self.networks, self.images, self.volumes, self.cache, self.cache_mounts
        return not (any(found) or self.leftover)


class _Rehearsed(Exception):
    """Ends a transaction that was only to see what would be."""


def plan(workspace: Workspace, request: PruneRequest) -> PrunePlan:
    """See SystemService.plan_prune."""
    tests = _Tests(request.filters)
    with workspace.store() as store:
        recovery.reconcile(store)
        containers = tuple(container_use(store, one) for one in resting(store, request.filters))
        networks = unused(store, request.filters, {one.id for one in containers})
        volumes = _volumes(store, containers, tests) if request.volumes else ()
        before = images_use(open_images(store))
        images, cache, after = _images(store, containers, request, tests)
        freed = _held(before) - _held(after)
        freed += sum(one.size for one in containers) + sum(one.size for one in volumes)
        mounts = _cache_mounts(store, request, tests)
        freed += sum(one.size for one in mounts)
        with store.collecting() as alone:  # else some of it is being made
            left = before.unnamed + leftover_bytes(store) if alone else 0
        names = tuple(network.name for network in networks)
        return PrunePlan(request, containers, names, images, volumes, cache, left, freed + left, mounts)


def _held(use: ImagesUse) -> int:
    return use.size + use.cache_size


def _volumes(store: Store, gone: Sequence[ContainerUse], tests: _Tests) -> tuple[VolumeUse, ...]:
    """Anonymous volumes that no container has once these are gone."""
    import json

    doomed = {one.id for one in gone}
    users: dict[str, set[str]] = {}
    for volume, container in store.db.execute("SELECT volume, container FROM volume_uses"):
        users.setdefault(volume, set()).add(container)
    facts = {
        name: (created, json.loads(labels))
        for name, created, labels in store.db.execute("SELECT name, created, labels FROM volumes")
    }
    return tuple(
        one
        for one in volumes_use(store)
        if one.anonymous
        and one.driver == "local"
        and users.get(one.name, set()) <= doomed
        and tests.hold(*facts[one.name])
    )


def _images(
    store: Store, gone: Sequence[ContainerUse], request: PruneRequest, tests: _Tests
) -> tuple[tuple[ImageUse, ...], tuple[CacheUse, ...], ImagesUse]:
    """The images and steps that would go, and what would then be left: tried, and taken back."""
    found: tuple[tuple[ImageUse, ...], tuple[CacheUse, ...], ImagesUse] | None = None
    try:
        with store.transaction() as db:
            db.executemany("DELETE FROM containers WHERE id = ?", [(one.id,) for one in gone])
            room = open_images(store)
            doomed = {image.id for image in plan_images(room, request.all, request.filters).images}
            images = tuple(one for one in images_use(room).images if one.id in doomed)
            db.executemany("DELETE FROM image_names WHERE image = ?", [(one,) for one in doomed])
            db.executemany("DELETE FROM images WHERE id = ?", [(one,) for one in doomed])
            cache = tuple(one for one in images_use(room).cache if _is_stale(one, request, tests))
            db.executemany("DELETE FROM build_cache WHERE key = ?", [(one.key,) for one in cache])
            found = images, cache, images_use(room)
            raise _Rehearsed
    except _Rehearsed:
        pass
    assert found is not None  # or another exception
    return found


def _is_stale(step: CacheUse, request: PruneRequest, tests: _Tests) -> bool:
    return (request.all or not step.shared) and not tests.labelled and tests.hold(step.used, {})


def _cache_mounts(store: Store, request: PruneRequest, tests: _Tests) -> tuple[CacheMountUse, ...]:
    """With everything else, the directories of RUN --mount=type=cache that nobody uses."""
    if not request.all or tests.labelled:
        return ()
    return tuple(one for one in cache_mounts_use(store) if not one.in_use and tests.hold(one.used, {}))


class Pruned(NamedTuple):
    """What went. `records` of images are ("untagged", name) and ("deleted", digest), in order."""

    containers: tuple[str, ...]
    networks: tuple[str, ...]
    volumes: tuple[str, ...]
    images: tuple[tuple[str, str], ...]
    cache: tuple[str, ...]
    cache_mounts: tuple[str, ...] = ()


def carry_out(workspace: Workspace, plan: PrunePlan) -> Pruned:
    """See SystemService.prune."""
    from tiffin.engine.remove import remove_resting
    from tiffin.volumes import Volumes

    containers, volumes = [], []
    with workspace.store() as store:
        for use in plan.containers:
            current = Containers(store).get(use.id)
            if current is not None and remove_resting(store, current):
                containers.append(use.id)
        free = unused(store, plan.request.filters)
        networks = tuple(prune_networks(store, [one for one in free if one.name in plan.networks]))
        room = open_images(store)
        records = prune_images(
            room, plan.request.all, plan.request.filters, frozenset(one.id for one in plan.images)
        )
        for volume in plan.volumes:
            try:
                Volumes(store).remove(volume.name)
            except (Conflict, NotFound):
                continue  # somebody uses it now, or was quicker
            volumes.append(volume.name)
        from tiffin.build.cache import BuildCache
        from tiffin.build.running.cache_mounts import remove as remove_cache_mount
        from tiffin.build.sweep import sweep

        BuildCache(store).drop(step.key for step in plan.cache)
        mounts = tuple(one.name for one in plan.cache_mounts if remove_cache_mount(store, one.name))

        sweep(store)
        room.collect(partials=True)
    steps = tuple(step.key for step in plan.cache)
    return Pruned(tuple(containers), networks, tuple(volumes), records.records, steps, mounts)


class _Tests:
    """The filters of a request."""

    def __init__(self, filters: Sequence[str]) -> None:
        self._tests: list[Callable[[int, Mapping[str, str]], bool]] = []
        self.labelled = False
        for text in filters:
            key, equals, value = text.partition("=")
            if not equals or key not in _FILTERS:
                raise InvalidArgument(f"invalid filter '{text}'; known: {', '.join(_FILTERS)}")
            if key == "until":
                self._tests.append(_until(moment(value)))
            else:
                self.labelled = True
                self._tests.append(_label(value, wanted=key == "label"))

    def hold(self, created: int, labels: Mapping[str, str]) -> bool:
        """Whether every one holds of something made then (ns) that has these labels."""
        return all(test(created, labels) for test in self._tests)


def _until(bound: int) -> Callable[[int, Mapping[str, str]], bool]:
    return lambda created, _: created <= bound


def _label(text: str, *, wanted: bool) -> Callable[[int, Mapping[str, str]], bool]:
    name, equals, value = text.partition("=")
    return lambda _, labels: (name in labels and (not equals or labels[name] == value)) is wanted
