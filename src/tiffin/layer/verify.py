"""Whether an unpacked tree still is what its layer's tar says: `apply_layer` read backwards.

The tar is read once, and each entry compared with what stands in the tree: kind, mode, owner, size, time, link
target, device number, attributes, contents. Then the tree is walked once for what no entry accounts for. Memory is
one piece of the stream and eight bytes of key for each name, whatever the layer holds.

A name that an archive gives twice is what its last entry says, so that a difference is only a doubt until the end
of the tar. Archives that replace what they unpacked in ways that only unpacking can follow (a directory by a link
that later entries lead through) may leave doubts about a tree that is right: whoever acts on a difference compares
a freshly unpacked tree too (`images.check` does).
"""

from __future__ import annotations

import os
import stat

from tiffin.errors import Corrupt
from tiffin.kernel.paths import open_in_root
from tiffin.layer.entry import Entry, Kind
from tiffin.layer.limits import DEFAULT_LIMITS, Limits
from tiffin.layer.names import AUFS_METADATA, OPAQUE, WHITEOUT, clean_name
from tiffin.layer.tarreader import Readable, TarReader
from tiffin.layer.walk import is_opaque, is_whiteout, walk
from tiffin.layer.xattrs import is_kept
from tiffin.typed import NamedTuple

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_MAX_HELD = 64
_MAX_DOUBTS = 100_000
_FORMATS = {
    Kind.FILE: stat.S_IFREG,
    Kind.DIRECTORY: stat.S_IFDIR,
    Kind.SYMLINK: stat.S_IFLNK,
    Kind.CHAR: stat.S_IFCHR,
    Kind.BLOCK: stat.S_IFBLK,
    Kind.FIFO: stat.S_IFIFO,
}


class Difference(NamedTuple):
    """One thing in which a tree is not its layer. `path` is relative to the tree, "" its root."""

    path: str
    what: str


def verify_tree(tar: Readable, dest_fd: int, limits: Limits = DEFAULT_LIMITS) -> list[Difference]:
    """Compare the tree at `dest_fd`, made by `apply_layer` or as an overlay's upper, with its layer (decompressed).

    Reads `tar` to its end, so that a digest taken on the way covers all of it; changes nothing. Differences come
    sorted by path; none means that the tree is whole. What a tar cannot say is not compared: sockets, the root
    directory and implied directories' times, attributes of the host. Raises Corrupt and LimitExceeded for the tar,
    OSError when the tree cannot be read.
    """
    reader = TarReader(tar, limits)
    comparison = _Comparison(reader, dest_fd, limits)
    try:
        for entry in reader:
            comparison.entry(entry)
            if len(comparison.doubts) > _MAX_DOUBTS:
                break
        reader.drain()
        comparison.strangers()
    finally:
        comparison.close()
    return [Difference(path, what) for path, what in sorted(comparison.doubts.items())]


class _Comparison:
    """What has been accounted for so far. Directories are known by inode, everything else by its directory's inode
    and its name, so that it does not matter by which path an entry led there."""

    def __init__(self, reader: TarReader, root_fd: int, limits: Limits) -> None:
        self._reader = reader
        self._root_fd = root_fd
        self._limits = limits
        self._held: dict[str, tuple[int, int]] = {}  # path → descriptor and inode, least recently used first
        self._names: set[int] = set()
        self._directories = {os.fstat(root_fd).st_ino}
        self._implied: set[int] = set()
        self._opaque: set[int] = set()
        self.doubts: dict[str, str] = {}

    def close(self) -> None:
        for fd, _ in self._held.values():
            os.close(fd)
        self._held.clear()

    # -- reaching --------------------------------------------------------------------------------------------

    def _directory(self, path: str) -> tuple[int, int]:
        """A directory's descriptor, valid until the next call, and inode. FileNotFoundError, NotADirectoryError."""
        found = self._held.pop(path, None)
        if found is None:
            fd = open_in_root(self._root_fd, path, _DIRECTORY)
            found = fd, os.fstat(fd).st_ino
            self._imply(fd, found[1])
        self._held[path] = found
        if len(self._held) > _MAX_HELD:
            os.close(self._held.pop(next(iter(self._held)))[0])
        return found

    def _imply(self, fd: int, inode: int) -> None:
        """A directory that is on an entry's way is accounted for, and so are those above it."""
        above = os.dup(fd)
        try:
            while inode not in self._directories:
                self._directories.add(inode)
                self._implied.add(inode)
                up = os.open("..", _DIRECTORY | os.O_NOFOLLOW, dir_fd=above)
                os.close(above)
                above, inode = up, os.fstat(up).st_ino
        finally:
            os.close(above)

    # -- entries ---------------------------------------------------------------------------------------------

    def entry(self, entry: Entry) -> None:
        path = clean_name(entry.name, self._limits)
        above, _, base = path.rpartition("/")
        try:
            if WHITEOUT in path and self._whiteout(above, base):
                return
            if entry.kind is Kind.DIRECTORY:
                what = self._compare_directory(entry, path)
            else:
                if self.doubts:
                    self._forget_below(path)
                what = self._compare(entry, above, base)
        except (FileNotFoundError, NotADirectoryError):
            what = "is missing"
        if what:
            self.doubts[path] = what
        else:
            self.doubts.pop(path, None)

    def _forget_below(self, path: str) -> None:
        """What was a directory of this name before is no more."""
        for doubted in [known for known in self.doubts if known.startswith(f"{path}/")]:
            del self.doubts[doubted]

    def _whiteout(self, above: str, base: str) -> bool:
        """What a name with `.wh.` in it stands for; False when it is only a name."""
        for part in above.split("/"):
            if part.startswith(AUFS_METADATA):
                return True
            if part.startswith(WHITEOUT):
                raise Corrupt("an entry of the layer is below a whiteout")
        if not base.startswith(WHITEOUT):
            return False
        if base == OPAQUE:
            fd, inode = self._directory(above)
            self._expect_opaque(above, fd, inode)
        elif not base.startswith(AUFS_METADATA):
            self._hidden(f"{above}/{base[len(WHITEOUT) :]}".lstrip("/"), above, base[len(WHITEOUT) :])
        return True

    def _expect_opaque(self, path: str, fd: int, inode: int) -> None:
        self._opaque.add(inode)
        if not is_opaque(fd):
            self.doubts[path] = "does not hide what is below it (no opaque mark)"

    def _hidden(self, path: str, above: str, base: str) -> None:
        """A whiteout for `base`: a device 0:0, or what the layer itself has there instead."""
        parent, inode = self._directory(above)
        try:
            status = os.stat(base, dir_fd=parent, follow_symlinks=False)
        except FileNotFoundError:
            self.doubts[path] = "does not hide what is below it (no whiteout)"
            return
        if is_whiteout(status):
            self._names.add(hash((inode, base)))
        elif stat.S_ISDIR(status.st_mode):
            self._expect_opaque(path, *self._directory(path))

    def _compare_directory(self, entry: Entry, path: str) -> str:
        if path:
            above, _, base = path.rpartition("/")
            status = os.stat(base, dir_fd=self._directory(above)[0], follow_symlinks=False)
            if not stat.S_ISDIR(status.st_mode):
                return "is not a directory"
        fd, inode = self._directory(path)
        self._implied.discard(inode)
        return _metadata(entry, os.fstat(fd)) or _attributes(entry, fd)

    def _compare(self, entry: Entry, above: str, base: str) -> str:
        parent, inode = self._directory(above)
        status = os.stat(base, dir_fd=parent, follow_symlinks=False)
        self._names.add(hash((inode, base)))
        if entry.kind is Kind.HARDLINK:
            return self._compare_link(entry, status)
        if stat.S_IFMT(status.st_mode) != _FORMATS[entry.kind]:
            return f"is not a {entry.kind.name.lower()}"
        if entry.kind is Kind.SYMLINK:
            if os.readlink(base, dir_fd=parent) != entry.linkname:
                return "leads elsewhere"
            return _metadata(entry, status)
        if entry.kind is not Kind.FILE:
            return _metadata(entry, status) or _device(entry, status)
        if status.st_size != entry.size:
            return f"has {status.st_size} bytes, not {entry.size}"
        fd = os.open(base, _READ, dir_fd=parent)
        try:
            return _metadata(entry, status) or _attributes(entry, fd) or self._contents(fd)
        finally:
            os.close(fd)

    def _compare_link(self, entry: Entry, status: os.stat_result) -> str:
        above, _, base = clean_name(entry.linkname, self._limits).rpartition("/")
        first = os.stat(base, dir_fd=self._directory(above)[0], follow_symlinks=False)
        same = (first.st_dev, first.st_ino) == (status.st_dev, status.st_ino)
        return "" if same else f"is not the same file as {entry.linkname!r}"

    def _contents(self, fd: int) -> str:
        offset = 0
        for piece in self._reader.chunks():
            found = os.pread(fd, len(piece), offset)
            if found != bytes(piece):
                return f"has other contents near byte {offset}"
            offset += len(piece)
        return ""

    # -- what no entry accounts for --------------------------------------------------------------------------

    def strangers(self) -> None:
        """Doubt whatever the tree holds that the layer does not."""
        for node in walk(self._root_fd, self._limits.depth + 1):
            mode = node.status.st_mode
            if stat.S_ISSOCK(mode):
                continue
            if not stat.S_ISDIR(mode):
                if hash((os.fstat(node.parent_fd).st_ino, node.name)) not in self._names:
                    self.doubts.setdefault(node.path, "does not belong to the layer")
                continue
            inode = node.status.st_ino
            if inode not in self._directories:
                self.doubts.setdefault(node.path, "does not belong to the layer")
            elif inode in self._implied and (mode & 0o7777, node.status.st_uid, node.status.st_gid) != (
                0o755,
                0,
                0,
            ):
                self.doubts.setdefault(
                    node.path, "has another mode or owner than a directory that is only implied"
                )
            if inode not in self._opaque:
                fd = os.open(node.name, _DIRECTORY | os.O_NOFOLLOW, dir_fd=node.parent_fd)
                try:
                    if is_opaque(fd):
                        self.doubts.setdefault(node.path, "hides what is below it (an opaque mark)")
                finally:
                    os.close(fd)


def _metadata(entry: Entry, status: os.stat_result) -> str:
    """Mode (a symbolic link has none), owner, time."""
    if entry.kind is not Kind.SYMLINK and stat.S_IMODE(status.st_mode) != entry.mode:
        return f"has mode {stat.S_IMODE(status.st_mode):04o}, not {entry.mode:04o}"
    if (status.st_uid, status.st_gid) != (entry.uid, entry.gid):
        return f"belongs to {status.st_uid}:{status.st_gid}, not {entry.uid}:{entry.gid}"
    if status.st_mtime_ns != entry.mtime_ns:
        return f"was changed at {status.st_mtime_ns / 1e9:.3f}, not {entry.mtime_ns / 1e9:.3f}"
    return ""


def _device(entry: Entry, status: os.stat_result) -> str:
    if entry.kind is Kind.FIFO or status.st_rdev == os.makedev(entry.major, entry.minor):
        return ""
    found = f"{os.major(status.st_rdev)}:{os.minor(status.st_rdev)}"
    return f"is device {found}, not {entry.major}:{entry.minor}"


def _attributes(entry: Entry, fd: int) -> str:
    wanted = {name: value for name, value in entry.xattrs.items() if is_kept(name)}
    found = {name: os.getxattr(fd, name) for name in os.listxattr(fd) if is_kept(name)}
    if found == wanted:
        return ""
    names = sorted(name for name in found.keys() | wanted.keys() if found.get(name) != wanted.get(name))
    return f"has other extended attributes: {', '.join(names[:4])}"
