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

from tiffin.errors import EngineError
from tiffin.kernel.mounts import MNT_DETACH, mount_id, umount
from tiffin.state import lock_file
from tiffin.state.events import emit
from tiffin.typed import TYPE_CHECKING, Any, contextmanager

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from tiffin.state import Store

_LOCAL = "local"
_ENOUGH = 5.0
_PLACE = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def mount_all(store: Store, container_id: str, wanted: Sequence[dict[str, Any]]) -> dict[str, int]:
    """The container is about to start with these mounts (documents of its record, each with the `name` of a volume).
    Descriptors of the volumes that plugins keep, by name, which are the caller's. Raises NotFound, Unsupported,
    EngineError when a filesystem cannot be mounted."""
    names = sorted({str(mount["name"]) for mount in wanted})
    with _swiftly(store), store.transaction() as db:
        for name in names:
            db.execute(
                "INSERT OR IGNORE INTO volume_mounts (volume, container) VALUES (?, ?)", (name, container_id)
            )
        for mount in wanted:
            emit(db, "volume", "mount", str(mount["name"]), _told(container_id, mount))
    found: dict[str, int] = {}
    try:
        for name in names:
            driver, options = kept_by(store, name)
            if driver != _LOCAL:
                found[name] = _mount_elsewhere(store, container_id, name, driver)
            elif options:
                from tiffin.volumes import local

                with locked(store, name):
                    if not is_mounted(store, name):
                        local.attach(name, options, store.layout.volume(name))
    except BaseException:
        for fd in found.values():
            os.close(fd)
        raise
    return found


def _mount_elsewhere(store: Store, user: str, name: str, driver: str) -> int:
    """Have the plugin mount it; the row is there already, so that it is told of the end whatever comes."""
    from tiffin.volumes import drivers

    path, fd = drivers.mount(driver, name, user)
    try:
        with _swiftly(store), store.transaction() as db:
            db.execute(
                "UPDATE volume_mounts SET mountpoint = ?, failed = 0 WHERE volume = ? AND container = ?",
                (path, name, user),
            )
    except BaseException:
        os.close(fd)
        raise
    return fd


@contextmanager
def mounted_for(store: Store, user: str, name: str) -> Iterator[int]:
    """A descriptor of a plugin's volume, mounted for `user`: an ID of no container, whose lock the caller holds, so
    that whoever comes after a crash knows that it is to be unmounted. Raises NotFound, PluginFailed."""
    with store.transaction() as db:
        db.execute("INSERT INTO volume_mounts (volume, container) VALUES (?, ?)", (name, user))
    try:
        fd = _mount_elsewhere(store, user, name, kept_by(store, name)[0])
        try:
            yield fd
        finally:
            os.close(fd)
    finally:
        unmount_all(store, user, last=True)


def unmount_all(store: Store, container_id: str, *, last: bool = False) -> list[str]:
    """No process of the container is left. What plugins had to say against it, which is no error: they are told again
    at the container's next end, or for the `last` time when it goes. Idempotent."""
    complaints: list[str] = []
    query = """SELECT volume, coalesce(driver, ?) FROM volume_mounts LEFT JOIN volumes ON name = volume
        WHERE container = ? ORDER BY volume"""
    for name, driver in store.db.execute(query, (_LOCAL, container_id)).fetchall():
        if driver != _LOCAL:
            from tiffin.volumes import drivers

            complaint = drivers.unmount(driver, name, container_id, quick=last)
            if complaint:
                complaints.append(complaint)
                if not last:
                    _mark_failed(store, container_id, name)
                    continue
        with locked(store, name, missing=True):
            with _swiftly(store), store.transaction() as db:
                db.execute(
                    "DELETE FROM volume_mounts WHERE container = ? AND volume = ?", (container_id, name)
                )
                emit(db, "volume", "unmount", name, {"container": container_id, "driver": driver})
                left = db.execute("SELECT 1 FROM volume_mounts WHERE volume = ?", (name,)).fetchone()
            if left is None:
                detach(store, name)
    return complaints


def _mark_failed(store: Store, container_id: str, name: str) -> None:
    with _swiftly(store), store.transaction() as db:
        db.execute(
            "UPDATE volume_mounts SET failed = 1 WHERE volume = ? AND container = ?", (name, container_id)
        )


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


def kept_by(store: Store, name: str) -> tuple[str, dict[str, str]]:
    """The volume's driver, and its options; the local one and none for a volume that is not there."""
    row = store.db.execute("SELECT driver, options FROM volumes WHERE name = ?", (name,)).fetchone()
    return (row[0], json.loads(row[1])) if row else (_LOCAL, {})


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
        "driver": str(mount.get("driver", _LOCAL)),
        "propagation": "",
        "read/write": "true" if mount.get("rw", True) else "false",
    }
