"""Attributes of inodes that chattr(1) sets (ioctl_iflags(2))."""

from __future__ import annotations

import fcntl
import struct

_GET, _SET = 0x80086601, 0x40086602  # FS_IOC_GETFLAGS, FS_IOC_SETFLAGS; the same on x86_64 and aarch64
_TOPDIR = 0x00020000
_FLAGS = struct.Struct("=l")


def spread_subdirectories(fd: int) -> None:
    """Say that what is made in this directory from now on has nothing to do with each other (chattr +T): ext4 then
    puts each new tree in a part of the disk of its own. Idempotent; nothing on filesystems that know no such thing.

    A tree is otherwise made where the one before it was, and for half a minute after that was removed ext4 passes
    over each of its freed inodes, one by one, for every file made: 13,000 files took 4 seconds more than 1.
    """
    try:
        (flags,) = _FLAGS.unpack(fcntl.ioctl(fd, _GET, bytes(_FLAGS.size)))
        if not flags & _TOPDIR:
            fcntl.ioctl(fd, _SET, _FLAGS.pack(flags | _TOPDIR))
    except OSError:  # it is only for speed
        pass
