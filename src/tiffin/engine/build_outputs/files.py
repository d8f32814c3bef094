"""The files of a result: --output type=local and type=tar.

In a directory everything belongs to who builds, as BuildKit's client has it: what came with another owner's rights
(setuid, setgid, file capabilities) does not get this one's, and devices, which would be the machine's, stay out. What
the directory holds already stays unless something of the same name comes. Nothing in it is followed: each name is
reached below the descriptor of its directory, and a link that is in the way is replaced. A tar has all as it is.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Sequence
from contextlib import ExitStack

from tiffin.build.copying.mounting import mounted
from tiffin.build.copying.place import copy_data
from tiffin.build.copying.tree import Cursor, Node, open_file, scan
from tiffin.build.solving.export import Solved
from tiffin.build.workers import call
from tiffin.errors import EngineError, InvalidArgument, NoSpace
from tiffin.images import Images
from tiffin.kernel.paths import remove_tree
from tiffin.layer.diff import trees_tar
from tiffin.typed import TYPE_CHECKING, Any, BinaryIO

if TYPE_CHECKING:
    from tiffin.oci.platform import Platform
    from tiffin.snapshot import Mount

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def write_directory(images: Images, solved: Sequence[Solved], dest: str, *, split: bool) -> list[str]:
    """Write the files below `dest`, which is made; with `split`, below a directory for each platform. Warnings.
    Raises NoSpace, EngineError, InvalidArgument."""
    roots = _roots(images, solved)

    def work() -> dict[str, Any]:
        os.makedirs(dest, 0o700, exist_ok=True)
        top = os.open(dest, _DIRECTORY & ~os.O_NOFOLLOW)
        mirror = Mirror(os.getuid(), os.getgid())
        for one, root in zip(solved, roots, strict=True):
            with mounted(root) as source, ExitStack() as opened:
                target = top
                if split:
                    target = mirror.make_directory(top, _folder(one.platform))
                    opened.callback(os.close, target)
                mirror.fill(source, target)
        return {"left_out": mirror.left_out[:3], "count": len(mirror.left_out)}

    found = _called(work, dest)
    if not found["count"]:
        return []
    names = ", ".join(f"/{name}" for name in found["left_out"])
    return [f"{found['count']} devices and sockets are left out of {dest}: {names}"]


def write_tar(images: Images, solved: Sequence[Solved], out: BinaryIO, dest: str, *, split: bool) -> None:
    """Write the files as one tar; with `split`, below a directory for each platform."""
    roots = _roots(images, solved)

    def work() -> dict[str, Any]:
        with ExitStack() as opened:
            trees = {
                _folder(one.platform) if split else "": opened.enter_context(mounted(root))
                for one, root in zip(solved, roots, strict=True)
            }
            trees_tar(trees, out)
            out.flush()
        return {}

    _called(work, dest)


def _roots(images: Images, solved: Sequence[Solved]) -> list[Mount]:
    return [
        images.snapshots.root_mount([layer.diff_id for layer in one.layers], readonly=True) for one in solved
    ]


def _called(work: Any, dest: str) -> dict[str, Any]:
    """Do it in a process with a mount namespace of its own."""

    def task(_channel: object) -> dict[str, Any]:
        try:
            found: dict[str, Any] = work()
        except BrokenPipeError as error:
            raise EngineError(f"cannot write {dest}: nobody reads it any more") from error
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise NoSpace(f"no space left to write {dest}; free some and try again") from error
            if error.errno in (errno.ENOTDIR, errno.EEXIST):
                raise InvalidArgument(f"cannot write to {dest}: it is not a directory") from error
            raise EngineError(f"cannot write {dest}: {error.strerror}") from error
        return found

    return call(task)


def _folder(platform: Platform) -> str:
    return str(platform).replace("/", "_")


class Mirror:
    """Copies trees into directories; all belongs to `uid` and `gid`. `left_out` are the paths of what was not taken."""

    def __init__(self, uid: int, gid: int) -> None:
        self._owner = uid, gid
        self.left_out: list[str] = []

    def fill(self, source: int, target: int) -> None:
        """Copy all that is in the directory `source` into `target`; both descriptors are borrowed."""
        nodes = {node.path: node for node in scan(source)[1:]}

        def leave(path: str, fd: int) -> None:
            node = nodes[path]
            os.fchmod(fd, stat.S_IMODE(node.mode) & 0o1777)
            os.utime(fd, ns=(node.mtime_ns, node.mtime_ns))

        with Cursor(source) as reading, Cursor(target, None, leave) as writing:
            for node in nodes.values():
                parent, name = reading.parent(node.path)
                into, _ = writing.parent(node.path)
                if node.is_directory:
                    os.close(self.make_directory(into, name))
                elif node.is_file:
                    self._file(node, parent, into, name)
                else:
                    self._other(node, into, name)
            writing.directory("")

    def make_directory(self, parent: int, name: str) -> int:
        """The descriptor of a directory that is there afterwards, not through a link."""
        try:
            os.mkdir(name, 0o700, dir_fd=parent)
        except FileExistsError:
            if not stat.S_ISDIR(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode):
                os.unlink(name, dir_fd=parent)
                os.mkdir(name, 0o700, dir_fd=parent)
        fd = os.open(name, _DIRECTORY, dir_fd=parent)
        os.fchown(fd, *self._owner)
        return fd

    def _file(self, node: Node, parent: int, into: int, name: str) -> None:
        """Names of one file become files of their own: a link could lead to what is replaced later."""
        aside = f".{name[:32]}.{os.urandom(6).hex()}"
        reader = open_file(parent, name)
        try:
            status = os.fstat(reader)
            writer = os.open(aside, _CREATE, 0o600, dir_fd=into)
            try:
                copy_data(reader, writer, status)
                os.fchown(writer, *self._owner)
                os.fchmod(writer, stat.S_IMODE(node.mode) & 0o777)
                os.utime(writer, ns=(node.mtime_ns, node.mtime_ns))
            finally:
                os.close(writer)
        finally:
            os.close(reader)
        _put(aside, into, name)

    def _other(self, node: Node, into: int, name: str) -> None:
        aside = f".{name[:32]}.{os.urandom(6).hex()}"
        if node.is_link:
            os.symlink(node.link, aside, dir_fd=into)
        elif stat.S_ISFIFO(node.mode):
            os.mkfifo(aside, 0o600, dir_fd=into)
            os.chmod(aside, stat.S_IMODE(node.mode) & 0o777, dir_fd=into)
        else:
            if not (stat.S_ISCHR(node.mode) and node.rdev == 0):  # a whiteout is nothing to tell of
                self.left_out.append(node.path)
            return
        os.chown(aside, *self._owner, dir_fd=into, follow_symlinks=False)
        os.utime(aside, ns=(node.mtime_ns, node.mtime_ns), dir_fd=into, follow_symlinks=False)
        _put(aside, into, name)


def _put(aside: str, into: int, name: str) -> None:
    """Give what was made aside its name, whatever else has it."""
    try:
        os.rename(aside, name, src_dir_fd=into, dst_dir_fd=into)
    except IsADirectoryError:
        remove_tree(into, name)
        os.rename(aside, name, src_dir_fd=into, dst_dir_fd=into)
