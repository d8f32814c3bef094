"""How the kernel treats a container's process: scheduler, I/O priority, memory policy, personality, CPUs
(config, "Linux Process" and "Scheduler"; config-linux, "Personality" and "Memory policy")."""

from __future__ import annotations

import os

from tiffin.errors import InvalidArgument
from tiffin.kernel.scheduling import (
    Scheduler,
    set_io_priority,
    set_memory_policy,
    set_personality,
    set_scheduler,
)
from tiffin.runtime.step import step
from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

POLICIES = {
    "SCHED_OTHER": 0, "SCHED_FIFO": 1, "SCHED_RR": 2, "SCHED_BATCH": 3, "SCHED_ISO": 4, "SCHED_IDLE": 5,
    "SCHED_DEADLINE": 6,
}  # fmt: skip
FLAGS = {
    "SCHED_FLAG_RESET_ON_FORK": 0x01, "SCHED_FLAG_RECLAIM": 0x02, "SCHED_FLAG_DL_OVERRUN": 0x04,
    "SCHED_FLAG_KEEP_POLICY": 0x08, "SCHED_FLAG_KEEP_PARAMS": 0x10, "SCHED_FLAG_UTIL_CLAMP_MIN": 0x20,
    "SCHED_FLAG_UTIL_CLAMP_MAX": 0x40,
}  # fmt: skip
IO_CLASSES = {"IOPRIO_CLASS_RT": 1, "IOPRIO_CLASS_BE": 2, "IOPRIO_CLASS_IDLE": 3}
MEMORY_MODES = {
    "MPOL_DEFAULT": 0, "MPOL_PREFERRED": 1, "MPOL_BIND": 2, "MPOL_INTERLEAVE": 3, "MPOL_LOCAL": 4,
    "MPOL_PREFERRED_MANY": 5, "MPOL_WEIGHTED_INTERLEAVE": 6,
}  # fmt: skip
MEMORY_FLAGS = {
    "MPOL_F_NUMA_BALANCING": 1 << 13,
    "MPOL_F_RELATIVE_NODES": 1 << 14,
    "MPOL_F_STATIC_NODES": 1 << 15,
}
DOMAINS = {"LINUX": 0, "LINUX32": 8}
_MOST_IDS = 1 << 16


def scheduler_of(process: Mapping[str, Any]) -> Scheduler | None:
    """The process's `scheduler`. Raises InvalidArgument."""
    given = process.get("scheduler")
    if not given:
        return None
    policy = given["policy"]
    if policy == "SCHED_ISO":
        raise InvalidArgument("scheduler policy SCHED_ISO: Linux reserves the name and has no such scheduler")
    timed = [given.get(key) or 0 for key in ("runtime", "deadline", "period")]
    if any(timed) and policy != "SCHED_DEADLINE":
        raise InvalidArgument(f"scheduler: runtime, deadline and period are SCHED_DEADLINE's, not {policy}'s")
    flags = 0
    for name in given.get("flags") or ():
        flags |= FLAGS[name]
    return Scheduler(POLICIES[policy], flags, given.get("nice") or 0, given.get("priority") or 0, *timed)


def io_priority_of(process: Mapping[str, Any]) -> tuple[int, int] | None:
    """(class, level) of the process's `ioPriority`. Raises InvalidArgument."""
    given = process.get("ioPriority")
    if not given:
        return None
    level = given.get("priority") or 0
    if not 0 <= level <= 7:
        raise InvalidArgument(f"ioPriority.priority must be 0 to 7, not {level}")
    return IO_CLASSES[given["class"]], level


def parse_ids(text: str, what: str) -> frozenset[int]:
    """The numbers of a list such as "0-3,7". Raises InvalidArgument."""
    found: set[int] = set()
    for part in text.replace(" ", "").split(","):
        if not part:
            continue
        first, dash, last = part.partition("-")
        if not (first.isdecimal() and (last.isdecimal() or not dash)) or len(part) > 11:
            raise InvalidArgument(f"{what}: {text!r} is no list such as 0-3,7")
        low, high = int(first), int(last or first)
        if low > high or high >= _MOST_IDS:
            raise InvalidArgument(f"{what}: {part!r} is out of range")
        found.update(range(low, high + 1))
    return frozenset(found)


def memory_policy_of(linux: Mapping[str, Any]) -> tuple[int, frozenset[int]] | None:
    """(mode with flags, nodes) of `linux.memoryPolicy`. Raises InvalidArgument."""
    given = linux.get("memoryPolicy")
    if not given or not given.get("mode"):
        return None
    mode = MEMORY_MODES[given["mode"]]
    for name in given.get("flags") or ():
        mode |= MEMORY_FLAGS[name]
    return mode, parse_ids(given.get("nodes") or "", "memoryPolicy.nodes")


def personality_of(linux: Mapping[str, Any]) -> int | None:
    """The value for personality(2). Raises InvalidArgument: the specification names no flags yet."""
    given = linux.get("personality")
    if not given:
        return None
    if given.get("flags"):
        raise InvalidArgument("linux.personality.flags: the specification defines none; leave them out")
    return DOMAINS[given.get("domain") or "LINUX"]


def apply_from_outside(pid: int, process: Mapping[str, Any]) -> None:
    """What takes rights on the machine, for a process that may be in a user namespace."""
    scheduler, priority = scheduler_of(process), io_priority_of(process)
    if scheduler:
        with step(f"set the scheduler {process['scheduler']['policy']}"):
            set_scheduler(pid, scheduler)
    if priority:
        with step(f"set the I/O priority {process['ioPriority']['class']}"):
            set_io_priority(pid, *priority)


def apply_to_itself(linux: Mapping[str, Any]) -> None:
    """What a process can only set for itself and whatever it executes."""
    memory, personality = memory_policy_of(linux), personality_of(linux)
    if memory:
        with step(f"set the memory policy {linux['memoryPolicy']['mode']}"):
            set_memory_policy(*memory)
    if personality is not None:
        with step(f"set the personality {linux['personality'].get('domain')}"):
            set_personality(personality)


def set_affinity(pid: int, cpus: str, what: str) -> None:
    """Run `pid` on these CPUs only; "" leaves it. Raises InvalidArgument."""
    wanted = parse_ids(cpus, what)
    if wanted:
        with step(f"run on the CPUs {cpus}"):
            os.sched_setaffinity(pid, wanted)
