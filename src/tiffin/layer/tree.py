"""A directory tree that untrusted names are written into, and that they cannot lead out of (T2, T3, T9).

A directory is reached in one of two ways: one component below a descriptor already held, never following a
link; or, where links are on the way, by openat2(RESOLVE_IN_ROOT) from the root. The descriptors of the last
directories used are held, which is what makes unpacking fast: most entries cost no path walk at all. Whatever
could make a held path mean something else (a directory or link is removed) lets go of all of them.

A held directory remembers the time that it is to have and gets it when let go, so that entries made in it
later do not change it, and no list of directories grows with the archive.
"""

from __future__ import annotations

import os
import stat

from tiffin.errors import Conflict, Corrupt, LimitExceeded
from tiffin.kernel.paths import mkdirs_in_root, open_in_root, remove_tree
from tiffin.layer.names import shown
from tiffin.layer.walk import OPAQUE_XATTR, is_whiteout
from tiffin.typed import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from typing import Self

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_MAX_HELD = 128


class Onto(NamedTuple):
    """What is unpacked onto: a tree that is in use, not one in the making.

    With `keep_kinds` a directory is not replaced by what is none, nor the other way round: Conflict in Docker's words,
    for which `root` is what the tree's root is called and `destination` the place unpacked at. The destination keeps
    its own owner, mode and time; other directories that entries are made in show when that was.
    """

    root: str
    destination: str
    keep_kinds: bool = True


class _Held:
    """An open directory and the access and modification times that it is to be left with, None for those that it
    has by then: a list of one, which all who hold the same directory by other paths share."""

    __slots__ = ("fd", "inode", "times")

    def __init__(self, fd: int, *, keep_times: bool) -> None:
        self.fd = fd
        status = os.fstat(fd)
        self.inode = status.st_dev, status.st_ino
        self.times = [(status.st_atime_ns, status.st_mtime_ns) if keep_times else None]

    def let_go(self) -> None:
        try:
            if self.times[0] is not None:
                os.utime(self.fd, ns=self.times[0])
        finally:
            os.close(self.fd)


class Tree:
    """Paths are relative, clean (`names.clean_name`), "" the root. A context manager: leaving it sets the
    times of the directories still held. `root_fd` stays the caller's.

    With `overlay` the tree is an overlay layer: what replaces a whiteout by a directory makes it opaque,
    since the directory of that name in the layers below must stay hidden.
    """

    def __init__(self, root_fd: int, *, overlay: bool, max_implied: int, onto: Onto | None = None) -> None:
        self._onto = onto
        self._root = _Held(os.open(".", _DIRECTORY, dir_fd=root_fd), keep_times=onto is None)
        self._held: dict[str, _Held] = {}  # least recently used first
        self._by_inode = {self._root.inode: self._root}
        self._overlay = overlay
        self._implied_left = max_implied

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._let_go_all()
        finally:
            self._root.let_go()

    # -- reaching --------------------------------------------------------------------------------------------

    def directory(self, path: str) -> int:
        """A descriptor to a directory, made with its missing parents (0755, root's). Valid until the next
        call of any method of this tree. Corrupt when something on the way is not a directory."""
        return self._reach(path).fd

    def _get(self, path: str) -> _Held | None:
        if not path:
            return self._root
        held = self._held.pop(path, None)
        if held is not None:
            self._held[path] = held
        return held

    def _reach(self, path: str) -> _Held:
        held = self._get(path)
        missing: list[str] = []
        while held is None:
            parent, _, base = path.rpartition("/")
            held = self._get(parent)
            if held is None:
                try:
                    held = self._hold(path, open_in_root(self._root.fd, path, _DIRECTORY))
                    break
                except (FileNotFoundError, NotADirectoryError):
                    pass
            missing.append(base)
            path = parent
        for base in reversed(missing):
            path = f"{path}/{base}" if path else base
            held = self._step(held, base, path)
        return held

    def _hold(self, path: str, fd: int) -> _Held:
        held = self._held[path] = _Held(fd, keep_times=self._onto is None)
        # Reached by a link too: what it shows now is when entries were made in it, not what it is to be left with.
        held.times = self._by_inode.setdefault(held.inode, held).times
        if len(self._held) > _MAX_HELD:
            self._let_go(self._held.pop(next(iter(self._held))))
        return held

    def _let_go(self, held: _Held) -> None:
        if self._by_inode.get(held.inode) is held:
            del self._by_inode[held.inode]
        held.let_go()

    def _step(self, parent: _Held, base: str, path: str) -> _Held:
        """One component down. A directory that is not there is made."""
        try:
            return self._hold(path, os.open(base, _DIRECTORY | os.O_NOFOLLOW, dir_fd=parent.fd))
        except FileNotFoundError:
            return self._make_implied(parent, base, path)
        except OSError as error:
            status = os.stat(base, dir_fd=parent.fd, follow_symlinks=False)
            if self._overlay and is_whiteout(status):
                os.unlink(base, dir_fd=parent.fd)
                held = self._make_implied(parent, base, path)
                os.setxattr(held.fd, OPAQUE_XATTR, b"y")
                return held
            if not stat.S_ISLNK(status.st_mode):
                raise Corrupt(f"archive has entries below {shown(path)}, which is not a directory") from error
        try:
            return self._hold(path, open_in_root(self._root.fd, path, _DIRECTORY))
        except FileNotFoundError:  # the link's target is missing: make it, inside the root
            return self._hold(path, mkdirs_in_root(self._root.fd, path, 0o755))

    def _make_implied(self, parent: _Held, base: str, path: str) -> _Held:
        self._implied_left -= 1
        if self._implied_left < 0:
            raise LimitExceeded("archive implies too many directories")
        held = self._make(parent, base, path)
        os.fchown(held.fd, 0, 0)
        os.fchmod(held.fd, 0o755)
        return held

    def _make(self, parent: _Held, base: str, path: str) -> _Held:
        os.mkdir(base, 0o700, dir_fd=parent.fd)
        return self._hold(path, os.open(base, _DIRECTORY | os.O_NOFOLLOW, dir_fd=parent.fd))

    def _let_go_all(self) -> None:
        held, self._held = self._held, {}
        failure: OSError | None = None
        for directory in held.values():
            try:
                self._let_go(directory)
            except OSError as error:  # the others are to be closed all the same
                failure = error
        if failure is not None:
            raise failure

    # -- changing --------------------------------------------------------------------------------------------

    def make_directory(self, path: str) -> int:
        """The directory `path`, kept with all in it if it is one, put in the place of whatever else is there.
        A descriptor, valid until the next call. Its metadata is the caller's to set; its time by
        `set_times`."""
        if not path:
            return self._root.fd
        if self._get(path) is not None and not self._is_link(path):
            return self._reach(path).fd
        above, _, base = path.rpartition("/")
        parent = self._reach(above)
        try:
            return self._make(parent, base, path).fd
        except FileExistsError:
            status = os.stat(base, dir_fd=parent.fd, follow_symlinks=False)
        if stat.S_ISDIR(status.st_mode):
            return self._hold(path, os.open(base, _DIRECTORY | os.O_NOFOLLOW, dir_fd=parent.fd)).fd
        if self._onto is not None and self._onto.keep_kinds:
            raise Conflict(
                f'cannot overwrite non-directory "{self._shown(path)}" with directory "{self._onto.destination}"'
            )
        self.remove(above, base)
        fd = self._make(self._reach(above), base, path).fd
        if self._overlay and is_whiteout(status):
            os.setxattr(fd, OPAQUE_XATTR, b"y")
        return fd

    def _shown(self, path: str) -> str:
        root = self._onto.root.rstrip("/") if self._onto is not None else ""
        return f"{root}/{path.lstrip('/')}"

    def _is_link(self, path: str) -> bool:
        """Whether a held path's last component is a link: held for what is below it, not to be changed
        itself."""
        above, _, base = path.rpartition("/")
        status = os.stat(base, dir_fd=self._reach(above).fd, follow_symlinks=False)
        return stat.S_ISLNK(status.st_mode)

    def set_times(self, path: str, mtime_ns: int) -> None:
        """The time that the directory just made is to be left with."""
        held = self._get(path)
        if held is not None:
            held.times[0] = (mtime_ns, mtime_ns)

    def remove(self, above: str, base: str) -> None:
        """Remove whatever `base` is, a whole tree too; a link is not followed. Nothing there is no error."""
        parent = self._reach(above).fd
        try:
            status = os.stat(base, dir_fd=parent, follow_symlinks=False)
            if not stat.S_ISDIR(status.st_mode):
                os.unlink(base, dir_fd=parent)
        except FileNotFoundError:
            return
        if stat.S_ISDIR(status.st_mode):
            if self._onto is not None and self._onto.keep_kinds:
                shown_path = self._shown(f"{above}/{base}")
                raise Conflict(
                    f'cannot overwrite directory "{shown_path}" with non-directory "{self._onto.destination}"'
                )
            self._let_go_all()
            remove_tree(self._reach(above).fd, base)
        elif stat.S_ISLNK(status.st_mode):
            self._let_go_all()

    def whiteout(self, above: str, base: str) -> None:
        """Hide `base` of the layers below. What this layer itself has there stays, whichever came first
        (image-spec, layer.md#whiteouts): a file hides it as well, a directory is made opaque."""
        parent = self._reach(above).fd
        try:
            os.mknod(base, stat.S_IFCHR, 0, dir_fd=parent)
            return
        except FileExistsError:
            status = os.stat(base, dir_fd=parent, follow_symlinks=False)
        if stat.S_ISDIR(status.st_mode):
            fd = os.open(base, _DIRECTORY | os.O_NOFOLLOW, dir_fd=parent)
            try:
                os.setxattr(fd, OPAQUE_XATTR, b"y")
            finally:
                os.close(fd)

    def make_opaque(self, path: str) -> None:
        """Hide all that the layers below have in the directory `path`; what this layer has in it stays."""
        os.setxattr(self._reach(path).fd, OPAQUE_XATTR, b"y")
