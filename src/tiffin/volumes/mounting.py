"""Which containers have which volumes mounted, and the filesystems of volumes that have one of their own.

A row of `volume_mounts` comes before its container's first process and goes after the last. A volume's own filesystem
is mounted when the first such row needs it and unmounted when the last one goes; both happen under the volume's lock,
and whether it is mounted is asked of the kernel: rows outlive a reboot, mounts do not.
"""

from __future__ import annotations

import errno
import json
import os
import time
from contextlib import contextmanager

from tiffin.errors import EngineError
from tiffin.kernel.mounts import MNT_DETACH, mount_id, umount
from tiffin.state import lock_file
from tiffin.state.events import emit
from tiffin.typed import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from tiffin.state import Store

_ENOUGH = 5.0
_PLACE = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def mount_all(store: Store, container_id: str, wanted: Sequence[dict[str, Any]]) -> None:
    """The container is about to start with these mounts (documents of its record, each with the `name` of a volume).
    Raises NotFound, Unsupported, EngineError when a filesystem cannot be mounted."""
    names = sorted({str(mount["name"]) for mount in wanted})
    with _swiftly(store), store.transaction() as db:
        for name in names:
            db.execute(
                "INSERT OR IGNORE INTO volume_mounts (volume, container) VALUES (?, ?)", (name, container_id)
            )
        for mount in wanted:
            emit(db, "volume", "mount", str(mount["name"]), _told(container_id, mount))
    for name in names:
        options = options_of(store, name)
        if options:
            from tiffin.volumes import local

            with locked(store, name):
                if not is_mounted(store, name):
                    local.attach(name, options, store.layout.volume(name))


def unmount_all(store: Store, container_id: str) -> None:
    """No process of the container is left. Idempotent."""
    rows = store.db.execute(
        "SELECT volume FROM volume_mounts WHERE container = ? ORDER BY volume", (container_id,)
    ).fetchall()
    for (name,) in rows:
        with locked(store, name, missing=True):
            with _swiftly(store), store.transaction() as db:
                db.execute(
                    "DELETE FROM volume_mounts WHERE container = ? AND volume = ?", (container_id, name)
                )
                emit(db, "volume", "unmount", name, {"container": container_id, "driver": "local"})
                left = db.execute("SELECT 1 FROM volume_mounts WHERE volume = ?", (name,)).fetchone()
            if left is None:
                detach(store, name)


def open_own(store: Store, name: str, options: Mapping[str, str]) -> int:
    """A descriptor of the root of the volume's own filesystem. When no container has it mounted it is mounted for this
    alone, and is gone when the descriptor is closed, however its holder ends."""
    from tiffin.volumes import local

    place = store.layout.volume(name)
    with locked(store, name):
        before = is_mounted(store, name)
        if not before:
            local.attach(name, options, place)
        try:
            return os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        finally:
            if not before:
                umount(place, MNT_DETACH)


def detach(store: Store, name: str) -> None:
    """Unmount the volume's own filesystem, if it is mounted. The caller holds the volume's lock, or knows that nobody
    uses it. Raises EngineError."""
    if not os.path.isdir(store.layout.volume(name)):
        return
    deadline = time.monotonic() + _ENOUGH
    while is_mounted(store, name):
        try:
            umount(store.layout.volume(name), 0)
        except OSError as error:
            if error.errno != errno.EBUSY or time.monotonic() > deadline:
                raise EngineError(f"cannot unmount volume {name}: {error.strerror}") from error
            umount(store.layout.volume(name), MNT_DETACH)  # somebody looks into it: gone for all others


def is_mounted(store: Store, name: str) -> bool:
    """Whether something is mounted on the volume's directory."""
    place = os.open(store.layout.volume(name), _PLACE)
    try:
        above = os.open(f"{store.layout.root}/volumes/{name}", _PLACE)
        try:
            return mount_id(place) != mount_id(above)
        finally:
            os.close(above)
    finally:
        os.close(place)


def options_of(store: Store, name: str) -> dict[str, str]:
    """The driver options of the volume; none for one that is not there."""
    row = store.db.execute("SELECT options FROM volumes WHERE name = ?", (name,)).fetchone()
    found: dict[str, str] = json.loads(row[0]) if row else {}
    return found


@contextmanager
def locked(store: Store, name: str, *, missing: bool = False) -> Iterator[None]:
    """The volume's lock: one at a time fills it, mounts it, unmounts it. With `missing`, a volume whose directory
    somebody removed needs none."""
    try:
        lock = lock_file(f"{store.layout.root}/volumes/{name}/lock")
    except FileNotFoundError as error:
        if missing:
            yield
            return
        raise EngineError(
            f"the directory of volume {name} is gone; remove the volume and make it anew"
        ) from error
    try:
        yield
    finally:
        os.close(lock)


@contextmanager
def _swiftly(store: Store) -> Iterator[None]:
    """What need not survive a loss of power, since mounts do not, is not waited for."""
    before = store.db.execute("PRAGMA synchronous").fetchone()[0]
    store.db.execute("PRAGMA synchronous=NORMAL")
    try:
        yield
    finally:
        store.db.execute(f"PRAGMA synchronous={int(before)}")


def _told(container_id: str, mount: dict[str, Any]) -> dict[str, str]:
    return {
        "container": container_id,
        "destination": str(mount["destination"]),
        "driver": "local",
        "propagation": "",
        "read/write": "true" if mount.get("rw", True) else "false",
    }
