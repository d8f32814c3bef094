"""What of /proc and /sys a container does not see, or sees read-only, and the kernel settings of its own.

All of it goes through the descriptors of the very filesystems that were mounted: whatever a name in the root
leads to, a mask lands on the container's own proc, and a sysctl is written to it.
"""

from __future__ import annotations

import os
import stat
from errno import EACCES, EINVAL, ENOENT, ENOTDIR, EPERM

from tiffin.errors import EngineError, InvalidArgument
from tiffin.kernel.mounts import (
    AT_EMPTY_PATH,
    AT_RECURSIVE,
    MOUNT_ATTR_NODEV,
    MOUNT_ATTR_NOEXEC,
    MOUNT_ATTR_NOSUID,
    MOUNT_ATTR_RDONLY,
    OPEN_TREE_CLONE,
    PROC_SUPER_MAGIC,
    SYSFS_MAGIC,
    filesystem_type,
    make_filesystem,
    mount_setattr,
    move_mount,
    open_tree,
)
from tiffin.kernel.paths import RESOLVE_BENEATH, RESOLVE_NO_SYMLINKS, RESOLVE_NO_XDEV, open_in_root, openat2
from tiffin.runtime.defaults import SYSCTLS
from tiffin.runtime.devices import open_device
from tiffin.runtime.rootfs import clone_of
from tiffin.runtime.step import step
from tiffin.runtime.sysctls import sysctl_path
from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_NULL = os.makedev(1, 3)
_HERE = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS
_SEALED = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC


class Views:
    """The root and the container's own proc and sysfs (-1: the document mounts none), by which paths are
    found. Raises EngineError when a descriptor is not of the filesystem that it is taken for."""

    __slots__ = ("proc", "root", "sys")

    def __init__(self, root: int, proc: int, sys: int) -> None:
        if filesystem_type(proc) != PROC_SUPER_MAGIC or (sys >= 0 and filesystem_type(sys) != SYSFS_MAGIC):
            raise EngineError("the container's /proc or /sys is not what the kernel should have mounted")
        self.root, self.proc, self.sys = root, proc, sys

    def find(self, path: str) -> int:
        """An O_PATH descriptor of `path`, -1 when there is no such thing."""
        top, _, rest = path.lstrip("/").partition("/")
        try:
            if top == "proc" and rest:
                return openat2(self.proc, rest, os.O_PATH, 0, _HERE)
            if top == "sys" and rest and self.sys >= 0:
                return openat2(self.sys, rest, os.O_PATH, 0, _HERE)
            return open_in_root(self.root, path, os.O_PATH)
        except OSError as error:
            if error.errno in (ENOENT, ENOTDIR):
                return -1
            raise EngineError(f"cannot hide {path} from the container: {error.strerror}") from error


def mask(views: Views, paths: Sequence[str]) -> None:
    """Cover files by the null device, directories by one empty read-only tmpfs."""
    null = empty = -1
    for path in paths:
        target = views.find(path)
        if target < 0:
            continue
        with step(f"hide {path} from the container"):
            if stat.S_ISDIR(os.fstat(target).st_mode):
                if empty < 0:
                    empty = make_filesystem(
                        "tmpfs", (("size", "0"), ("nr_inodes", "1"), ("mode", "0555")), _SEALED
                    )
                    cover = empty
                    move_mount(cover, target)
                else:
                    cover = clone_of(empty)
                    move_mount(cover, target)
                    os.close(cover)
            else:
                if null < 0:
                    null = open_device("/dev/null", stat.S_IFCHR, _NULL)
                cover = clone_of(null)
                move_mount(cover, target)
                os.close(cover)
        os.close(target)
    for fd in (null, empty):
        if fd >= 0:
            os.close(fd)


def make_readonly(views: Views, paths: Sequence[str]) -> None:
    """Mount each path over itself, read-only with all that is below."""
    for path in paths:
        target = views.find(path)
        if target < 0:
            continue
        with step(f"make {path} read-only"):
            copy = open_tree(target, "", OPEN_TREE_CLONE | AT_RECURSIVE | AT_EMPTY_PATH)
            mount_setattr(copy, "", AT_RECURSIVE, set=MOUNT_ATTR_RDONLY)
            move_mount(copy, target)
        os.close(copy)
        os.close(target)


def set_sysctls(views: Views, wanted: Mapping[str, str], namespaces: frozenset[str]) -> None:
    """Write kernel settings into the container's proc. Raises InvalidArgument for one that is not allowed,
    not known to this kernel, or refused by it."""
    for name, value in wanted.items():
        path = sysctl_path(name, value, namespaces)
        try:
            fd = openat2(views.proc, f"sys/{path}", os.O_WRONLY, 0, _HERE | RESOLVE_NO_XDEV)
        except OSError as error:
            if error.errno == ENOENT and SYSCTLS.get(name) == value:
                continue  # ours, not the user's: a kernel without it has no use for it
            if error.errno in (ENOENT, EACCES, EPERM, ENOTDIR):
                raise InvalidArgument(
                    f"this kernel has no settable sysctl {name!r} for a container"
                ) from error
            raise EngineError(f"cannot set sysctl {name}: {error.strerror}") from error
        try:
            os.write(fd, value.encode())
        except OSError as error:
            if error.errno == EINVAL or error.errno == EPERM:
                raise InvalidArgument(f"sysctl {name}: the kernel refuses {value!r}") from error
            raise EngineError(f"cannot set sysctl {name}: {error.strerror}") from error
        finally:
            os.close(fd)
