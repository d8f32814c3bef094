"""Namespaces: unshare(2) and setns(2)."""

from __future__ import annotations

from tiffin.kernel.libc import SYS_SETNS, SYS_UNSHARE, call

CLONE_NEWTIME = 0x80
CLONE_FS = 0x200
CLONE_PARENT = 0x8000
CLONE_FILES = 0x400
CLONE_NEWNS = 0x20000
CLONE_NEWCGROUP = 0x2000000
CLONE_NEWUTS = 0x4000000
CLONE_NEWIPC = 0x8000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000


def unshare(flags: int) -> None:
    """Swap the namespaces of `flags` (CLONE_NEW*) for new ones; NEWPID and NEWTIME: later children."""
    call(SYS_UNSHARE, flags)


def setns(fd: int, flags: int) -> None:
    """Join the namespace of a /proc/PID/ns/* descriptor (flags may be 0), or a pidfd's namespaces `flags`."""
    call(SYS_SETNS, fd, flags)
