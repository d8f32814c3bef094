"""How the kernel schedules a process, its I/O and its memory. Errors are OSError.

See sched_setattr(2), ioprio_set(2), set_mempolicy(2), personality(2).
"""

from __future__ import annotations

import struct

from tiffin.kernel.libc import (
    SYS_IOPRIO_SET,
    SYS_PERSONALITY,
    SYS_SCHED_SETATTR,
    SYS_SET_MEMPOLICY,
    call,
)
from tiffin.typed import NamedTuple

_IOPRIO_WHO_PROCESS = 1
_IOPRIO_CLASS_SHIFT = 13
_SCHED_ATTR_SIZE = 48  # without the utilisation clamps


class Scheduler(NamedTuple):
    """struct sched_attr: nanoseconds for the last three, which only SCHED_DEADLINE has."""

    policy: int
    flags: int = 0
    nice: int = 0
    priority: int = 0
    runtime: int = 0
    deadline: int = 0
    period: int = 0


def set_scheduler(pid: int, wanted: Scheduler) -> None:
    """Of the thread `pid` (0: the caller's)."""
    attributes = struct.pack("=IIQiIQQQ", _SCHED_ATTR_SIZE, *wanted)
    call(SYS_SCHED_SETATTR, pid, attributes, 0)


def set_io_priority(pid: int, kind: int, level: int) -> None:
    """`kind`: 1 realtime, 2 best effort, 3 idle; `level` 0 (first) to 7."""
    call(SYS_IOPRIO_SET, _IOPRIO_WHO_PROCESS, pid, kind << _IOPRIO_CLASS_SHIFT | level)


def set_memory_policy(mode: int, nodes: frozenset[int]) -> None:
    """Of the caller and whatever it executes. No nodes: none given."""
    if not nodes:
        call(SYS_SET_MEMPOLICY, mode, 0, 0)
        return
    words = max(nodes) // 64 + 1
    mask = bytearray(8 * words)
    for node in nodes:
        mask[node // 8] |= 1 << node % 8
    call(SYS_SET_MEMPOLICY, mode, bytes(mask), 64 * words + 1)


def set_personality(value: int) -> None:
    """Of the caller and whatever it executes."""
    call(SYS_PERSONALITY, value)
