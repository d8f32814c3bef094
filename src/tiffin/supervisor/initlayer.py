"""The init layer: where the runtime will mount something that the image has no place for.

/proc, /sys, /dev and three files below /etc are mounted in every container. Where an image lacks one, making it in
the container's own layer would show in `diff` and go into every `commit`. So what an image lacks is made once, in a
layer of its own between the image's and the container's, shared by all containers of the image.
"""

from __future__ import annotations

import fcntl
import os
from typing import TYPE_CHECKING

from tiffin.kernel.paths import AT_FDCWD, mkdirs_in_root, open_in_root, remove_tree
from tiffin.runtime.rootfs import open_overlay

if TYPE_CHECKING:
    from tiffin.containers.record import ContainerRecord
    from tiffin.snapshot.mount import Mount
    from tiffin.snapshot.overlay import Snapshots
    from tiffin.state import Layout, Store

_DIRECTORIES = ("proc", "sys", "dev")
_FILES = ("etc/resolv.conf", "etc/hostname", "etc/hosts")


def init_layer(store: Store, snapshots: Snapshots, record: ContainerRecord) -> str:
    """The directory of the image's init layer, made when it is not there yet; "" when the image lacks nothing."""
    path = _path(store.layout, record.image)
    try:
        missing = os.listdir(path)
    except FileNotFoundError:
        missing = _make(store.layout, snapshots, record, path)
    return path if missing else ""


def known_layer(layout: Layout, record: ContainerRecord) -> str:
    """As `init_layer` for a container that has been started: "" too when none was made."""
    path = _path(layout, record.image)
    return path if os.path.isdir(path) and os.listdir(path) else ""


def prune(store: Store) -> None:
    """Remove the init layers of images that are gone and that no container stands on. Idempotent."""
    directory = f"{store.layout.cache}/init"
    if not os.path.isdir(directory):
        return
    rows = store.db.execute("SELECT id FROM images UNION SELECT image FROM containers")
    kept = {str(row[0]).partition(":")[2] for row in rows}
    for name in os.listdir(directory):
        if name not in kept:
            remove_tree(AT_FDCWD, f"{directory}/{name}")


def _path(layout: Layout, image: str) -> str:
    return f"{layout.cache}/init/{image.partition(':')[2]}"


def _make(layout: Layout, snapshots: Snapshots, record: ContainerRecord, path: str) -> list[str]:
    """Make it aside and rename it into place; what is in it. Another may do the same: either will do."""
    aside = f"{layout.staging}/init-{os.urandom(8).hex()}"
    os.mkdir(aside, 0o700)
    lock = os.open(aside, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        upper, work = snapshots.prepare_writable(aside, record.layers)
        _fill(snapshots.root_mount(record.layers, upper, work))
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        made = os.listdir(upper)
        try:
            os.rename(upper, path)
        except FileExistsError:
            pass
        except OSError:
            if not os.path.isdir(path):
                raise
        return made
    finally:
        os.close(lock)
        remove_tree(AT_FDCWD, aside)


def _fill(mount: Mount) -> None:
    root = open_overlay(mount)
    try:
        for name in _DIRECTORIES:
            os.close(mkdirs_in_root(root, name, 0o755))
        os.close(mkdirs_in_root(root, "etc", 0o755))
        for name in _FILES:
            try:
                os.close(open_in_root(root, name, os.O_WRONLY | os.O_CREAT | os.O_NONBLOCK, 0o644))
            except OSError:
                continue  # a link to nowhere, or no file: the runtime deals with it, or says why not
    except NotADirectoryError:
        pass  # likewise
    finally:
        os.close(root)
