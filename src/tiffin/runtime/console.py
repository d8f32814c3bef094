"""Pseudo-terminals that belong to a container's own devpts."""

from __future__ import annotations

import fcntl
import os
import struct
from errno import ENOSPC

from tiffin.errors import EngineError, InvalidArgument
from tiffin.kernel.mounts import (
    DEVPTS_SUPER_MAGIC,
    MOUNT_ATTR_NOEXEC,
    MOUNT_ATTR_NOSUID,
    filesystem_type,
    make_filesystem,
)
from tiffin.kernel.paths import RESOLVE_BENEATH, RESOLVE_NO_SYMLINKS, openat2
from tiffin.runtime.devices import DEVPTS_OPTIONS
from tiffin.typed import NamedTuple

_TIOCSPTLCK = 0x40045431
_TIOCGPTPEER = 0x5441
_TIOCSWINSZ = 0x5414
_PTMX = os.makedev(5, 2)


class Terminal(NamedTuple):
    """`master` stays with the engine, `slave` becomes the process's fds 0 to 2. All descriptors CLOEXEC."""

    master: int
    slave: int


def make_devpts(group: int = 5) -> int:
    """A detached devpts instance of its own: nothing in it is shared with the host's or another's. `group`: the
    terminals', as this process's user namespace numbers it."""
    options = (*DEVPTS_OPTIONS[:2], ("gid", str(group)))
    return make_filesystem("devpts", options, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC)


def open_terminal(devpts_fd: int) -> Terminal:
    """A new pair in the devpts that `devpts_fd` (its root) belongs to. The other end is taken by ioctl from
    the master itself, never by a name, which a container could have covered. Raises EngineError, OSError."""
    flags = os.O_RDWR | os.O_NOCTTY
    try:
        master = openat2(devpts_fd, "ptmx", flags, 0, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS)
    except OSError as error:
        if error.errno == ENOSPC:
            raise EngineError("no pseudo-terminal is left; raise /proc/sys/kernel/pty/max") from error
        raise
    try:
        if os.fstat(master).st_rdev != _PTMX or filesystem_type(master) != DEVPTS_SUPER_MAGIC:
            raise EngineError("/dev/pts/ptmx of the container is not a terminal multiplexer")
        fcntl.ioctl(master, _TIOCSPTLCK, struct.pack("i", 0))
        slave = fcntl.ioctl(master, _TIOCGPTPEER, flags | os.O_CLOEXEC)
    except BaseException:
        os.close(master)
        raise
    return Terminal(master, slave)


def resize(master: int, rows: int, columns: int) -> None:
    """Tell a terminal its size; the processes on it get SIGWINCH. Raises InvalidArgument."""
    if not (0 <= rows <= 0xFFFF and 0 <= columns <= 0xFFFF):
        raise InvalidArgument(f"terminal size {rows}x{columns} is out of range")
    fcntl.ioctl(master, _TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
