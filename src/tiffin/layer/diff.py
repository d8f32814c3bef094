"""Trees into tar streams, and what a container changed (image-spec, layer.md#representing-changes).

Both streams are deterministic: the same tree gives the same bytes, whatever its filesystem's order. The root
directory itself has no entry, as in the layers of Docker and containerd. Sockets are left out.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable

from tiffin.errors import Conflict, Unsupported
from tiffin.kernel.paths import RESOLVE_BENEATH, RESOLVE_NO_SYMLINKS, openat2
from tiffin.layer.entry import Entry, Kind
from tiffin.layer.failures import writing_failed
from tiffin.layer.names import OPAQUE, WHITEOUT, shown
from tiffin.layer.tarwriter import TarWriter, Writable
from tiffin.layer.walk import OPAQUE_XATTR, LayerStack, Node, is_opaque, is_whiteout, walk
from tiffin.layer.xattrs import is_kept
from tiffin.typed import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
KINDS = {
    stat.S_IFREG: Kind.FILE,
    stat.S_IFDIR: Kind.DIRECTORY,
    stat.S_IFLNK: Kind.SYMLINK,
    stat.S_IFIFO: Kind.FIFO,
    stat.S_IFCHR: Kind.CHAR,
    stat.S_IFBLK: Kind.BLOCK,
}
# An upper with these refers to its lower layers by other names, which a tar cannot say.
_INDIRECT = ("trusted.overlay.redirect", "trusted.overlay.metacopy")


class DiffResult(NamedTuple):
    """How many entries were written, the bytes of their files, each inode's once, and the directories whose opaque
    mark hides nothing (known only when the layers below are)."""

    entries: int
    size: int = 0
    idle_marks: tuple[str, ...] = ()


class Growth(NamedTuple):
    """A directory of the upper, empty so far, that is filled while it is written, so that each file's data is read
    once. `path` is relative to the upper, "" for the upper itself. `fill` makes everything below it, in the walk's
    order, and calls its argument for each thing with the entry (its whole path for a name) and a file's data,
    as `TarWriter.add` takes it. The directory itself is to look before as it is to look afterwards."""

    path: str
    fill: Callable[[Callable[[Entry, int | bytes | None], None]], None]


class Change(NamedTuple):
    """One line of `tiffin diff`: kind is "A" added, "C" changed or "D" deleted; the path is absolute."""

    kind: str
    path: str


def diff_tar(
    upper_fd: int, out: Writable, lower_fds: Sequence[int] | None = None, growth: Growth | None = None
) -> DiffResult:
    """Write an overlay's upper directory as a layer: whiteouts as `.wh.name`, opaque directories with a
    `.wh..wh..opq` in them, overlayfs's own attributes left out.

    With `lower_fds` (its layers' directories, topmost first) whiteouts and opaque markers that hide nothing
    are left out too: overlayfs marks every directory that it makes. Raises Conflict when a file shrinks
    meanwhile (pause the container first), Unsupported for what a layer cannot say: a name beginning with
    `.wh.`, or an upper written with redirect_dir or metacopy.
    """
    try:
        return _diff(upper_fd, out, _Lower(lower_fds), growth)
    except OSError as error:
        raise writing_failed(error, "layer of the changes") from error


def _diff(upper_fd: int, out: Writable, lower: _Lower, growth: Growth | None) -> DiffResult:
    writer = _Tree(out)
    if growth is not None and not growth.path:
        growth.fill(writer.put)
        return writer.finish()
    idle: list[str] = []
    for node in walk(upper_fd, closed=growth.path if growth is not None else ""):
        is_directory = stat.S_ISDIR(node.status.st_mode)
        opaque = is_directory and _opaque(node)
        hides = lower.enter(node, opaque)
        if is_whiteout(node.status):
            if hides:
                writer.whiteout(node, WHITEOUT + node.name)
            continue
        if node.name.startswith(WHITEOUT):
            raise Unsupported(
                f"{shown(node.path)}: a layer cannot hold a name beginning with .wh.: rename it"
            )
        writer.add(node)
        if opaque and hides:
            writer.whiteout(node, f"{node.name}/{OPAQUE}")
        elif opaque:
            idle.append(node.path)
        if growth is not None and is_directory and node.path == growth.path:
            growth.fill(writer.put)
    return writer.finish()._replace(idle_marks=tuple(idle))


def drop_marks(upper_fd: int, paths: Sequence[str]) -> None:
    """Take the opaque mark off directories of an upper that nothing has mounted: `DiffResult.idle_marks`.

    overlayfs marks every directory made over a merged one as opaque, although nothing lies below it to hide. In
    the stack where it was made that is harmless; a layer, though, is shared by every image that has it, also over
    other layers, and is to be exactly what its tar says. Idempotent.
    """
    for path in paths:
        fd = openat2(upper_fd, path, os.O_DIRECTORY | _READ, 0, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS)
        try:
            if is_opaque(fd):
                os.removexattr(fd, OPAQUE_XATTR)
        finally:
            os.close(fd)


def tree_tar(root_fd: int, out: Writable) -> DiffResult:
    """Write a plain tree, as `export` does: every name and device is what it is."""
    return trees_tar({"": root_fd}, out)


def trees_tar(roots: Mapping[str, int], out: Writable) -> DiffResult:
    """Write plain trees into one archive, each below the directory that it is given for, "" for none."""
    writer = _Tree(out)
    try:
        for name, root_fd in roots.items():
            writer.begin(f"{name}/" if name else "")
            for node in walk(root_fd):
                writer.add(node)
        return writer.finish()
    except OSError as error:
        raise writing_failed(error, "archive of the tree") from error


class _Lower:
    """Whether the layers below show something where the walk of the upper stands."""

    def __init__(self, lower_fds: Sequence[int] | None) -> None:
        self._stack = None if lower_fds is None else LayerStack(lower_fds)
        self._merged = [self._stack.root() if self._stack else ()]  # by depth: of the directories above

    def enter(self, node: Node, opaque: bool) -> bool:
        if self._stack is None:
            return True
        del self._merged[node.depth :]
        found = self._stack.look_up(self._merged[-1], node.path)
        self._merged.append(() if opaque else found.layers)
        return found.status is not None


class _Tree:
    """Nodes of a walk into a tar, the names of one inode as hard links."""

    def __init__(self, out: Writable) -> None:
        self._writer = TarWriter(out)
        self._inodes: dict[tuple[int, int], str] = {}
        self._size = 0
        self._prefix = ""

    def begin(self, prefix: str) -> None:
        """A tree of its own, whose names begin with `prefix`."""
        self._prefix = prefix
        self._inodes.clear()
        if prefix:
            self._writer.add(Entry(prefix.rstrip("/"), Kind.DIRECTORY, 0o755))

    def put(self, entry: Entry, data: int | bytes | None = None) -> None:
        """Write an entry as it is."""
        self._writer.add(entry, data)
        self._size += entry.size

    def add(self, node: Node) -> None:
        status = node.status
        kind = KINDS.get(stat.S_IFMT(status.st_mode))
        if kind is None:  # a socket
            return
        path = self._prefix + node.path if self._prefix else node.path
        entry = Entry(
            path,
            kind,
            stat.S_IMODE(status.st_mode),
            status.st_uid,
            status.st_gid,
            mtime_ns=status.st_mtime_ns,
        )
        if status.st_nlink > 1 and kind is not Kind.DIRECTORY:
            first = self._inodes.setdefault((status.st_dev, status.st_ino), path)
            if first is not path:
                entry.kind, entry.linkname = Kind.HARDLINK, first
                self._writer.add(entry)
                return
        if kind is Kind.FILE or kind is Kind.DIRECTORY:
            self._add_opened(node, entry)
            return
        if kind is Kind.SYMLINK:
            entry.linkname = os.readlink(node.name, dir_fd=node.parent_fd)
        elif kind is not Kind.FIFO:
            entry.major, entry.minor = os.major(status.st_rdev), os.minor(status.st_rdev)
        self._writer.add(entry)

    def _add_opened(self, node: Node, entry: Entry) -> None:
        """A file or directory: what is written is what the descriptor says, once it is proven to be the
        node."""
        try:
            fd = os.open(node.name, _READ, dir_fd=node.parent_fd)
        except OSError as error:
            raise Conflict(f"{shown(node.path)} changed while it was read: {error.strerror}") from error
        try:
            status = os.fstat(fd)
            if (status.st_dev, status.st_ino) != (node.status.st_dev, node.status.st_ino):
                raise Conflict(
                    f"{shown(node.path)} was replaced while it was read: pause its writer, try again"
                )
            for name in os.listxattr(fd):
                if name in _INDIRECT:
                    raise Unsupported(
                        f"{shown(node.path)} has {name}: mount overlays with redirect_dir=off,metacopy=off"
                    )
                if is_kept(name):
                    entry.xattrs[name] = os.getxattr(fd, name)
            if entry.kind is Kind.FILE:
                entry.size = status.st_size
                self.put(entry, fd)
            else:
                self._writer.add(entry)
        finally:
            os.close(fd)

    def whiteout(self, node: Node, name: str) -> None:
        """An empty file without owner or time: it says that something is gone, not when."""
        above = node.path[: len(node.path) - len(node.name)]
        self._writer.add(Entry(above + name, mode=0))

    def finish(self) -> DiffResult:
        self._writer.finish()
        return DiffResult(self._writer.entries, self._size)


def _opaque(node: Node) -> bool:
    fd = os.open(node.name, os.O_DIRECTORY | _READ, dir_fd=node.parent_fd)
    try:
        return is_opaque(fd)
    finally:
        os.close(fd)


def changes(upper_fd: int, lower_fds: Sequence[int]) -> Iterator[Change]:
    """What an overlay's upper changes in the layers below (directories, topmost first), in the walk's order.

    A directory counts as changed when its owner, mode or time differ or when something in it changed, as
    Docker has it; overlayfs copies directories up for less.
    """
    stack = LayerStack(lower_fds)
    merged: list[tuple[int, ...]] = [stack.root()]
    unsaid: list[tuple[int, Change]] = []  # directories above, with their depth, not reported so far
    for node in walk(upper_fd):
        del merged[node.depth :]
        unsaid = [item for item in unsaid if item[0] < node.depth]
        found = stack.look_up(merged[-1], node.path)
        merged.append(found.layers)
        path = "/" + node.path
        if is_whiteout(node.status):
            if found.status is None:
                continue
            found_changes = [Change("D", path)]
        elif found.status is None:
            found_changes = [Change("A", path)]
        elif not (stat.S_ISDIR(node.status.st_mode) and stat.S_ISDIR(found.status.st_mode)):
            found_changes = [Change("C", path)]
        else:
            hidden = _hidden(node, stack, found.layers)
            if not hidden and _same_directory(node.status, found.status):
                unsaid.append((node.depth, Change("C", path)))
                continue
            found_changes = [Change("C", path), *hidden]
        yield from (change for _, change in unsaid)
        unsaid = []
        yield from found_changes


def _same_directory(upper: os.stat_result, lower: os.stat_result) -> bool:
    return (upper.st_mode, upper.st_uid, upper.st_gid, upper.st_mtime_ns) == (
        lower.st_mode,
        lower.st_uid,
        lower.st_gid,
        lower.st_mtime_ns,
    )


def _hidden(node: Node, stack: LayerStack, layers: tuple[int, ...]) -> list[Change]:
    """What an opaque directory hides without putting anything in its place."""
    if not _opaque(node):
        return []
    fd = os.open(node.name, os.O_DIRECTORY | _READ, dir_fd=node.parent_fd)
    try:
        there = set(os.listdir(fd))
    finally:
        os.close(fd)
    return [
        Change("D", f"/{node.path}/{name}") for name in stack.names(layers, node.path) if name not in there
    ]
