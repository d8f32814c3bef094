"""Paths that a container or an image had a hand in, walked by descriptor and never by string.

Everything resolves below a descriptor with openat2(2). Inside a root (RESOLVE_IN_ROOT) an absolute name or
link starts at that root and `..` stops at it, as after chroot; magic links (/proc/self/exe) are refused.
Descriptors returned are close-on-exec and the caller's to close.
"""

from __future__ import annotations

import os
import struct
from errno import EAGAIN, EEXIST, EINVAL, ELOOP, ENOENT, ENOTDIR, ENOTEMPTY, ESTALE

from tiffin.kernel.libc import AT_FDCWD, SYS_OPENAT2, SYS_RENAMEAT2, SYS_SYNCFS, call, path_bytes
from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from tiffin.kernel.libc import StrPath

__all__ = [
    "AT_FDCWD",
    "mkdirs_in_root",
    "open_in_root",
    "openat2",
    "remove_tree",
    "rename_exchange",
    "rename_noreplace",
    "syncfs",
]

RESOLVE_NO_XDEV = 0x01
RESOLVE_NO_MAGICLINKS = 0x02
RESOLVE_NO_SYMLINKS = 0x04
RESOLVE_BENEATH = 0x08
RESOLVE_IN_ROOT = 0x10
RESOLVE_CACHED = 0x20

_RENAME_NOREPLACE = 1
_RENAME_EXCHANGE = 2
_RETRIES = 128  # of EAGAIN: a rename or mount anywhere on the machine while the kernel walked a `..`
_MAX_LINKS = 40  # as the kernel's own limit for one path
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def openat2(dirfd: int, path: StrPath, flags: int, mode: int = 0, resolve: int = 0) -> int:
    """openat2(2) with O_CLOEXEC added. Strict, unlike open(2): `mode` without O_CREAT or O_TMPFILE is EINVAL.

    ELOOP: a link that `resolve` forbids; EXDEV: a way out that it forbids; EAGAIN: safe to try again.
    """
    how = struct.pack("=QQQ", flags | os.O_CLOEXEC, mode, resolve)
    return call(SYS_OPENAT2, dirfd, path_bytes(path), how, len(how), path=path)


def open_in_root(root_fd: int, path: StrPath, flags: int, mode: int = 0, *, resolve: int = 0) -> int:
    """Open `path` as a process would whose root directory is `root_fd`; magic links are refused (ELOOP).

    `resolve` adds further RESOLVE_* limits. Tries again when the kernel could not rule out a race (EAGAIN), a
    bounded number of times. An empty path, or "/", is the root itself.
    """
    resolve |= RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS
    for _ in range(_RETRIES):
        try:
            return openat2(root_fd, path or ".", flags, mode, resolve)
        except BlockingIOError:
            continue
    raise OSError(EAGAIN, "the tree kept changing while the path was resolved", path)


def _components(path: StrPath) -> list[str]:
    path_bytes(path)  # refuses a NUL
    return [part for part in os.fsdecode(path).split("/") if part not in ("", ".")]


def mkdirs_in_root(root_fd: int, path: StrPath, mode: int, uid: int = 0, gid: int = 0) -> int:
    """The directory `path` inside the root, made with its missing parents; a descriptor (O_RDONLY) to it.

    Each directory made gets exactly `mode` (no umask), `uid` and `gid`; one that stood is left as it is.
    Links are resolved inside the root; a missing target of one is made there. Idempotent, not atomic.
    ENOTDIR: something on the way is no directory. ELOOP: too many links, or a magic one.
    """
    parts = _components(path)
    for _ in range(_MAX_LINKS):
        fd, made = _deepest_directory(root_fd, parts)
        try:
            while made < len(parts):
                # `..` is no link, but like one it leads to a path that only the kernel can resolve again.
                link = ".." if parts[made] == ".." else _make_directory(fd, parts[made], mode, uid, gid)
                if link is not None:
                    break
                deeper = _step_down(fd, parts[made])
                os.close(fd)
                fd, made = deeper, made + 1
            else:
                opened, fd = fd, -1
                return opened
        finally:
            if fd >= 0:
                os.close(fd)
        target = _components(link)
        parts = (target if link.startswith("/") else parts[:made] + target) + parts[made + 1 :]
    raise OSError(ELOOP, os.strerror(ELOOP), path)


def _deepest_directory(root_fd: int, parts: list[str]) -> tuple[int, int]:
    """Open the longest leading run of `parts` that exists: its descriptor and its length."""
    flags = os.O_RDONLY | os.O_DIRECTORY
    try:
        return open_in_root(root_fd, "/".join(parts), flags), len(parts)
    except FileNotFoundError:
        pass
    fd = open_in_root(root_fd, ".", flags)
    for count in range(1, len(parts) + 1):
        try:
            deeper = open_in_root(root_fd, "/".join(parts[:count]), flags)
        except FileNotFoundError:
            return fd, count - 1
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)
        fd = deeper
    return fd, len(parts)


def _make_directory(parent: int, name: str, mode: int, uid: int, gid: int) -> str | None:
    """Make one directory. None when it is there now, or the text of a link found in its place."""
    if (
        name == ".."
    ):  # below a directory that does not exist yet; a lexical `..` would not be what chroot sees
        raise OSError(ENOENT, os.strerror(ENOENT), name)
    try:
        os.mkdir(name, 0o700, dir_fd=parent)
    except FileExistsError:
        try:
            return os.readlink(name, dir_fd=parent)
        except OSError as error:
            if error.errno in (EINVAL, ENOENT):  # made, or taken away, by somebody else meanwhile
                return None
            raise
    fd = openat2(parent, name, _DIRECTORY, 0, RESOLVE_NO_SYMLINKS)
    try:
        os.fchown(fd, uid, gid)
        os.fchmod(fd, mode)
    finally:
        os.close(fd)
    return None


def _step_down(fd: int, name: str) -> int:
    try:
        return openat2(fd, name, _DIRECTORY, 0, RESOLVE_NO_SYMLINKS)
    except OSError as error:
        if error.errno == ELOOP:  # swapped for a link after it was made
            raise OSError(ENOTDIR, os.strerror(ENOTDIR), name) from error
        raise


class _Level:
    """A directory being emptied: how to know it again on the way up, and which subdirectories are left."""

    __slots__ = ("identity", "name", "passes", "subdirectories")

    def __init__(self, name: str, fd: int) -> None:
        self.name = name
        self.identity = _identity(fd)
        self.subdirectories: list[str] = []
        self.passes = 0


def _identity(fd: int) -> tuple[int, int]:
    status = os.fstat(fd)
    return status.st_dev, status.st_ino


def remove_tree(parent_fd: int, name: StrPath) -> None:
    """Remove `name` (below `parent_fd`, or AT_FDCWD) and all that it holds. Nothing there is no error.

    By descriptor: a link is unlinked and never followed, a mount is never entered (EXDEV, and it stays). One
    descriptor and no recursion, so that any depth will do. Entries that vanish meanwhile are not missed; a
    directory that others keep filling is ENOTEMPTY. Not atomic. The directory part of `name` is trusted.
    """
    directory, _, base = os.fsdecode(name).rpartition("/")
    if base in ("", ".", ".."):
        raise OSError(EINVAL, "no name of a tree to remove", name)
    try:
        parent = os.open(
            directory or ("/" if os.fsdecode(name).startswith("/") else "."),
            os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC,
            dir_fd=None if parent_fd == AT_FDCWD else parent_fd,
        )
    except FileNotFoundError:
        return
    try:
        if not _unlink(parent, base):
            _remove_directory(parent, base)
    finally:
        os.close(parent)


def _unlink(parent: int, name: str) -> bool:
    """Unlink what is no directory; False for a directory."""
    try:
        os.unlink(name, dir_fd=parent)
    except FileNotFoundError:
        return True
    except IsADirectoryError:
        return False
    return True


def _enter(parent: int, name: str) -> int:
    """A descriptor to empty the directory by, or -1 when it is gone or became a file (then unlinked)."""
    try:
        return openat2(parent, name, _DIRECTORY, 0, RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV)
    except FileNotFoundError:
        return -1
    except OSError as error:
        if error.errno in (ENOTDIR, ELOOP):
            _unlink(parent, name)
            return -1
        raise


def _remove_directory(parent: int, base: str) -> None:
    fd = _enter(parent, base)
    if fd < 0:
        return
    try:
        levels = [_Level(base, fd)]
        _empty(fd, levels[-1])
        while levels:
            level = levels[-1]
            if level.subdirectories:
                name = level.subdirectories.pop()
                deeper = _enter(fd, name)
                if deeper >= 0:
                    os.close(fd)
                    fd = deeper
                    levels.append(_Level(name, fd))
                    _empty(fd, levels[-1])
                continue
            above = _step_up(fd, levels[-2]) if len(levels) > 1 else os.dup(parent)
            try:
                if _rmdir(above, level):
                    levels.pop()
                    fd, above = above, fd
                else:
                    _empty(fd, level)
            finally:
                os.close(above)
    finally:
        os.close(fd)


def _step_up(fd: int, expected: _Level) -> int:
    """The parent of `fd`, which must be where we came from: a directory moved meanwhile leads elsewhere."""
    above = os.open("..", _DIRECTORY, dir_fd=fd)
    if _identity(above) != expected.identity:
        os.close(above)
        raise OSError(ESTALE, "moved away while being removed", expected.name)
    return above


def _rmdir(parent: int, level: _Level) -> bool:
    """Remove an emptied directory; False when it has to be emptied again."""
    try:
        os.rmdir(level.name, dir_fd=parent)
    except (FileNotFoundError, NotADirectoryError):
        pass  # gone, or swapped: whoever did that owns what is there now
    except OSError as error:
        if error.errno not in (ENOTEMPTY, EEXIST) or level.passes >= 8:
            raise
        return False
    return True


def _empty(fd: int, level: _Level) -> None:
    """Unlink all files of a directory; note its subdirectories in `level`."""
    level.passes += 1
    with os.scandir(fd) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False) or not _unlink(fd, entry.name):
                level.subdirectories.append(entry.name)


def rename_exchange(first_fd: int, first: StrPath, second_fd: int, second: StrPath) -> None:
    """Swap two names of one filesystem, atomically."""
    call(
        SYS_RENAMEAT2,
        first_fd,
        path_bytes(first),
        second_fd,
        path_bytes(second),
        _RENAME_EXCHANGE,
        path=first,
    )


def rename_noreplace(from_fd: int, source: StrPath, to_fd: int, target: StrPath) -> None:
    """Rename, atomically; EEXIST when the target exists."""
    call(
        SYS_RENAMEAT2, from_fd, path_bytes(source), to_fd, path_bytes(target), _RENAME_NOREPLACE, path=target
    )


def syncfs(fd: int) -> None:
    """Write to disk all that the filesystem of `fd` holds; EIO and ENOSPC of earlier writes surface here."""
    call(SYS_SYNCFS, fd)
