"""Mounts by file descriptor (fsopen, fsmount, open_tree, move_mount, mount_setattr), and by path as of old.

Every function is one call; every returned descriptor is close-on-exec and the caller's to close. Errors
are OSError(errno, text, path). See fsopen(2), fsmount(2), open_tree(2), move_mount(2),
mount_setattr(2), mount(2).
"""

from __future__ import annotations

import os
import struct

from tiffin.kernel.libc import (
    AT_EMPTY_PATH,
    AT_FDCWD,
    AT_NO_AUTOMOUNT,
    AT_RECURSIVE,
    AT_SYMLINK_NOFOLLOW,
    SYS_FSCONFIG,
    SYS_FSMOUNT,
    SYS_FSOPEN,
    SYS_FSTATFS,
    SYS_MOUNT,
    SYS_MOUNT_SETATTR,
    SYS_MOVE_MOUNT,
    SYS_OPEN_TREE,
    SYS_PIVOT_ROOT,
    SYS_UMOUNT2,
    call,
    path_bytes,
)
from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tiffin.kernel.libc import StrPath

__all__ = [
    "AT_EMPTY_PATH",
    "AT_FDCWD",
    "AT_NO_AUTOMOUNT",
    "AT_RECURSIVE",
    "AT_SYMLINK_NOFOLLOW",
    "filesystem_type",
    "fsconfig_create",
    "fsconfig_fd",
    "fsconfig_flag",
    "fsconfig_string",
    "fsmount",
    "fsopen",
    "make_filesystem",
    "mount",
    "mount_id",
    "mount_setattr",
    "move_mount",
    "open_tree",
    "pivot_root",
    "umount",
]

OPEN_TREE_CLONE = 1
OPEN_TREE_CLOEXEC = os.O_CLOEXEC

MOVE_MOUNT_F_SYMLINKS = 0x1
MOVE_MOUNT_F_EMPTY_PATH = 0x4
MOVE_MOUNT_T_SYMLINKS = 0x10
MOVE_MOUNT_T_EMPTY_PATH = 0x40

MOUNT_ATTR_RDONLY = 0x1
MOUNT_ATTR_NOSUID = 0x2
MOUNT_ATTR_NODEV = 0x4
MOUNT_ATTR_NOEXEC = 0x8
MOUNT_ATTR__ATIME = 0x70
MOUNT_ATTR_RELATIME = 0x0
MOUNT_ATTR_NOATIME = 0x10
MOUNT_ATTR_STRICTATIME = 0x20
MOUNT_ATTR_NODIRATIME = 0x80
MOUNT_ATTR_IDMAP = 0x100000
MOUNT_ATTR_NOSYMFOLLOW = 0x200000

MS_RDONLY = 0x1
MS_NOSUID = 0x2
MS_NODEV = 0x4
MS_NOEXEC = 0x8
MS_SYNCHRONOUS = 0x10
MS_REMOUNT = 0x20
MS_NOATIME = 0x400
MS_NODIRATIME = 0x800
MS_BIND = 0x1000
MS_MOVE = 0x2000
MS_REC = 0x4000
MS_UNBINDABLE = 0x20000
MS_PRIVATE = 0x40000
MS_SLAVE = 0x80000
MS_SHARED = 0x100000
MS_RELATIME = 0x200000
MS_STRICTATIME = 0x1000000

MNT_FORCE = 1
MNT_DETACH = 2
UMOUNT_NOFOLLOW = 8

# What `filesystem_type` answers (linux/magic.h).
PROC_SUPER_MAGIC = 0x9FA0
SYSFS_MAGIC = 0x62656572
TMPFS_MAGIC = 0x01021994
DEVPTS_SUPER_MAGIC = 0x1CD1

_FSOPEN_CLOEXEC = 1
_FSMOUNT_CLOEXEC = 1
_FSCONFIG_SET_FLAG = 0
_FSCONFIG_SET_STRING = 1
_FSCONFIG_SET_FD = 5
_FSCONFIG_CMD_CREATE = 6
_LOG_LINES = 16


def fsopen(fstype: str) -> int:
    """A filesystem context of `fstype` to configure. ENODEV when the kernel has no such filesystem."""
    return call(SYS_FSOPEN, path_bytes(fstype), _FSOPEN_CLOEXEC, path=fstype)


def fsconfig_string(fd: int, key: str, value: StrPath) -> None:
    """Set `key=value` (at most 255 bytes of value; longer overlay paths go by descriptor)."""
    call(SYS_FSCONFIG, fd, _FSCONFIG_SET_STRING, path_bytes(key), path_bytes(value), 0, path=key)


def fsconfig_flag(fd: int, key: str) -> None:
    """Set the option `key`, which takes no value ("ro")."""
    call(SYS_FSCONFIG, fd, _FSCONFIG_SET_FLAG, path_bytes(key), 0, 0, path=key)


def fsconfig_fd(fd: int, key: str, value_fd: int) -> None:
    """Set `key` to an open descriptor (overlay's "lowerdir+", "upperdir", "workdir" from Linux 6.13)."""
    call(SYS_FSCONFIG, fd, _FSCONFIG_SET_FD, path_bytes(key), 0, value_fd, path=key)


def fsconfig_create(fd: int) -> None:
    """Make the superblock; where most bad options are found out."""
    call(SYS_FSCONFIG, fd, _FSCONFIG_CMD_CREATE, 0, 0, 0)


def fsmount(fd: int, attrs: int = 0) -> int:
    """A detached mount (MOUNT_ATTR_*) of a created context; closing its descriptor dissolves it."""
    return call(SYS_FSMOUNT, fd, _FSMOUNT_CLOEXEC, attrs)


def open_tree(dirfd: int, path: StrPath, flags: int = 0) -> int:
    """The mount at `path`, or with OPEN_TREE_CLONE a detached bind of it (AT_RECURSIVE: of all below it too).

    AT_EMPTY_PATH with an empty path means `dirfd` itself. Symbolic links are followed: open
    untrusted paths with `paths.open_in_root` and pass the descriptor.
    """
    return call(SYS_OPEN_TREE, dirfd, path_bytes(path), flags | OPEN_TREE_CLOEXEC, path=path)


def move_mount(
    from_fd: int, to_fd: int, from_path: StrPath = "", to_path: StrPath = "", flags: int = 0
) -> None:
    """Attach the mount `from_fd` onto the place that `to_fd` is; an empty path means the descriptor."""
    if not from_path:
        flags |= MOVE_MOUNT_F_EMPTY_PATH
    if not to_path:
        flags |= MOVE_MOUNT_T_EMPTY_PATH
    call(
        SYS_MOVE_MOUNT,
        from_fd,
        path_bytes(from_path),
        to_fd,
        path_bytes(to_path),
        flags,
        path=to_path or None,
    )


def mount_setattr(
    fd: int,
    path: StrPath = "",
    flags: int = 0,
    *,
    set: int = 0,  # noqa: A002  -- the kernel's own word for it
    clear: int = 0,
    propagation: int = 0,
    userns_fd: int = -1,
) -> None:
    """Change a mount's MOUNT_ATTR_* and propagation (MS_PRIVATE, MS_SLAVE, MS_SHARED or MS_UNBINDABLE).

    flags: AT_RECURSIVE for the whole tree, all or nothing; AT_EMPTY_PATH is added for an empty path. To
    change an access-time attribute, clear MOUNT_ATTR__ATIME too. `userns_fd` goes with MOUNT_ATTR_IDMAP.
    """
    if not path:
        flags |= AT_EMPTY_PATH
    # struct mount_attr: attr_set, attr_clr, propagation, userns_fd
    attr = struct.pack("=QQQQ", set, clear, propagation, userns_fd if userns_fd >= 0 else 0)
    call(SYS_MOUNT_SETATTR, fd, path_bytes(path), flags, attr, len(attr), path=path or None)


def make_filesystem(
    fstype: str, options: Sequence[tuple[str, str | None]] = (), attrs: int = 0, source: str = ""
) -> int:
    """A detached mount of a new filesystem: fsopen, every option in order (None: a flag), create, fsmount.

    Returns the mount's descriptor. An OSError carries what the kernel wrote to the context's log, such as
    "overlay: No changes allowed in lower layers", after the errno's own text.
    """
    context = fsopen(fstype)
    try:
        if source:
            fsconfig_string(context, "source", source)
        for key, value in options:
            if value is None:
                fsconfig_flag(context, key)
            else:
                fsconfig_string(context, key, value)
        fsconfig_create(context)
        return fsmount(context, attrs)
    except OSError as error:
        raise explain(error, context, fstype) from None
    finally:
        os.close(context)


def explain(error: OSError, context: int, fstype: str) -> OSError:
    """`error` with the filesystem context's message log in its text, for whoever drives fsconfig by hand."""
    lines = [error.strerror or ""]
    for _ in range(_LOG_LINES):
        try:
            message = os.read(context, 4096)
        except OSError:  # ENODATA: the log is empty; there is nothing better to say than the errno
            break
        # "e overlay: text", the first letter being the severity
        lines.append(message.decode("utf-8", "replace").strip()[2:])
    where = f"{fstype}: {error.filename}" if error.filename else fstype
    return OSError(error.errno, "; ".join(line for line in lines if line), where)


def mount(
    source: StrPath | None, target: StrPath, fstype: str | None, flags: int = 0, data: StrPath | None = None
) -> None:
    """mount(2), by path: for host paths, and for kernels whose filesystem does not know fsconfig."""
    call(
        SYS_MOUNT,
        0 if source is None else path_bytes(source),
        path_bytes(target),
        0 if fstype is None else path_bytes(fstype),
        flags,
        0 if data is None else path_bytes(data),
        path=target,
    )


def umount(path: StrPath, flags: int = MNT_DETACH) -> None:
    """umount2(2). UMOUNT_NOFOLLOW is always added: nothing here means to unmount what a link names."""
    call(SYS_UMOUNT2, path_bytes(path), flags | UMOUNT_NOFOLLOW, path=path)


def pivot_root(new_root: StrPath, put_old: StrPath) -> None:
    """Make `new_root` this mount namespace's root and put the old one at `put_old` ("." twice: below)."""
    call(SYS_PIVOT_ROOT, path_bytes(new_root), path_bytes(put_old), path=new_root)


def filesystem_type(fd: int) -> int:
    """The magic number (PROC_SUPER_MAGIC, ...) of the filesystem that `fd`, O_PATH or not, is on."""
    buffer = bytearray(128)  # struct statfs is 120 bytes on both 64-bit machines; f_type is its first word
    call(SYS_FSTATFS, fd, buffer)
    magic: int = struct.unpack_from("=q", buffer)[0]
    return magic & 0xFFFFFFFF


def mount_id(fd: int) -> int:
    """The id (first column of /proc/self/mountinfo) of the mount that `fd` is on."""
    with open(f"/proc/self/fdinfo/{fd}", encoding="utf-8") as lines:
        for line in lines:
            if line.startswith("mnt_id:"):
                return int(line[7:])
    raise ValueError(f"/proc/self/fdinfo/{fd} has no mnt_id")
