"""A container's volumes and binds at its start: filled from the image where that is asked for, then mounted."""

from __future__ import annotations

import os

from tiffin.oci.mount import Mount
from tiffin.runtime.rootfs import open_overlay
from tiffin.typed import TYPE_CHECKING
from tiffin.volumes import Volumes
from tiffin.volumes.mounting import mount_all

if TYPE_CHECKING:
    from tiffin.containers.record import ContainerRecord
    from tiffin.snapshot.overlay import Snapshots
    from tiffin.state import Store


def mounts(store: Store, snapshots: Snapshots, record: ContainerRecord) -> list[Mount]:
    """In the record's order. Raises NoSpace, EngineError."""
    if not record.mounts:
        return []
    named = [mount for mount in record.mounts if mount.get("name")]
    if named:
        mount_all(store, record.id, named)
    _fill(store, snapshots, record)
    return [
        Mount(
            str(mount["destination"]),
            "tmpfs" if mount["type"] == "tmpfs" else "bind",
            "tmpfs" if mount["type"] == "tmpfs" else str(mount["source"]),
            tuple(mount["options"]),
        )
        for mount in record.mounts
    ]


def _fill(store: Store, snapshots: Snapshots, record: ContainerRecord) -> None:
    """Copy what the image has into its empty volumes. The image is mounted read-only, for this alone."""
    wanted = [mount for mount in record.mounts if mount.get("copy") and _is_empty(str(mount["source"]))]
    if not wanted:
        return
    root = open_overlay(snapshots.root_mount(record.layers, readonly=True))
    try:
        for mount in wanted:
            Volumes(store).copy_up(str(mount["name"]), root, str(mount["destination"]))
    finally:
        os.close(root)


def _is_empty(path: str) -> bool:
    """As far as it costs little to know; `copy_up` decides."""
    with os.scandir(path) as entries:
        return all(entry.name.startswith(".tiffin-copy") or entry.name == "lost+found" for entry in entries)
