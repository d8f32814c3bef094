"""A directory tree as a list of plain nodes, and how to walk it again by descriptor.

Nothing here follows a symbolic link: a directory is opened below its parent's descriptor with O_NOFOLLOW, so
a tree, whoever wrote it, cannot lead out of itself.
"""

from __future__ import annotations

import operator
import os
import stat
from collections.abc import Callable, Sequence

from tiffin.errors import LimitExceeded
from tiffin.oci.digest import sha256
from tiffin.typed import NamedTuple

MAX_DEPTH = 400  # one descriptor each while walking; the usual limit is 1024
MAX_ENTRIES = 5_000_000
_CHUNK = 1 << 20
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NAME = operator.attrgetter("name")
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class Node(NamedTuple):
    """One thing in a tree. `path` is relative to where the scan began ("" is that place itself).

    `link` is a symbolic link's target. `identity` is (device, inode, change time): with size and mtime it
    tells whether a file is still what was scanned. `twin` is the path of the first name, in the same scan, of
    the file that this is another hard link to; "" when it is the first one itself.
    """

    path: str
    mode: int
    uid: int
    gid: int
    size: int
    mtime_ns: int
    rdev: int
    link: str
    identity: tuple[int, int, int]
    twin: str = ""

    @property
    def is_directory(self) -> bool:
        return stat.S_ISDIR(self.mode)

    @property
    def is_file(self) -> bool:
        return stat.S_ISREG(self.mode)

    @property
    def is_link(self) -> bool:
        return stat.S_ISLNK(self.mode)

    def same(self, status: os.stat_result) -> bool:
        """Whether `status` is of the very thing, unchanged."""
        now = (status.st_dev, status.st_ino, status.st_ctime_ns)
        return now == self.identity and status.st_size == self.size and status.st_mtime_ns == self.mtime_ns


class Filter(NamedTuple):
    """What to leave out, by path relative to where the scan began.

    keep(path): whether it is taken. enter(path): whether something below a directory not kept may be.
    """

    keep: Callable[[str], bool]
    enter: Callable[[str], bool]


def node_of(path: str, status: os.stat_result, link: str = "", twin: str = "") -> Node:
    mode, inode, device, _, uid, gid, size, *_ = status
    identity = (device, inode, status.st_ctime_ns)
    # Not by the class, whose own way is half of what a scan of many files takes.
    return tuple.__new__(
        Node, (path, mode, uid, gid, size, status.st_mtime_ns, status.st_rdev, link, identity, twin)
    )


class _Twins:
    """The first names of files that have several."""

    def __init__(self) -> None:
        self._first: dict[tuple[int, int], str] = {}

    def of(self, path: str, status: os.stat_result) -> str:
        """See `Node.twin`, of a thing with several names or of a directory."""
        if not stat.S_ISREG(status.st_mode):
            return ""
        first = self._first.setdefault((status.st_dev, status.st_ino), path)
        return "" if first is path else first


def scan(fd: int, chosen: Filter | None = None) -> list[Node]:
    """All that lies below the directory `fd`, itself first (path ""), each directory before what is in it,
    names sorted by their bytes. Sockets are left out: they mean nothing elsewhere. LimitExceeded for absurdly
    deep or large trees.
    """
    nodes = [node_of("", os.fstat(fd))]
    _scan_into(nodes, fd, "", chosen, 0, _Twins())
    return nodes


def _scan_into(
    nodes: list[Node], fd: int, prefix: str, chosen: Filter | None, depth: int, twins: _Twins
) -> None:
    if depth > MAX_DEPTH:
        raise LimitExceeded(f"{prefix[:80]}... is more than {MAX_DEPTH} directories deep")
    with os.scandir(fd) as listing:
        entries = sorted(listing, key=_NAME)
    if not "".join(map(_NAME, entries)).isascii():  # only then is the order of bytes another
        entries.sort(key=lambda entry: os.fsencode(entry.name))
    if len(nodes) + len(entries) > MAX_ENTRIES:
        raise LimitExceeded(f"more than {MAX_ENTRIES} files at {prefix or '.'}")
    for entry in entries:
        path = prefix + entry.name
        if chosen is None or chosen.keep(path):
            status = entry.stat(follow_symlinks=False)
        elif entry.is_dir(follow_symlinks=False) and chosen.enter(path):
            status = entry.stat(follow_symlinks=False)
            before = len(nodes)
            nodes.append(node_of(path, status))
            _descend(nodes, fd, entry.name, path, chosen, depth, twins)
            if len(nodes) == before + 1:
                nodes.pop()
            continue
        else:
            continue
        mode = status.st_mode
        if stat.S_ISLNK(mode):
            nodes.append(node_of(path, status, os.readlink(entry.name, dir_fd=fd)))
        elif not stat.S_ISSOCK(mode):
            nodes.append(node_of(path, status, "", twins.of(path, status) if status.st_nlink > 1 else ""))
            if stat.S_ISDIR(mode):
                _descend(nodes, fd, entry.name, path, chosen, depth, twins)


def _descend(
    nodes: list[Node], fd: int, name: str, path: str, chosen: Filter | None, depth: int, twins: _Twins
) -> None:
    child = os.open(name, _DIRECTORY, dir_fd=fd)
    try:
        _scan_into(nodes, child, path + "/", chosen, depth + 1, twins)
    finally:
        os.close(child)


class Cursor:
    """Descriptors of the directories along the path of a depth-first walk, opened as they are needed.

    `leave(path, fd)` is called as each directory below the top is left for good, deepest first. `step(fd,
    name, path)` opens a directory below another; the default never follows a link. Close it (it is a context
    manager).
    """

    def __init__(
        self,
        fd: int,
        step: Callable[[int, str, str], int] | None = None,
        leave: Callable[[str, int], None] | None = None,
    ) -> None:
        self._stack = [("", os.dup(fd))]
        self._step = step or _open_below
        self._leave = leave

    def __enter__(self) -> Cursor:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self.directory("")
        finally:
            while self._stack:
                os.close(self._stack.pop()[1])

    def parent(self, path: str) -> tuple[int, str]:
        """The descriptor of the directory that `path` is in, valid until the next call, and its last name."""
        head, _, name = path.rpartition("/")
        return self.directory(head), name

    def directory(self, path: str) -> int:
        """The descriptor of the directory `path` ("" the top), valid until the next call."""
        stack = self._stack
        while True:
            top, fd = stack[-1]
            if top == path:
                return fd
            if not top or path.startswith(top + "/"):
                name = path[len(top) + 1 if top else 0 :].partition("/")[0]
                below = f"{top}/{name}" if top else name
                stack.append((below, self._step(fd, name, below)))
            else:
                stack.pop()
                try:
                    if self._leave is not None:
                        self._leave(top, fd)
                finally:
                    os.close(fd)


def _open_below(fd: int, name: str, _path: str) -> int:
    return os.open(name, _DIRECTORY, dir_fd=fd)


def open_file(parent: int, name: str) -> int:
    """A regular file to read, never through a link, never waiting (a fifo put in its place does not hang
    us)."""
    return os.open(name, _FILE, dir_fd=parent)


def file_digest(fd: int, size: int) -> str:
    """SHA-256, in hexadecimal, of what `fd` holds, of its kept extended attributes too when it has any."""
    wanted = min(size, _CHUNK) + 1  # no more: Python makes room for all that is asked for
    data = os.read(fd, wanted)
    if len(data) < wanted:
        return data_digest(data, kept_xattrs(fd))
    import hashlib

    found = hashlib.sha256(data)
    while data := os.read(fd, _CHUNK):
        found.update(data)
    for attribute in kept_xattrs(fd):
        found.update(_attribute_text(*attribute))
    return found.hexdigest()


def data_digest(data: bytes, xattrs: Sequence[tuple[str, bytes]]) -> str:
    """`file_digest` of a file that holds `data`."""
    return sha256(
        b"".join([data, *(_attribute_text(*attribute) for attribute in xattrs)]) if xattrs else data
    )


def _attribute_text(name: str, value: bytes) -> bytes:
    return b"\0xattr\0%s\0%d\0%s" % (name.encode(), len(value), value)


def kept_xattrs(fd: int) -> list[tuple[str, bytes]]:
    """The extended attributes that travel with a file: file capabilities, and the user's own."""
    try:
        names = os.listxattr(fd)
    except OSError:  # the filesystem has none
        return []
    return [(name, os.getxattr(fd, name)) for name in sorted(names) if _is_kept(name)]


def _is_kept(name: str) -> bool:
    if name.startswith("user."):
        return not name.startswith("user.overlay.")
    return name == "security.capability"


def tree_digest(nodes: list[Node], digest_of: Callable[[Node], str], *, owners: bool) -> str:
    """One SHA-256 of what a COPY of these nodes would put in place: names, kinds, modes, contents, link
    targets, which names are one file, and with `owners` the owners. Times do not count: a checkout anew is
    still the same source.
    """
    lines = []
    for node in nodes:
        path, mode, uid, gid, _, _, rdev, link, _, twin = node
        line = f"{path}\0{mode:#o}\0{uid}\0{gid}" if owners else f"{path}\0{mode:#o}"
        kind = stat.S_IFMT(mode)
        if twin:
            line += f"\0={twin}"
        elif kind == stat.S_IFREG:
            line += f"\0{digest_of(node)}"
        elif kind == stat.S_IFLNK:
            line += f"\0{link}"
        elif kind != stat.S_IFDIR:
            line += f"\0{rdev}"
        lines.append(line)
    return sha256("\n\0".join([*lines, ""]).encode("utf-8", "surrogateescape"))
