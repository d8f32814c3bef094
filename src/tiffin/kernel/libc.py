"""System calls by number, through the C library's `syscall`.

`call` is the whole interface: integers go as they are, `bytes` as pointers to their NUL-terminated storage,
0 as NULL. Structures are packed with `struct` by the callers, so that no other module here sees ctypes.
"""

from __future__ import annotations

import os
import sys
from errno import EINTR, EINVAL

from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Argument = int | bytes | bytearray
    StrPath = str | bytes

# Column of the number tables below. Elsewhere every number is -1, to which the kernel answers ENOSYS.
_COLUMN = {"x86_64": 0, "aarch64": 1}.get(os.uname().machine, 2) if sys.maxsize > 2**32 else 2


def _number(x86_64: int, aarch64: int) -> int:
    return (x86_64, aarch64, -1)[_COLUMN]


SYS_CLONE = _number(56, 220)
SYS_PERSONALITY = _number(135, 92)
SYS_FSTATFS = _number(138, 44)
SYS_PIVOT_ROOT = _number(155, 41)
SYS_PRCTL = _number(157, 167)
SYS_MOUNT = _number(165, 40)
SYS_UMOUNT2 = _number(166, 39)
SYS_SET_MEMPOLICY = _number(238, 237)
SYS_KEYCTL = _number(250, 219)
SYS_IOPRIO_SET = _number(251, 30)
SYS_UNSHARE = _number(272, 97)
SYS_SYNCFS = _number(306, 267)
SYS_SETNS = _number(308, 268)
SYS_SCHED_SETATTR = _number(314, 274)
SYS_RENAMEAT2 = _number(316, 276)
SYS_BPF = _number(321, 280)
SYS_PIDFD_SEND_SIGNAL = _number(424, 424)
SYS_OPEN_TREE = _number(428, 428)
SYS_MOVE_MOUNT = _number(429, 429)
SYS_FSOPEN = _number(430, 430)
SYS_FSCONFIG = _number(431, 431)
SYS_FSMOUNT = _number(432, 432)
SYS_PIDFD_OPEN = _number(434, 434)
SYS_CLOSE_RANGE = _number(436, 436)
SYS_OPENAT2 = _number(437, 437)
SYS_PIDFD_GETFD = _number(438, 438)
SYS_MOUNT_SETATTR = _number(442, 442)

AT_FDCWD = -100
AT_SYMLINK_NOFOLLOW = 0x100
AT_NO_AUTOMOUNT = 0x800
AT_EMPTY_PATH = 0x1000
AT_RECURSIVE = 0x8000

# Bound by the first call: loading what ctypes is made of takes a millisecond, which a command that makes no raw call
# should not pay.
_bound: tuple[Callable[..., int], Callable[[], int], Any] | None = None


def bind() -> tuple[Callable[..., int], Callable[[], int], Any]:
    """What the first call does anyway; for a process that is to be quick later."""
    global _bound
    try:
        _bound = _bind_plainly()
    except (ImportError, AttributeError):  # another Python: what `ctypes` is made of is not public
        _bound = _bind()
    return _bound


def _bind_plainly() -> tuple[Callable[..., int], Callable[[], int], Any]:
    """By the extension module that `ctypes` is made of: `ctypes` itself prepares every type that there is, another
    millisecond and a half."""
    import _ctypes

    ctypes: Any = _ctypes
    long = type("c_long", (ctypes._SimpleCData,), {"_type_": "l"})
    pointer = type("c_void_p", (ctypes._SimpleCData,), {"_type_": "P"})
    char = type("c_char", (ctypes._SimpleCData,), {"_type_": "c"})
    flags = ctypes.FUNCFLAG_CDECL | ctypes.FUNCFLAG_USE_ERRNO
    function: Any = type("function", (ctypes.CFuncPtr,), {"_flags_": flags, "_restype_": long})
    syscall = function(ctypes.dlsym(ctypes.dlopen(None, 0), "syscall"))
    syscall.argtypes = [long] + [pointer] * 6
    return syscall, ctypes.get_errno, char


def _bind() -> tuple[Callable[..., int], Callable[[], int], Any]:
    import ctypes

    syscall = ctypes.CDLL(None, use_errno=True).syscall
    syscall.restype = ctypes.c_long
    # c_void_p takes integers (negative ones sign-extended to the whole register), bytes and arrays alike.
    syscall.argtypes = [ctypes.c_long] + [ctypes.c_void_p] * 6
    return syscall, ctypes.get_errno, ctypes.c_char


def call(number: int, *arguments: Argument, path: StrPath | None = None) -> int:
    """Make one system call of at most six arguments; start it again after EINTR.

    A `bytearray` is written to by the kernel; keep it no smaller than the kernel may fill.
    Raises the OSError subclass of the errno, with `path` as its filename.
    """
    syscall, get_errno, char = _bound or bind()
    values: list[object] = [
        (char * len(a)).from_buffer(a) if isinstance(a, bytearray) else a for a in arguments
    ]
    values += [0] * (6 - len(values))
    while True:
        result = syscall(number, *values)
        if result != -1:
            return result
        errno = get_errno()
        if errno != EINTR:
            raise OSError(errno, os.strerror(errno), path)


def path_bytes(path: StrPath) -> bytes:
    """A path or name as the kernel takes it. EINVAL for a NUL, where the kernel would cut it short."""
    raw = os.fsencode(path)
    if b"\0" in raw:
        raise OSError(EINVAL, "embedded null byte", path)
    return raw
