"""Copying a tree by descriptor, from a root that an image made into a directory that is empty.

Nothing is reached by a path: each directory is opened below its parent without following links, each entry of
the copy is made exclusively, so what is planted in either tree, or swapped meanwhile, is never followed and
never overwritten. Owners, modes, times, hard links, device numbers and these extended attributes are kept:
`user.*` but overlayfs's, `security.capability`, and ACLs. Sparse files stay sparse. Sockets are left out.
"""

from __future__ import annotations

import errno
import os
import stat

from tiffin.errors import LimitExceeded
from tiffin.kernel import paths
from tiffin.typed import NamedTuple

_DEEPEST = 256
_CHUNK = 1 << 30
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
_HERE = paths.RESOLVE_BENEATH | paths.RESOLVE_NO_SYMLINKS
_ATTRIBUTES = ("security.capability", "system.posix_acl_access", "system.posix_acl_default")
_UNSUPPORTED = (errno.EOPNOTSUPP, errno.ENODATA, errno.EINVAL, errno.ENOSYS, errno.EXDEV)


class _Place(NamedTuple):
    """Where the first copy of a file with several names went, below the root of the copy."""

    directory: str
    name: str


class Copy:
    """One copy of a tree. Holds which file was copied where, so that hard links stay links."""

    def __init__(self, destination: int) -> None:
        self._root = destination
        self._places: dict[tuple[int, int], _Place] = {}

    def tree(self, source: int) -> None:
        """Copy everything in the directory `source`, and its own owner, mode, attributes and times, to the
        directory given at first. Raises LimitExceeded below 256 levels, FileExistsError on what is in the way."""
        self._directory(source, self._root, ".", 0)

    def _directory(self, source: int, destination: int, path: str, depth: int) -> None:
        if depth > _DEEPEST:
            raise LimitExceeded(f"the tree is deeper than {_DEEPEST} directories at {path[:80]}")
        with os.scandir(source) as entries:
            names = sorted(entry.name for entry in entries)
        for name in names:
            self._entry(source, destination, path, name, depth)
        copy_metadata(source, destination)

    def _entry(self, source: int, destination: int, path: str, name: str, depth: int) -> None:
        try:
            status = os.lstat(name, dir_fd=source)
        except FileNotFoundError:
            return
        if stat.S_ISDIR(status.st_mode):
            self._subdirectory(source, destination, path, name, depth)
        elif not stat.S_ISSOCK(status.st_mode) and not self._linked(status, destination, name):
            if status.st_nlink > 1:
                self._places[status.st_dev, status.st_ino] = _Place(path, name)
            if stat.S_ISREG(status.st_mode):
                _copy_file(source, destination, name)
            else:
                _copy_special(source, destination, name, status)

    def _subdirectory(self, source: int, destination: int, path: str, name: str, depth: int) -> None:
        inner = paths.openat2(source, name, _DIRECTORY, 0, _HERE)
        try:
            os.mkdir(name, 0o700, dir_fd=destination)
            made = paths.openat2(destination, name, _DIRECTORY, 0, _HERE)
            try:
                self._directory(inner, made, f"{path}/{name}", depth + 1)
            finally:
                os.close(made)
        finally:
            os.close(inner)

    def _linked(self, status: os.stat_result, destination: int, name: str) -> bool:
        """Make `name` a link to the copy of the same file, if there is one."""
        place = self._places.get((status.st_dev, status.st_ino))
        if place is None:
            return False
        first = paths.openat2(self._root, place.directory, os.O_PATH | os.O_DIRECTORY, 0, _HERE)
        try:
            os.link(place.name, name, src_dir_fd=first, dst_dir_fd=destination, follow_symlinks=False)
        finally:
            os.close(first)
        return True


def _copy_file(source: int, destination: int, name: str) -> None:
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
    reader = paths.openat2(source, name, flags, 0, _HERE)
    try:
        size = os.fstat(reader).st_size
        made = os.open(
            name,
            os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC,
            0o600,
            dir_fd=destination,
        )
        try:
            _copy_data(reader, made, size)
            copy_metadata(reader, made)
        finally:
            os.close(made)
    finally:
        os.close(reader)


def _copy_data(reader: int, writer: int, size: int) -> None:
    """Copy up to `size` bytes, leaving holes out; without a copy in memory where the kernel can."""
    os.ftruncate(writer, size)
    position = 0
    while position < size:
        try:
            position = os.lseek(reader, position, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:
                return  # a hole to the end
            raise
        end = min(os.lseek(reader, position, os.SEEK_HOLE), size)
        if position >= end:
            return
        position = _copy_range(reader, writer, position, end)


def _copy_range(reader: int, writer: int, position: int, end: int) -> int:
    """Copy the bytes from `position` to `end`; where it got to."""
    while position < end:
        try:
            done = os.copy_file_range(reader, writer, min(end - position, _CHUNK), position, position)
        except OSError as error:
            if error.errno not in _UNSUPPORTED:
                raise
            done = os.pwrite(writer, os.pread(reader, min(end - position, 1 << 20), position), position)
        if not done:
            return end  # shortened meanwhile
        position += done
    return position


def _copy_special(source: int, destination: int, name: str, status: os.stat_result) -> None:
    """A symbolic link, a device or a fifo."""
    if stat.S_ISLNK(status.st_mode):
        os.symlink(os.readlink(name, dir_fd=source), name, dir_fd=destination)
    else:
        os.mknod(name, stat.S_IFMT(status.st_mode) | 0o600, status.st_rdev, dir_fd=destination)
    os.chown(name, status.st_uid, status.st_gid, dir_fd=destination, follow_symlinks=False)
    if not stat.S_ISLNK(status.st_mode):
        made = paths.openat2(destination, name, os.O_PATH | os.O_NOFOLLOW, 0, _HERE)
        try:
            os.chmod(f"/proc/self/fd/{made}", stat.S_IMODE(status.st_mode))
        finally:
            os.close(made)
    times = (status.st_atime_ns, status.st_mtime_ns)
    os.utime(name, ns=times, dir_fd=destination, follow_symlinks=False)


def copy_metadata(source: int, destination: int) -> None:
    """Give a file or directory the owner, mode, attributes and times of another."""
    status = os.fstat(source)
    # The owner first: changing it takes away setuid and capabilities.
    os.fchown(destination, status.st_uid, status.st_gid)
    os.fchmod(destination, stat.S_IMODE(status.st_mode))
    for name in _attribute_names(source):
        if name in _ATTRIBUTES or (name.startswith("user.") and not name.startswith("user.overlay.")):
            os.setxattr(destination, name, os.getxattr(source, name))
    os.utime(destination, ns=(status.st_atime_ns, status.st_mtime_ns))


def _attribute_names(fd: int) -> list[str]:
    try:
        return os.listxattr(fd)
    except OSError as error:
        if error.errno in _UNSUPPORTED:
            return []
        raise
