"""Putting files into an image's tree, by descriptor: what COPY and ADD do once their sources are found.

The tree is the merged one, layers and all, so that links, directories and owners that an earlier layer made
are seen as they are. Links on the way to a destination are followed inside the tree, as they would be in a
container; they cannot lead out of it. The destination itself is made as any directory is: of a directory that
is copied, what is in it is, with owners, modes and times, also those of directories that were there already.
"""

from __future__ import annotations

import os
import posixpath
import stat
from errno import EINVAL, ELOOP, ENOSYS, ENOTDIR, ENXIO, EXDEV

from tiffin.build.copying.sources import Picked
from tiffin.build.copying.tree import Cursor, Node, kept_xattrs, open_file
from tiffin.errors import Conflict, InvalidArgument
from tiffin.kernel.paths import mkdirs_in_root, open_in_root
from tiffin.typed import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from tiffin.dockerfile.chmod import Mode

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY
CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_SMALL = 1 << 18
_CHUNK = 1 << 26
_MAX_LINKS = 40


class Ownership(NamedTuple):
    """Who the files will belong to. `fixed` None: each keeps its own owner. `mode` None: each keeps its own
    mode. Nothing is left younger than `latest` (ns), unless that is negative."""

    fixed: tuple[int, int] | None
    mode: Mode | None
    latest: int = -1

    def of(self, node: Node) -> tuple[int, int]:
        return self.fixed or (node.uid, node.gid)

    def mode_of(self, node: Node) -> int:
        mode = stat.S_IMODE(node.mode)
        return mode if self.mode is None else self.mode.apply(mode, node.is_directory)

    def time_of(self, node: Node) -> int:
        return node.mtime_ns if self.latest < 0 else min(node.mtime_ns, self.latest)


class Placer:
    """Writes below the directory `root`, which it borrows. `steady` turns False when a source changed while
    it was copied, or between being looked at and being copied."""

    def __init__(self, root: int, ownership: Ownership) -> None:
        self._root = root
        self._ownership = ownership
        self.steady = True

    def is_directory(self, path: str) -> bool:
        """Whether `path` in the tree is a directory, or a link to one."""
        try:
            os.close(open_in_root(self._root, path, _DIRECTORY))
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError as error:
            if error.errno == ELOOP:
                return False
            raise
        return True

    def make_directory(self, path: str) -> int:
        """A descriptor to the directory `path`, made with its missing parents."""
        uid, gid = self._ownership.fixed or (0, 0)
        try:
            return mkdirs_in_root(self._root, path, 0o755, uid, gid)
        except OSError as error:
            if error.errno in (ENOTDIR, ELOOP):
                raise Conflict(
                    f"cannot make {path!r}: something on the way to it is not a directory"
                ) from error
            raise

    def put_file(self, top: int, picked: Picked, dest: str, *, into: bool) -> None:
        """Copy one thing that is not a directory: to the path `dest`, or `into` the directory `dest`."""
        path = f"{dest.rstrip('/')}/{picked.name}" if into else self._through_links(dest)
        parent, name = posixpath.split(path)
        target = self.make_directory(parent)
        source = open_in_root(top, picked.base, _DIRECTORY)
        try:
            with _KeptTimes(target):
                self._put(source, picked.nodes[0].path, picked.nodes[0], target, name)
        finally:
            os.close(source)
            os.close(target)

    def put_text(self, name: str, data: bytes, dest: str, *, into: bool) -> None:
        """Write a here-document."""
        path = f"{dest.rstrip('/')}/{name}" if into else self._through_links(dest)
        parent, name = posixpath.split(path)
        target = self.make_directory(parent)
        try:
            with _KeptTimes(target):
                _clear(target, name)
                fd = os.open(name, CREATE, 0o600, dir_fd=target)
                with open(fd, "wb") as file:
                    file.write(data)
                    file.flush()
                    os.fchown(fd, *(self._ownership.fixed or (0, 0)))
                    mode = self._ownership.mode
                    os.fchmod(fd, mode.apply(0o644, is_directory=False) if mode else 0o644)
        finally:
            os.close(target)

    def put_directory(self, top: int, picked: Picked, dest: str, *, parents: bool = False) -> None:
        """Copy what is in a directory into `dest`. With `parents` its directories are only on the way to what is
        copied, and leave those that are there as they are."""
        fresh = not self.is_directory(dest)
        target = self.make_directory(dest)
        try:
            self._fill(target, dest, top, picked, fresh=fresh, parents=parents)
        finally:
            os.close(target)

    def reserve(self, dest: str, picked: Picked) -> str | None:
        """Make `dest`, a directory, for what `picked` has, and see to it that it is in the upper: its path there; None
        when something is in it already.

        What an empty directory is to hold is written to the upper itself: see tiffin.build.copying.fill.
        """
        fresh = not self.is_directory(dest)
        target = self.make_directory(dest)
        try:
            if not fresh and os.listdir(target):
                return None
            os.utime(target, ns=_times(target))  # has it copied up
            if fresh:
                self._date(target, picked)
            return os.readlink(f"/proc/self/fd/{target}")
        finally:
            os.close(target)

    def _fill(self, target: int, dest: str, top: int, picked: Picked, *, fresh: bool, parents: bool) -> None:
        times: dict[str, tuple[int, int]] = {}  # that directories are to be left with

        def leave(path: str, fd: int) -> None:
            os.utime(fd, ns=times[path])

        def step(fd: int, name: str, path: str) -> int:
            found = self._step(fd, name, f"{dest.rstrip('/')}/{path}")
            times.setdefault(path, _times(found))
            return found

        before = _times(target)
        source = open_in_root(top, picked.base, _DIRECTORY)
        try:
            with Cursor(source) as reading, Cursor(target, step, leave) as writing:
                for node in picked.nodes[1:]:
                    parent, name = reading.parent(node.path)
                    into, _ = writing.parent(node.path)
                    if node.twin:
                        self._put_twin(f"{dest.rstrip('/')}/{node.twin}", into, name)
                    elif not node.is_directory:
                        self._put(parent, name, node, into, name)
                    elif self._put_directory(node, into, name, keep=parents):
                        times[node.path] = (node.mtime_ns, node.mtime_ns)
        finally:
            os.close(source)
        if fresh and not parents:
            self._date(target, picked)
        elif not fresh and len(picked.nodes) > 1:
            os.utime(target, ns=before)

    def _date(self, target: int, picked: Picked) -> None:
        """A new destination is as old as what is copied, so that its layer does not depend on when that is done. The
        top of a tree is no directory with a time of its own."""
        if picked.base:
            time = self._ownership.time_of(picked.nodes[0])
            os.utime(target, ns=(time, time))

    def _through_links(self, path: str) -> str:
        """Where a file written to `path` lands: a link in its place is followed inside the tree, as `open`
        would."""
        for _ in range(_MAX_LINKS):
            parent = posixpath.dirname(path)
            try:
                fd = open_in_root(self._root, path, os.O_PATH | os.O_NOFOLLOW)
            except FileNotFoundError:
                return path
            except OSError as error:
                if error.errno in (ENOTDIR, ELOOP):
                    raise Conflict(
                        f"cannot write {path!r}: something on the way to it is not a directory"
                    ) from error
                raise
            try:
                if not stat.S_ISLNK(os.fstat(fd).st_mode):
                    return path
                path = posixpath.join(parent, os.readlink("", dir_fd=fd))
            finally:
                os.close(fd)
        raise Conflict(f"cannot write {path!r}: too many symbolic links")

    def _step(self, fd: int, name: str, path: str) -> int:
        """A directory of the tree to write into; a link to one, left by an earlier layer, is followed inside
        it."""
        try:
            return os.open(name, _DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=fd)
        except OSError as error:
            if error.errno not in (ELOOP, ENOTDIR):
                raise
        return self.make_directory(path)

    def _put_directory(self, node: Node, parent: int, name: str, *, keep: bool) -> bool:
        """Make a directory, dressed but for its times, or dress the one that is there; False when that is a link
        to one, or when it is to `keep` what it has."""
        try:
            os.mkdir(name, 0o700, dir_fd=parent)
        except FileExistsError as error:
            # Followed or not is settled by _step; here only what cannot be entered at all is refused.
            mode = os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode
            if not stat.S_ISDIR(mode) and not stat.S_ISLNK(mode):
                raise Conflict(f"cannot copy the directory {node.path!r} over a file of that name") from error
            if keep or stat.S_ISLNK(mode):
                return False
        fd = os.open(name, _DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
        try:
            os.fchown(fd, *self._ownership.of(node))
            os.fchmod(fd, self._ownership.mode_of(node))
            os.utime(fd, ns=(node.mtime_ns, node.mtime_ns))
        finally:
            os.close(fd)
        return True

    def _put_twin(self, first: str, target: int, name: str) -> None:
        """Another name for the file that was put at the path `first`."""
        fd = open_in_root(self._root, first, os.O_PATH | os.O_NOFOLLOW)
        try:
            _clear(target, name)
            link_to(fd, target, name)
        finally:
            os.close(fd)

    def _put(self, source: int, source_name: str, node: Node, target: int, name: str) -> None:
        _clear(target, name)
        uid, gid = self._ownership.of(node)
        if node.is_file:
            self._put_regular(source, source_name, node, target, name, (uid, gid))
            return
        if node.is_link:
            os.symlink(node.link, name, dir_fd=target)
        else:
            os.mknod(name, stat.S_IFMT(node.mode) | 0o600, node.rdev, dir_fd=target)
            os.chmod(name, self._ownership.mode_of(node), dir_fd=target)
        os.chown(name, uid, gid, dir_fd=target, follow_symlinks=False)
        os.utime(name, ns=(node.mtime_ns, node.mtime_ns), dir_fd=target, follow_symlinks=False)

    def _put_regular(
        self, source: int, source_name: str, node: Node, target: int, name: str, owner: tuple[int, int]
    ) -> None:
        reader = open_file(source, source_name)
        try:
            status = os.fstat(reader)
            if not stat.S_ISREG(status.st_mode):
                raise Conflict(f"{node.path!r} changed while it was copied; build again")
            writer = os.open(name, CREATE, 0o600, dir_fd=target)
            try:
                copy_data(reader, writer, status)
                # In this order: a change of owner takes setuid and file capabilities away.
                if owner != (0, 0):
                    os.fchown(writer, *owner)
                os.fchmod(writer, self._ownership.mode_of(node))
                for key, value in kept_xattrs(reader):
                    os.setxattr(writer, key, value)
                os.utime(writer, ns=(node.mtime_ns, node.mtime_ns))
            finally:
                os.close(writer)
            if not node.same(status) or not node.same(os.fstat(reader)):
                self.steady = False
        finally:
            os.close(reader)


class _KeptTimes:
    """The directory's times are afterwards what they were: a file put in it is no news of the directory."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._times = _times(fd)

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            os.utime(self._fd, ns=self._times)


def _times(fd: int) -> tuple[int, int]:
    status = os.fstat(fd)
    return status.st_atime_ns, status.st_mtime_ns


def _clear(parent: int, name: str) -> None:
    """Make room for a file: whatever is there goes, unless it is a directory."""
    try:
        os.unlink(name, dir_fd=parent)
    except FileNotFoundError:
        pass
    except IsADirectoryError as error:
        raise Conflict(
            f"cannot copy a file over the directory {name!r}; end the destination with a /"
        ) from error


def copy_data(reader: int, writer: int, status: os.stat_result) -> None:
    """Copy a file of the size that `status` says, holes as holes; one that has shrunk may come out shorter."""
    if status.st_size <= _SMALL:
        write_all(writer, os.read(reader, status.st_size))
        return
    sparse = status.st_blocks * 512 < status.st_size
    at = 0
    while at < status.st_size:
        end = status.st_size
        if sparse:
            try:
                at = os.lseek(reader, at, os.SEEK_DATA)
                end = os.lseek(reader, at, os.SEEK_HOLE)
            except OSError as error:
                if error.errno != ENXIO:
                    raise
                break  # nothing but a hole from here on
        _copy_range(reader, writer, at, end)
        at = end
    os.ftruncate(writer, status.st_size)


def link_to(fd: int, parent: int, name: str) -> None:
    """A hard link in the directory `parent` to the file that `fd` (O_PATH will do) is."""
    os.link(f"/proc/self/fd/{fd}", name, dst_dir_fd=parent, follow_symlinks=True)


def write_all(writer: int, data: bytes) -> None:
    """Write all of `data`."""
    written = os.write(writer, data)
    while written < len(data):
        written += os.write(writer, data[written:])


def _copy_range(reader: int, writer: int, at: int, end: int) -> None:
    """Copy bytes within the kernel, sharing them where the filesystem can."""
    while at < end:
        try:
            count = os.copy_file_range(reader, writer, min(end - at, _CHUNK), at, at)
        except OSError as error:
            if error.errno not in (EXDEV, ENOSYS, EINVAL):
                raise
            os.lseek(writer, at, os.SEEK_SET)
            count = os.sendfile(writer, reader, at, min(end - at, _CHUNK))
        if not count:
            raise InvalidArgument("a source became shorter while it was copied; build again")
        at += count
