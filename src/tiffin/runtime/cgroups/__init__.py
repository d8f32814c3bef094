"""A container's control group, on v1 and v2 hierarchies.

    cgroup = open_cgroup(f"{layout.cgroup}/{container_id}")     # names it, makes nothing
    warnings = cgroup.create(resources)                          # OCI `linux.resources`
    cgroup.add(pid)                                              # 0: the caller itself
    ...
    cgroup.kill_all()
    cgroup.delete()

`detect` reads once what is mounted; machines that mount both take v1 when the controllers are there. The
path is relative to the hierarchy's mount point and the same in each hierarchy of v1. Whatever lies below
`/sys/fs/cgroup` is the machine's own, so that these modules use plain paths; container ids were checked
before.
"""

from tiffin.errors import InvalidArgument
from tiffin.runtime.cgroups.detect import Hierarchies, detect
from tiffin.typed import Any, Mapping, NamedTuple, Protocol

__all__ = ["Cgroup", "Hierarchies", "Stats", "detect", "open_cgroup", "prune_parent"]

Resources = Mapping[str, Any]


class Stats(NamedTuple):
    """What a cgroup used. Nanoseconds, bytes, counts; -1 where the kernel does not say, limits -1 for
    none."""

    cpu: int
    cpu_user: int
    cpu_system: int
    throttled_periods: int
    throttled_time: int
    memory: int
    memory_limit: int
    memory_peak: int
    memory_inactive_file: int
    pids: int
    pids_limit: int
    read_bytes: int
    write_bytes: int


class Cgroup(Protocol):
    """One container's cgroup. Nothing here waits for longer than a few seconds."""

    path: str
    enters_itself: bool
    """Whether it is cheap for a new process to `add(0)` itself; else whoever forked it does that meanwhile."""

    def create(self, resources: Resources) -> list[str]:
        """Make it and set its limits; making its parent too when it is missing. What the kernel cannot do is
        returned as warnings. On any error nothing remains. Raises Conflict when it exists and holds
        processes, InvalidArgument for a value that the kernel refuses, EngineError."""

    def update(self, resources: Resources) -> list[str]:
        """Change limits; keys that `resources` does not name stay. Raises as `create` does."""

    def limit_files(self) -> list[tuple[str, str]]:
        """Directory and name of each file that `update` may write, those of block devices apart."""

    def add(self, pid: int) -> None:
        """Move a process (0: the caller, which has one thread) into it; its children are born there."""

    def entrances(self) -> list[int]:
        """Descriptors, close-on-exec and the caller's to close, of the files by which a process of one thread enters
        that writes 0 to them: what `add(0)` does. Raises FileNotFoundError when it does not exist, EngineError."""

    def pids(self) -> list[int]:
        """The processes in it and in cgroups below it, as host pids. Empty when it does not exist."""

    def kill_all(self) -> None:
        """SIGKILL every process in it and below, also while they fork. Idempotent."""

    def freeze(self, frozen: bool) -> None:
        """Stop or continue every process in it; returns when the kernel has done so."""

    def stats(self) -> Stats: ...

    def oom_killed(self) -> bool:
        """Whether the kernel killed a process in it for want of memory."""

    def exists(self) -> bool: ...

    def delete(self) -> None:
        """Remove it and what is below, killing what still runs there. Idempotent. Raises EngineError when
        processes outlive the kill for seconds."""


def open_cgroup(path: str, hierarchies: Hierarchies | None = None) -> Cgroup:
    """The cgroup `path` ("parent/id") of this machine. Makes nothing. Raises InvalidArgument, Unsupported."""
    parts = path.split("/")
    if not path or path.startswith("/") or any(part in ("", ".", "..") for part in parts) or "\n" in path:
        raise InvalidArgument(f"invalid cgroup path: {path!r}")
    found = hierarchies or detect()
    if found.version == 1:
        from tiffin.runtime.cgroups.v1 import CgroupV1

        return CgroupV1(path, found)
    from tiffin.runtime.cgroups.v2 import CgroupV2

    return CgroupV2(path, found)


def prune_parent(parent: str, hierarchies: Hierarchies | None = None) -> None:
    """Remove an engine's parent cgroup if no container is left in it: wherever control groups are mounted, as another
    runtime makes it in hierarchies that ours has no use for. Idempotent."""
    import os

    mounts = {*(hierarchies or detect()).mounts(), *(_all_mounts() if hierarchies is None else ())}
    for mount in mounts:
        try:
            os.rmdir(f"{mount}/{parent}")
        except OSError:
            continue  # in use, or not there


def _all_mounts() -> list[str]:
    """Where control groups of any kind are mounted (proc(5), mounts)."""
    with open("/proc/self/mounts", encoding="utf-8", errors="surrogateescape") as file:
        fields = [line.split(" ") for line in file]
    return [field[1] for field in fields if field[2] in ("cgroup", "cgroup2")]
