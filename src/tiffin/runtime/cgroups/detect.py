"""Which control group hierarchies this machine has mounted, and where."""

import os

from tiffin.errors import Unsupported
from tiffin.typed import NamedTuple

_CONTROLLERS = ("cpu", "cpuacct", "memory", "pids", "devices", "freezer", "blkio", "cpuset", "hugetlb", "net_cls",
                "net_prio", "rdma")  # fmt: skip


class Hierarchies(NamedTuple):
    """`version` 1 or 2: which one limits containers. `v1`: controller → mount point, of those that are used
    here. `unified`: where v2 is mounted, "" if nowhere."""

    version: int
    v1: dict[str, str]
    unified: str

    def mounts(self) -> list[str]:
        """The mount points in which a container has a directory, each once (cpu and cpuacct often share
        one)."""
        return list(dict.fromkeys(self.v1.values())) if self.version == 1 else [self.unified]


def detect(mountinfo: str = "/proc/self/mountinfo") -> Hierarchies:
    """Read the mount table. Raises Unsupported when no hierarchy is mounted."""
    with open(mountinfo, "rb") as file:
        table = file.read()
    v1: dict[str, str] = {}
    unified = ""
    for line in table.split(b"\n"):
        # 35 31 0:31 / /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory
        before, separator, after = line.partition(b" - cgroup")
        if not separator:
            continue
        mount = _unescape(before.split(b" ")[4])
        if after.startswith(b"2 "):
            unified = unified or mount
        elif after.startswith(b" "):
            options = after.split(b" ")[-1].decode().split(",")
            for controller in _CONTROLLERS:
                if controller in options:
                    v1.setdefault(controller, mount)
    if "memory" in v1 or "pids" in v1 or "cpu" in v1:
        return Hierarchies(1, v1, unified)
    if unified:
        return Hierarchies(2, {}, unified)
    raise Unsupported("no cgroup hierarchy is mounted; mount -t cgroup2 cgroup2 /sys/fs/cgroup")


def _unescape(path: bytes) -> str:
    if b"\\" in path:
        for octal, byte in ((b"\\040", b" "), (b"\\011", b"\t"), (b"\\012", b"\n"), (b"\\134", b"\\")):
            path = path.replace(octal, byte)
    return os.fsdecode(path)
