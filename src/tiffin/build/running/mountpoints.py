"""Mount points of a RUN that the image lacks: made before it, gone after it, never in its layer.

They are made in a fresh upper, so that all that is in the upper then is ours: what we made, and directories
that overlayfs copied up to make it in. Each is remembered by its parent's descriptor and its inode. The RUN
may then do with the tree what it likes: what is removed afterwards is that very thing, or nothing.
"""

from __future__ import annotations

import os
import posixpath
import stat
from collections.abc import Iterable
from errno import EEXIST, ELOOP, ENOTEMPTY

from tiffin.kernel.paths import mkdirs_in_root, open_in_root
from tiffin.layer.walk import walk
from tiffin.typed import NamedTuple

_MAX_LINKS = 40


class _Made(NamedTuple):
    parent: int
    name: str
    inode: int
    mode: int
    lower: os.stat_result | None  # of a directory that was only copied up: what it looked like


class MountPoints:
    """Those of one RUN. Close it (it is a context manager): that does not remove them."""

    def __init__(self, upper: str) -> None:
        self._upper = upper
        self._made: list[_Made] = []

    def __enter__(self) -> MountPoints:
        return self

    def __exit__(self, *_: object) -> None:
        for made in self._made:
            os.close(made.parent)
        self._made.clear()

    def prepare(self, root: int, targets: Iterable[tuple[str, bool]]) -> None:
        """Make what is missing of `targets`, (path, whether it is a directory), in the merged tree `root`.
        What is in the way of a target is left for the runtime to complain about.
        """
        for path, directory in targets:
            try:
                _make(root, path, directory)
            except OSError:
                continue

    def remember(self, lower: int) -> None:
        """Take down what is in the upper now; `lower` is the merged tree without it. Nothing has it
        mounted."""
        fd = os.open(self._upper, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for node in walk(fd):
                was = _directory_below(lower, node.path) if stat.S_ISDIR(node.status.st_mode) else None
                if was is not None:
                    times = (was.st_atime_ns, was.st_mtime_ns)
                    os.utime(node.name, ns=times, dir_fd=node.parent_fd, follow_symlinks=False)
                parent = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=node.parent_fd)
                status = node.status
                self._made.append(_Made(parent, node.name, status.st_ino, status.st_mode, was))
        finally:
            os.close(fd)

    def remove(self) -> None:
        """Remove what was made and is still as it was made, deepest first. Nothing has the upper mounted."""
        for made in reversed(self._made):
            try:
                now = os.stat(made.name, dir_fd=made.parent, follow_symlinks=False)
            except FileNotFoundError:
                continue
            if (now.st_ino, stat.S_IFMT(now.st_mode)) != (made.inode, stat.S_IFMT(made.mode)):
                continue
            if made.lower is not None and not _alike(now, made.lower):
                continue
            _remove_unchanged(made, now)


def _remove_unchanged(made: _Made, now: os.stat_result) -> None:
    above = os.fstat(made.parent)
    try:
        if stat.S_ISDIR(now.st_mode):
            os.rmdir(made.name, dir_fd=made.parent)
        elif now.st_size == 0 and stat.S_ISREG(now.st_mode):
            os.unlink(made.name, dir_fd=made.parent)
    except OSError as error:
        if error.errno not in (ENOTEMPTY, EEXIST):
            raise
        return  # the RUN put something in it: it stays
    os.utime(made.parent, ns=(above.st_atime_ns, above.st_mtime_ns))


def _alike(now: os.stat_result, was: os.stat_result) -> bool:
    return (now.st_mode, now.st_uid, now.st_gid, now.st_mtime_ns) == (
        was.st_mode,
        was.st_uid,
        was.st_gid,
        was.st_mtime_ns,
    )


def _directory_below(lower: int, path: str) -> os.stat_result | None:
    """What the directory `path` is in the layers below, None when it is not one there."""
    try:
        fd = open_in_root(lower, path, os.O_PATH | os.O_NOFOLLOW | os.O_DIRECTORY)
    except OSError:
        return None
    try:
        return os.fstat(fd)
    finally:
        os.close(fd)


def _make(root: int, path: str, directory: bool) -> None:
    """Make `path` unless there is something; a dangling link in its place gets its target, inside the
    tree."""
    for _ in range(_MAX_LINKS):
        try:
            os.close(open_in_root(root, path, os.O_PATH))
            return
        except FileNotFoundError:
            pass
        if directory:
            os.close(mkdirs_in_root(root, path, 0o755))
            return
        above, name = posixpath.split(path)
        parent = mkdirs_in_root(root, above, 0o755)
        try:
            os.close(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644, dir_fd=parent))
            return
        except FileExistsError:
            path = posixpath.join(above, os.readlink(name, dir_fd=parent))
        finally:
            os.close(parent)
    raise OSError(ELOOP, os.strerror(ELOOP), path)
