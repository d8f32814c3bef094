"""`tmpcopyup`: a new tmpfs that starts with what its mount point held. The tree is the image's, hence hostile: it is
walked by descriptor, links are copied and never followed, and a bound holds."""

from __future__ import annotations

import os
import stat

from tiffin.errors import LimitExceeded
from tiffin.kernel.paths import RESOLVE_BENEATH, RESOLVE_NO_SYMLINKS, RESOLVE_NO_XDEV, open_in_root, openat2
from tiffin.runtime.step import step

_HERE = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV
_MOST_ENTRIES = 100_000
_DEEPEST = 128
_CHUNK = 1 << 20


def copy_up(root_fd: int, path: str, tmpfs_fd: int) -> None:
    """Copy the directory `path` of the root into the detached tmpfs. Nothing there is no error. Raises LimitExceeded,
    NoSpace, EngineError."""
    with step(f"copy {path} into its tmpfs"):
        try:
            source = open_in_root(root_fd, path, os.O_RDONLY | os.O_DIRECTORY)
        except (FileNotFoundError, NotADirectoryError):
            return
        target = openat2(tmpfs_fd, ".", os.O_RDONLY | os.O_DIRECTORY, 0, _HERE)
        try:
            _Copy(path).directory(source, target, 0)
        finally:
            os.close(source)
            os.close(target)


class _Copy:
    def __init__(self, path: str) -> None:
        self._path = path
        self._entries = 0

    def directory(self, source: int, target: int, depth: int) -> None:
        if depth > _DEEPEST:
            raise LimitExceeded(
                f"{self._path} is nested more than {_DEEPEST} directories deep: too deep to copy up"
            )
        for name in os.listdir(source):
            self._entries += 1
            if self._entries > _MOST_ENTRIES:
                raise LimitExceeded(
                    f"{self._path} holds more than {_MOST_ENTRIES} files: too many to copy up"
                )
            self._entry(source, target, name, depth)
        _describe(os.fstat(source), target)

    def _entry(self, source: int, target: int, name: str, depth: int) -> None:
        status = os.stat(name, dir_fd=source, follow_symlinks=False)
        kind = stat.S_IFMT(status.st_mode)
        if kind == stat.S_IFLNK:
            os.symlink(os.readlink(name, dir_fd=source), name, dir_fd=target)
            os.chown(name, status.st_uid, status.st_gid, dir_fd=target, follow_symlinks=False)
            return
        if kind not in (stat.S_IFREG, stat.S_IFDIR):
            os.mknod(name, kind | 0o600, status.st_rdev, dir_fd=target)
            os.chown(name, status.st_uid, status.st_gid, dir_fd=target, follow_symlinks=False)
            os.chmod(name, stat.S_IMODE(status.st_mode), dir_fd=target)
            return
        directory = os.O_DIRECTORY if kind == stat.S_IFDIR else 0
        inner = openat2(source, name, os.O_RDONLY | os.O_NONBLOCK | directory, 0, _HERE)
        try:
            if directory:
                os.mkdir(name, 0o700, dir_fd=target)
                made = openat2(target, name, os.O_RDONLY | os.O_DIRECTORY, 0, _HERE)
            else:
                made = openat2(target, name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600, _HERE)
            try:
                if directory:
                    self.directory(inner, made, depth + 1)
                else:
                    while os.sendfile(made, inner, None, _CHUNK):
                        pass
                    _describe(status, made)
            finally:
                os.close(made)
        finally:
            os.close(inner)


def _describe(status: os.stat_result, fd: int) -> None:
    os.fchown(fd, status.st_uid, status.st_gid)
    os.fchmod(fd, stat.S_IMODE(status.st_mode))  # after the owner, which clears set-id bits
    os.utime(fd, ns=(status.st_atime_ns, status.st_mtime_ns))
