"""A container's volumes and binds at its start: filled from the image where that is asked for, then mounted.

What a path alone cannot say (a place below a volume, an image, an id mapping) is mounted here, detached, and given to
the container's first process as a descriptor: it was reached by descriptor, so nothing swapped meanwhile counts.
"""

from __future__ import annotations

import errno
import os

from tiffin.errors import EngineError, NotFound, Unsupported
from tiffin.kernel.mounts import (
    AT_EMPTY_PATH,
    AT_RECURSIVE,
    MOUNT_ATTR_IDMAP,
    OPEN_TREE_CLONE,
    mount_setattr,
    open_tree,
)
from tiffin.kernel.paths import RESOLVE_BENEATH, RESOLVE_NO_MAGICLINKS, openat2
from tiffin.oci.mount import Mount
from tiffin.runtime.rootfs import open_overlay
from tiffin.typed import TYPE_CHECKING, Any
from tiffin.volumes import Volumes
from tiffin.volumes.mounting import mount_all

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tiffin.containers.record import ContainerRecord
    from tiffin.snapshot.overlay import Snapshots
    from tiffin.state import Store


def mounts(store: Store, snapshots: Snapshots, record: ContainerRecord) -> list[Mount]:
    """In the record's order; the descriptors in them are the caller's. Raises NoSpace, NotFound, EngineError."""
    if not record.mounts:
        return []
    named = [mount for mount in record.mounts if mount.get("name")]
    places = mount_all(store, record.id, named) if named else {}
    made: list[Mount] = []
    try:
        _fill(store, snapshots, record, places)
        made.extend(_mount(snapshots, mount, places) for mount in record.mounts)
    except BaseException:
        for one in made:
            if one.fd >= 0:
                os.close(one.fd)
        raise
    finally:
        for fd in places.values():
            os.close(fd)
    return made


def _mount(snapshots: Snapshots, mount: dict[str, Any], places: Mapping[str, int] | None = None) -> Mount:
    """`places` are descriptors of the volumes that plugins keep."""
    kind = "tmpfs" if mount["type"] == "tmpfs" else "bind"
    source = "tmpfs" if kind == "tmpfs" else str(mount["source"])
    fd, place = -1, (places or {}).get(str(mount.get("name")), -1)
    if place >= 0 or mount["type"] == "image" or mount.get("subpath") or mount.get("idmap"):
        fd = _detached(snapshots, mount, place)
    return Mount(str(mount["destination"]), kind, source, tuple(mount["options"]), fd=fd)


def _detached(snapshots: Snapshots, mount: dict[str, Any], place: int) -> int:
    """The mount as a descriptor, but for its options."""
    recursive = AT_RECURSIVE if "rbind" in mount["options"] else 0
    if mount["type"] == "image":
        fd = open_overlay(snapshots.root_mount(tuple(mount["layers"]), readonly=True))
    elif place >= 0:
        fd = os.dup(place)
    else:
        fd = _open(str(mount["source"]))
    try:
        if mount.get("subpath"):
            whole, fd = fd, _below(fd, mount, recursive)
            os.close(whole)
        elif mount["type"] != "image":
            whole, fd = fd, _clone(fd, mount, recursive)
            os.close(whole)
        if mount.get("idmap"):
            _map_ids(fd, mount)
    except BaseException:
        os.close(fd)
        raise
    return fd


def _open(source: str) -> int:
    """Where it stands: a part of what is mounted nowhere can be mounted from Linux 6.15 on alone."""
    try:
        return os.open(source, os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise NotFound(f"bind source path does not exist: {source}") from error
    except OSError as error:
        raise EngineError(f"cannot bind {source}: {error.strerror}") from error


def _clone(fd: int, mount: dict[str, Any], recursive: int) -> int:
    try:
        return open_tree(fd, "", OPEN_TREE_CLONE | AT_EMPTY_PATH | recursive)
    except OSError as error:
        raise EngineError(f"cannot bind {mount.get('name') or mount['source']}: {error.strerror}") from error


def _below(fd: int, mount: dict[str, Any], recursive: int) -> int:
    """A mount of what `subpath` leads to, which no link takes out of the volume or image."""
    path, name = str(mount["subpath"]), str(mount.get("name") or mount["source"])
    what = f"cannot access path {path} of {mount['type']} {name}"
    try:
        place = openat2(fd, path, os.O_PATH, 0, RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS)
    except OSError as error:
        if error.errno == errno.EXDEV:
            raise EngineError(f"{what}: it leads out of it") from error
        raise NotFound(f"{what}: {(error.strerror or '').lower()}; make it first") from error
    try:
        return open_tree(place, "", OPEN_TREE_CLONE | AT_EMPTY_PATH | recursive)
    except OSError as error:
        if error.errno == errno.EINVAL:  # a part of a mount that is in no namespace
            raise Unsupported(
                f"{what}: this kernel cannot mount a part of it; use Linux 6.15 or later"
            ) from error
        raise EngineError(f"{what}: {error.strerror}") from error
    finally:
        os.close(place)


def _map_ids(fd: int, mount: dict[str, Any]) -> None:
    """See `tiffin.volumes.idmap`. What is mounted below keeps its own ids."""
    from tiffin.runtime.extras.idmap import mappings_of, user_namespace
    from tiffin.volumes.idmap import as_document, owner_as_root, parse_idmap

    text, where = str(mount["idmap"]), f"the mount at {mount['destination']}"
    if text == "idmap":
        owner = os.fstat(fd)
        ranges = {"uids": owner_as_root(owner.st_uid), "gids": owner_as_root(owner.st_gid)}
    else:
        ranges = parse_idmap(text, where)
    wanted = mappings_of(
        {"uidMappings": as_document(ranges["uids"]), "gidMappings": as_document(ranges["gids"])}, where
    )
    assert wanted is not None  # no mapping is empty
    namespace = user_namespace(wanted)
    try:
        mount_setattr(fd, "", 0, set=MOUNT_ATTR_IDMAP, userns_fd=namespace)
    except OSError as error:
        raise Unsupported(
            f"cannot map ids of {where}: the filesystem of {mount['source']} does not allow it ({error.strerror}); "
            "leave idmap out"
        ) from error
    finally:
        os.close(namespace)


def _fill(store: Store, snapshots: Snapshots, record: ContainerRecord, places: Mapping[str, int]) -> None:
    """Copy what the image has into its empty volumes. The image is mounted read-only, for this alone."""

    def place(mount: dict[str, Any]) -> int:
        return places.get(str(mount["name"]), -1)

    wanted = [
        mount
        for mount in record.mounts
        if mount.get("copy")
        and _is_empty(str(mount["source"]) if place(mount) < 0 else f"/proc/self/fd/{place(mount)}")
    ]
    if not wanted:
        return
    root = open_overlay(snapshots.root_mount(record.layers, readonly=True))
    try:
        for mount in wanted:
            Volumes(store).copy_up(str(mount["name"]), root, str(mount["destination"]), place(mount))
    finally:
        os.close(root)


def _is_empty(path: str) -> bool:
    """As far as it costs little to know; `copy_up` decides."""
    with os.scandir(path) as entries:
        return all(entry.name in (".tiffin-copy", "lost+found") for entry in entries)
