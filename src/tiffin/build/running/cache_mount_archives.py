"""Cache mounts as tar archives: how a cache gets to a machine that has none, such as one that builds and goes."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager

from tiffin.build.running import cache_mounts
from tiffin.build.workspace import Workspace
from tiffin.errors import NotFound
from tiffin.layer.apply import extract
from tiffin.layer.compress import open_decompressed
from tiffin.layer.diff import tree_tar
from tiffin.oci.reference import shown
from tiffin.state import Store
from tiffin.typed import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from tiffin.layer.tarreader import Readable

_MODE = 0o755  # as a RUN makes one
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def export_cache_mount(store: Store, name: str, out: BinaryIO) -> None:
    """Write all that the cache mount holds as a tar, with owners, modes and attributes. Waits for steps that have it
    for themselves. Raises NotFound."""
    with _opened(store, name) as data:
        tree_tar(data, out)


def find_cache_mount(store: Store, name: str) -> str:
    """The directory's name of the cache mount with that id; of several (they began with different files, or are private
    copies) the one used last. Raises NotFound."""
    found = [one for one in cache_mounts.kept(store) if one.id == name]
    if not found:
        known = sorted({one.id for one in cache_mounts.kept(store)})
        hint = f"; there is {', '.join(map(shown, known[:5]))}" if known else "; no build has made one"
        raise NotFound(f"No such cache mount: {shown(name)}{hint}")
    return found[-1].name


@contextmanager
def _opened(store: Store, name: str) -> Iterator[int]:
    path = f"{cache_mounts.directory(store)}/{find_cache_mount(store, name)}"
    try:
        lock = os.open(path, _DIRECTORY)
    except FileNotFoundError as error:
        raise NotFound(f"No such cache mount: {shown(name)}; it was removed just now") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_SH)
        try:
            data = os.open("data", _DIRECTORY, dir_fd=lock)
        except FileNotFoundError as error:
            raise NotFound(f"the cache mount {shown(name)} holds nothing yet") from error
        try:
            yield data
        finally:
            os.close(data)
    finally:
        os.close(lock)


def import_cache_mount(store: Store, name: str, archive: Readable) -> None:
    """Unpack a tar, plain or compressed, into the cache mount with that id, made when it is new: the one of a mount
    without uid, gid, mode or from. Files of the same names are replaced, all others stay; devices are left out. Waits
    for steps that use it. Raises Corrupt, LimitExceeded."""

    def begin(path: str) -> None:
        os.mkdir(path, 0o700)
        fd = os.open(path, _DIRECTORY)
        try:
            os.fchmod(fd, _MODE)
        finally:
            os.close(fd)

    with Workspace(store.layout.staging) as workspace:
        wish = cache_mounts.Wish(name, "", "locked", begin, lambda: None)
        mount = cache_mounts.acquire(store, wish, workspace.path)
        try:
            with open_decompressed(archive) as tar:
                extract(tar, mount.data, devices=False)
        finally:
            mount.close()
