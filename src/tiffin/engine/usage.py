"""`system df`: what everything of an engine takes up on disk, so that the sum is what `du` says of its root."""

from __future__ import annotations

import os
import time

from tiffin.containers.states import SUPERVISED
from tiffin.containers.store import Container, Containers
from tiffin.engine import recovery
from tiffin.engine.images import open_images
from tiffin.engine.query import status_text
from tiffin.images.usage import ImagesUse, images_use
from tiffin.layer.disk import disk_bytes
from tiffin.typed import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from tiffin.engine.workspace import Workspace
    from tiffin.state import Store

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class ContainerUse(NamedTuple):
    """A container's own bytes: what it wrote, its log and files. `active` while it runs; `volumes` it has mounted."""

    id: str
    name: str
    image: str
    command: tuple[str, ...]
    created: int
    status: str
    size: int
    volumes: int
    active: bool


class VolumeUse(NamedTuple):
    """A volume and how many containers have it; `size` is 0 for one that lies elsewhere."""

    name: str
    links: int
    size: int
    anonymous: bool
    driver: str


class CacheMountUse(NamedTuple):
    """A directory of RUN --mount=type=cache. Times in ns."""

    name: str
    id: str
    size: int
    created: int
    used: int
    in_use: bool


class Usage(NamedTuple):
    """Everything, in bytes on disk. `other` is what the engine itself needs (database, locks, caches, what nothing
    names), `other_reclaimable` the last of these."""

    images: ImagesUse
    containers: tuple[ContainerUse, ...]
    volumes: tuple[VolumeUse, ...]
    other: int
    other_reclaimable: int
    cache_mounts: tuple[CacheMountUse, ...] = ()

    @property
    def total(self) -> int:
        """All of it."""
        images = self.images.size + self.images.cache_size
        containers = sum(container.size for container in self.containers)
        mounts = sum(mount.size for mount in self.cache_mounts)
        return images + containers + sum(volume.size for volume in self.volumes) + mounts + self.other


def usage(workspace: Workspace) -> Usage:
    """See SystemService.usage."""
    with workspace.store() as store:
        recovery.reconcile(store)
        images = images_use(open_images(store))
        staging = leftover_bytes(store)
        return Usage(
            images,
            tuple(container_use(store, container) for container in Containers(store).all()),
            volumes_use(store),
            _own(store) + staging + images.unnamed,
            staging + images.unnamed,
            cache_mounts_use(store),
        )


def leftover_bytes(store: Store) -> int:
    """What is in staging, whoever made it."""
    staging = store.layout.staging
    return tree_bytes(staging) - os.stat(staging).st_blocks * 512


def container_use(store: Store, container: Container) -> ContainerUse:
    """One container measured."""
    record = container.record
    return ContainerUse(
        container.id,
        container.name,
        record.image_name,
        record.argv,
        record.created,
        status_text(container, time.time_ns()),
        tree_bytes(store.layout.container(container.id)),
        sum(1 for mount in record.mounts if mount.get("name")),
        container.status in SUPERVISED,
    )


def cache_mounts_use(store: Store) -> tuple[CacheMountUse, ...]:
    """Every cache mount, the one not used for longest first."""
    from tiffin.build.running.cache_mounts import directory, kept

    top = directory(store)
    return tuple(
        CacheMountUse(one.name, one.id, tree_bytes(f"{top}/{one.name}"), one.added, one.used, one.in_use)
        for one in kept(store)
    )


def volumes_use(store: Store) -> tuple[VolumeUse, ...]:
    """Every volume, by name. One with a filesystem of its own takes up nothing here."""
    query = """SELECT name, count(DISTINCT container), anonymous, driver, options = '{}' FROM volumes
        LEFT JOIN volume_uses ON volume = name GROUP BY name ORDER BY name"""
    return tuple(
        VolumeUse(
            name,
            links,
            tree_bytes(f"{store.layout.root}/volumes/{name}") if plain and driver == "local" else 0,
            bool(anonymous),
            driver,
        )
        for name, links, anonymous, driver, plain in store.db.execute(query).fetchall()
    )


def tree_bytes(path: str) -> int:
    """What a directory of the engine takes up; 0 when it is not there. The directory's own name is the engine's."""
    try:
        fd = os.open(path, _DIRECTORY)
    except FileNotFoundError:
        return 0
    try:
        return disk_bytes(fd)
    finally:
        os.close(fd)


def _own(store: Store) -> int:
    """Database, locks, caches, logs of builds, the layout's documents and the directories that hold the rest."""
    layout = store.layout
    own = "cache", "layers/empty", "layers/mount-points", "manifests", "builds"
    total = sum(tree_bytes(f"{layout.root}/{name}") for name in own)
    for directory in (layout.root, layout.oci, f"{layout.oci}/blobs"):
        with os.scandir(directory) as entries:
            total += (
                sum(entry.stat().st_blocks for entry in entries if entry.is_file(follow_symlinks=False)) * 512
            )
    for name in ("", "oci", "oci/blobs", "oci/blobs/sha256", "layers", "containers", "volumes", "staging"):
        total += os.stat(f"{layout.root}/{name}").st_blocks * 512
    if os.path.isdir(f"{layout.root}/cache-mounts"):
        total += os.stat(f"{layout.root}/cache-mounts").st_blocks * 512
    return total
