"""Filling an empty directory of a step's upper with a directory of the context or of another stage, in one pass:

    source file ─ read once ─┬─ written to the upper
                             ├─ into the layer's archive
                             └─ digested, for the step's key

It is done in the upper itself, once nothing has the overlay mounted: through overlayfs, making a file costs twice
as much. The directory was made, or found empty, through the merged tree (`Placer.reserve`).
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tiffin.build.copying.place import CREATE, Ownership, copy_data, link_to, write_all
from tiffin.build.copying.sources import Picked
from tiffin.build.copying.tree import Cursor, Node, data_digest, file_digest, kept_xattrs, open_file
from tiffin.errors import Conflict
from tiffin.kernel.paths import RESOLVE_BENEATH, RESOLVE_NO_SYMLINKS, open_in_root, openat2
from tiffin.layer.diff import Growth
from tiffin.layer.entry import Entry, Kind

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_CREATE_BOTH = CREATE & ~os.O_WRONLY | os.O_RDWR
_SMALL = 1 << 18  # bytes read in one go
_KINDS = {
    stat.S_IFLNK: Kind.SYMLINK,
    stat.S_IFIFO: Kind.FIFO,
    stat.S_IFCHR: Kind.CHAR,
    stat.S_IFBLK: Kind.BLOCK,
}

Add = Callable[[Entry, int | bytes | None], None]
Learner = Callable[[Node, str, os.stat_result], None]


class Filler:
    """Fills the directory `reserved` of the upper `upper`, below which all descriptors are borrowed.

    `seen(node, digest, status)`, if it is given, is told of every file: what was copied, and what stat(2) says of it
    afterwards.
    `steady` turns False when a source is not, or did not stay, as it was scanned.
    """

    def __init__(
        self,
        upper: int,
        reserved: str,
        ownership: Ownership,
        seen: Learner | None,
    ) -> None:
        self._upper = upper
        self._path = reserved.strip("/")
        self._ownership = ownership
        self._seen = seen
        self.steady = True

    def growth(self, top: int, picked: Picked) -> Growth:
        """What `diff_tar` is to do at the directory: fill it with `picked` of the tree `top`."""
        return Growth(self._path, lambda add: self._fill(top, picked, add))

    @contextmanager
    def _target(self) -> Iterator[int]:
        resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS
        target = openat2(self._upper, self._path or ".", _DIRECTORY, 0, resolve)
        try:
            yield target
        finally:
            os.close(target)

    def _fill(self, top: int, picked: Picked, add: Add) -> None:
        times: dict[str, int] = {}  # that directories are to be left with

        def leave(path: str, fd: int) -> None:
            os.utime(fd, ns=(times[path], times[path]))

        prefix = f"{self._path}/" if self._path else ""
        source = open_in_root(top, picked.base, os.O_RDONLY | os.O_DIRECTORY)
        try:
            with self._target() as target, Cursor(source) as reading, Cursor(target, None, leave) as writing:
                status = os.fstat(target)
                for node in picked.nodes[1:]:
                    parent, name = reading.parent(node.path)
                    into, _ = writing.parent(node.path)
                    uid, gid = self._ownership.of(node)
                    entry = Entry(
                        prefix + node.path,
                        mode=self._ownership.mode_of(node),
                        uid=uid,
                        gid=gid,
                        mtime_ns=self._ownership.time_of(node),
                    )
                    if node.twin:
                        entry.kind, entry.linkname = Kind.HARDLINK, prefix + node.twin
                        _make_twin(target, node.twin, into, name)
                        add(entry, None)
                    elif node.is_file:
                        self._file(node, parent, into, name, entry, add)
                    elif node.is_directory:
                        times[node.path] = entry.mtime_ns
                        entry.kind = Kind.DIRECTORY
                        _make_directory(into, name, entry)
                        add(entry, None)
                    else:
                        _make_special(node, into, name, entry)
                        add(entry, None)
                writing.directory("")
                os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))
        finally:
            os.close(source)

    def _file(self, node: Node, parent: int, into: int, name: str, entry: Entry, add: Add) -> None:
        """Copy a regular file. One look at it, after it was read, tells both that it is what was scanned and that
        nobody wrote to it meanwhile."""
        reader = open_file(parent, name)
        writer = -1
        try:
            entry.xattrs = dict(kept_xattrs(reader))
            writer = os.open(name, _CREATE_BOTH, 0o600, dir_fd=into)
            data = b""
            if node.size <= _SMALL:
                data = os.read(reader, node.size)  # one that grew is found out below
                write_all(writer, data)
                entry.size = len(data)
            else:
                status = os.fstat(reader)
                if not stat.S_ISREG(status.st_mode):
                    raise Conflict(f"{node.path!r} changed while it was copied; build again")
                copy_data(reader, writer, status)
                entry.size = status.st_size
            status = os.fstat(reader)
            if not stat.S_ISREG(status.st_mode):
                raise Conflict(f"{node.path!r} changed while it was copied; build again")
            self.steady = self.steady and node.same(status)
            _dress(writer, entry)
            if node.size <= _SMALL:
                add(entry, data)
            else:  # copied within the kernel
                os.lseek(writer, 0, os.SEEK_SET)
                add(entry, writer)
            if self._seen is not None:
                self._seen(node, _digest(writer, entry, data), status)
        finally:
            os.close(reader)
            if writer >= 0:
                os.close(writer)


def _digest(writer: int, entry: Entry, data: bytes) -> str:
    """Of what was copied: `data`, or what is in the file when that is empty."""
    if data or not entry.size:
        return data_digest(data, list(entry.xattrs.items()))
    os.lseek(writer, 0, os.SEEK_SET)
    return file_digest(writer, entry.size)


def _dress(fd: int, entry: Entry) -> None:
    """In this order: a change of owner takes setuid and file capabilities away."""
    if (entry.uid, entry.gid) != (0, 0):
        os.fchown(fd, entry.uid, entry.gid)
    os.fchmod(fd, entry.mode)
    for key, value in entry.xattrs.items():
        os.setxattr(fd, key, value)
    os.utime(fd, ns=(entry.mtime_ns, entry.mtime_ns))


def _make_directory(parent: int, name: str, entry: Entry) -> None:
    os.mkdir(name, 0o700, dir_fd=parent)
    fd = os.open(name, _DIRECTORY, dir_fd=parent)
    try:
        _dress(fd, entry)
    finally:
        os.close(fd)


def _make_twin(top: int, first: str, parent: int, name: str) -> None:
    """Another name for the file `first` of the directory `top`, both made here."""
    fd = openat2(top, first, os.O_PATH | os.O_NOFOLLOW, 0, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS)
    try:
        link_to(fd, parent, name)
    finally:
        os.close(fd)


def _make_special(node: Node, parent: int, name: str, entry: Entry) -> None:
    """A link, fifo or device, and what is to be said of it in the archive."""
    entry.kind = _KINDS[stat.S_IFMT(node.mode)]
    if node.is_link:
        entry.linkname, entry.mode = node.link, 0o777
        os.symlink(node.link, name, dir_fd=parent)
    else:
        if not stat.S_ISFIFO(node.mode):
            entry.major, entry.minor = os.major(node.rdev), os.minor(node.rdev)
        os.mknod(name, stat.S_IFMT(node.mode) | 0o600, node.rdev, dir_fd=parent)
        os.chmod(name, entry.mode, dir_fd=parent)
    os.chown(name, entry.uid, entry.gid, dir_fd=parent, follow_symlinks=False)
    os.utime(name, ns=(entry.mtime_ns, entry.mtime_ns), dir_fd=parent, follow_symlinks=False)
