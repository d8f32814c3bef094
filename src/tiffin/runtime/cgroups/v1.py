"""Control groups v1: one directory for each controller's hierarchy."""

from __future__ import annotations

import os
from errno import ENOSPC

from tiffin.errors import Conflict, EngineError, InvalidArgument
from tiffin.runtime.cgroups import Stats, files
from tiffin.typed import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tiffin.runtime.cgroups.detect import Hierarchies

_NO_LIMIT = 1 << 62  # v1 shows "none" as the largest page-aligned number


class CgroupV1:
    """See the `Cgroup` protocol."""

    enters_itself = True

    def __init__(self, path: str, hierarchies: Hierarchies) -> None:
        self.path = path
        self._mounts = hierarchies.mounts()
        self._directories = {name: f"{mount}/{path}" for name, mount in hierarchies.v1.items()}

    def create(self, resources: Mapping[str, Any]) -> list[str]:
        made: list[str] = []
        try:
            for mount in self._mounts:
                self._make(mount, made)
            cpu = resources.get("cpu") or {}
            if "cpuset" in self._directories and (cpu.get("cpus") or cpu.get("mems")) and "/" in self.path:
                _inherit_cpuset(self._mount_of("cpuset"), os.path.dirname(self.path))
            return self.update(resources)
        except BaseException:
            for directory in reversed(made):
                files.remove_directory(directory)
            raise

    def _make(self, mount: str, made: list[str]) -> None:
        directory = f"{mount}/{self.path}"
        try:
            os.mkdir(directory, 0o755)
        except FileNotFoundError:
            parent = os.path.dirname(directory)
            os.makedirs(parent, 0o755, exist_ok=True)
            if mount == self._mount_of("cpuset"):
                _inherit_cpuset(mount, os.path.dirname(self.path))
            os.mkdir(directory, 0o755)
        except FileExistsError:
            if files.processes(directory):
                raise Conflict(f"cgroup {self.path} is in use by another container") from None
            # Left by an engine that was killed: its limits and counters are not ours.
            files.remove_directory(directory)
            os.mkdir(directory, 0o755)
        except OSError as error:
            raise EngineError(f"cannot make cgroup {directory}: {error.strerror}") from error
        made.append(directory)

    def _mount_of(self, controller: str) -> str:
        directory = self._directories.get(controller, "")
        return directory.removesuffix(f"/{self.path}")

    def update(self, resources: Mapping[str, Any]) -> list[str]:
        warnings: list[str] = []
        for key, controller, apply in _APPLIERS:
            wanted = resources.get(key)
            if not wanted:
                continue
            directory = self._directories.get(controller)
            if directory is None:
                warnings.append(f"this machine has no {controller} cgroup controller; its limits are not set")
            else:
                apply(directory, wanted, warnings)
        if resources.get("unified"):
            raise InvalidArgument("unified cgroup settings need cgroup v2; this machine runs v1")
        return warnings

    def limit_files(self) -> list[tuple[str, str]]:
        return [(self._directories[name], f) for name, f in _LIMIT_FILES if name in self._directories]

    def add(self, pid: int) -> None:
        # A thread that moves itself needs no lock that every fork on the machine has to let go of first: 0.2 ms
        # instead of 6 to 15. Whoever passes 0 is a forked child, so its one thread is all of it.
        name = "cgroup.procs" if pid else "tasks"
        for mount in self._mounts:
            try:
                files.write(f"{mount}/{self.path}", name, pid)
            except EngineError as error:
                if getattr(error.__cause__, "errno", 0) != ENOSPC or mount != self._mount_of("cpuset"):
                    raise
                # A parent that somebody else made, and gave no CPUs to.
                _inherit_cpuset(mount, self.path)
                files.write(f"{mount}/{self.path}", name, pid)

    def entrances(self) -> list[int]:
        return files.open_all([f"{mount}/{self.path}/tasks" for mount in self._mounts])

    def pids(self) -> list[int]:
        return files.processes(self._any())

    def _any(self) -> str:
        for controller in ("pids", "memory", "freezer"):
            if controller in self._directories:
                return self._directories[controller]
        return f"{self._mounts[0]}/{self.path}"

    def kill_all(self) -> None:
        if not self.pids():
            return
        # Frozen processes can neither fork away from the list nor end, so that no pid on it is reused.
        can_freeze = "freezer" in self._directories and os.path.isdir(self._directories["freezer"])
        if can_freeze:
            try:
                self.freeze(True)
            except EngineError:
                pass  # a process that will not freeze; what follows still kills
        try:
            files.kill(self.pids())
        finally:
            if can_freeze:
                self.freeze(False)
        waiting = files.Waiting()
        while pids := self.pids():
            files.kill(pids)
            if not waiting.again():
                break

    def freeze(self, frozen: bool) -> None:
        directory = self._directories.get("freezer")
        if directory is None:
            raise EngineError("this machine has no freezer cgroup controller; mount it to pause containers")
        state = "FROZEN" if frozen else "THAWED"
        waiting = files.Waiting()
        files.write(directory, "freezer.state", state)
        while files.read(directory, "freezer.state") != state:
            if not waiting.again():
                files.write(directory, "freezer.state", "THAWED")
                raise EngineError(f"cgroup {self.path} stays {'un' if frozen else ''}frozen; try again")
            files.write(directory, "freezer.state", state)

    def stats(self) -> Stats:
        at = {name: self._directories.get(name, "/nonexistent") for name in (*self._directories, *_STATS_OF)}
        memory, cpu = files.read_table(at["memory"], "memory.stat"), files.read_table(at["cpu"], "cpu.stat")
        usage = files.read_table(at["cpuacct"], "cpuacct.stat")
        tick = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
        limit = files.read_int(at["memory"], "memory.limit_in_bytes")
        reads, writes = _block_bytes(at["blkio"])
        return Stats(
            cpu=files.read_int(at["cpuacct"], "cpuacct.usage"),
            cpu_user=usage.get("user", -1) * tick,
            cpu_system=usage.get("system", -1) * tick,
            throttled_periods=cpu.get("nr_throttled", 0),
            throttled_time=cpu.get("throttled_time", 0),
            memory=files.read_int(at["memory"], "memory.usage_in_bytes"),
            memory_limit=-1 if limit >= _NO_LIMIT else limit,
            memory_peak=files.read_int(at["memory"], "memory.max_usage_in_bytes"),
            memory_inactive_file=memory.get("total_inactive_file", 0),
            pids=files.read_int(at["pids"], "pids.current"),
            pids_limit=files.read_int(at["pids"], "pids.max"),
            read_bytes=reads,
            write_bytes=writes,
        )

    def oom_killed(self) -> bool:
        directory = self._directories.get("memory")
        return (
            directory is not None and files.read_table(directory, "memory.oom_control").get("oom_kill", 0) > 0
        )

    def exists(self) -> bool:
        return any(os.path.isdir(f"{mount}/{self.path}") for mount in self._mounts)

    def delete(self) -> None:
        left = [f"{mount}/{self.path}" for mount in self._mounts]
        left = [directory for directory in left if not files.remove_directory(directory)]
        waiting = files.Waiting()
        while left:
            self.kill_all()
            left = [directory for directory in left if not files.remove_directory(directory)]
            if left and not waiting.again():
                raise EngineError(f"cgroup {left[0]} is still in use; its processes do not die")


_LIMIT_FILES = (
    ("memory", "memory.limit_in_bytes"),
    ("memory", "memory.memsw.limit_in_bytes"),
    ("memory", "memory.soft_limit_in_bytes"),
    ("memory", "memory.swappiness"),
    ("cpu", "cpu.shares"),
    ("cpu", "cpu.cfs_period_us"),
    ("cpu", "cpu.cfs_quota_us"),
    ("cpu", "cpu.rt_period_us"),
    ("cpu", "cpu.rt_runtime_us"),
    ("cpuset", "cpuset.cpus"),
    ("cpuset", "cpuset.mems"),
    ("pids", "pids.max"),
    ("blkio", "blkio.weight"),
    ("blkio", "blkio.bfq.weight"),
)
_STATS_OF = ("cpu", "cpuacct", "memory", "pids", "blkio")


def _inherit_cpuset(mount: str, parent: str) -> None:
    """A new v1 cpuset is empty, and no process may enter it until cpus and mems are set. With clone_children
    set on the parent its children start with the parent's."""
    at = mount
    for part in parent.split("/"):
        above, at = at, f"{at}/{part}"
        for name in ("cpuset.cpus", "cpuset.mems"):
            if not files.read(at, name):
                files.write(at, name, files.read(above, name))
        files.write(at, "cgroup.clone_children", 1)


def _set(directory: str, name: str, value: Any) -> None:
    if value is not None:
        files.write(directory, name, value)


def _memory(directory: str, wanted: Mapping[str, Any], warnings: list[str]) -> None:
    limit, swap = wanted.get("limit"), wanted.get("swap")
    has_swap = os.path.exists(f"{directory}/memory.memsw.limit_in_bytes")
    if swap and not has_swap:
        warnings.append("this kernel does not account swap; the memory limit is set without a swap limit")
        swap = None
    # Memory may never exceed memory+swap: when both grow, the sum goes first.
    grows = False
    if swap is not None and has_swap:
        grows = swap == -1 or swap > files.read_int(directory, "memory.memsw.limit_in_bytes")
    if grows:
        _set(directory, "memory.memsw.limit_in_bytes", swap)
    _set(directory, "memory.limit_in_bytes", limit)
    if not grows:
        _set(directory, "memory.memsw.limit_in_bytes", swap)
    _set(directory, "memory.soft_limit_in_bytes", wanted.get("reservation"))
    _set(directory, "memory.swappiness", wanted.get("swappiness"))
    if wanted.get("disableOOMKiller"):
        files.write(directory, "memory.oom_control", 1)
    _set(directory, "memory.kmem.tcp.limit_in_bytes", wanted.get("kernelTCP"))
    if wanted.get("kernel") is not None:
        warnings.append("the kernel memory limit is not set: Linux took it away in 5.16")


def _cpu(directory: str, wanted: Mapping[str, Any], warnings: list[str]) -> None:
    _set(directory, "cpu.shares", wanted.get("shares"))
    _set(directory, "cpu.cfs_period_us", wanted.get("period"))
    _set(directory, "cpu.cfs_quota_us", wanted.get("quota"))
    if wanted.get("burst") is not None:
        files.write(directory, "cpu.cfs_burst_us", wanted["burst"])
    _optional(directory, "cpu.idle", wanted.get("idle"), warnings)
    if wanted.get("realtimePeriod") is not None or wanted.get("realtimeRuntime") is not None:
        from tiffin.runtime.cgroups.realtime import set_realtime

        set_realtime(directory, wanted.get("realtimePeriod"), wanted.get("realtimeRuntime"), warnings)


def _optional(directory: str, name: str, value: Any, warnings: list[str]) -> None:
    """Set what not every kernel has."""
    if value is None:
        return
    try:
        files.write(directory, name, value)
    except FileNotFoundError:
        warnings.append(f"this kernel has no {name}; the limit is not set")


def _hugetlb(directory: str, wanted: list[dict[str, Any]], warnings: list[str]) -> None:
    for limit in wanted:
        _optional(directory, f"hugetlb.{limit['pageSize']}.limit_in_bytes", limit["limit"], warnings)


def _net_class(directory: str, wanted: Mapping[str, Any], warnings: list[str]) -> None:
    _optional(directory, "net_cls.classid", wanted.get("classID"), warnings)


def _net_priority(directory: str, wanted: Mapping[str, Any], warnings: list[str]) -> None:
    for entry in wanted.get("priorities") or ():
        _optional(directory, "net_prio.ifpriomap", f"{entry['name']} {entry['priority']}", warnings)


def _rdma(directory: str, wanted: Mapping[str, Any], warnings: list[str]) -> None:
    for device, limits in wanted.items():
        _optional(directory, "rdma.max", rdma_limit(device, limits), warnings)


def rdma_limit(device: str, limits: Mapping[str, Any]) -> str:
    """A line for `rdma.max`, on v1 and v2."""
    words = [f"{key}={limits[name]}" for key, name in _RDMA if limits.get(name) is not None]
    return " ".join([device, *words])


_RDMA = (("hca_handle", "hcaHandles"), ("hca_object", "hcaObjects"))


def _cpuset(directory: str, wanted: Mapping[str, Any], warnings: list[str]) -> None:
    del warnings
    _set(directory, "cpuset.cpus", wanted.get("cpus") or None)
    _set(directory, "cpuset.mems", wanted.get("mems") or None)


def _pids(directory: str, wanted: Mapping[str, Any], warnings: list[str]) -> None:
    del warnings
    limit = wanted.get("limit")
    if limit is not None:
        files.write(directory, "pids.max", limit if limit > 0 else "max")


def _devices(directory: str, wanted: list[dict[str, Any]], warnings: list[str]) -> None:
    del warnings
    for rule in wanted:
        kind = rule.get("type") or "a"
        major, minor = rule.get("major"), rule.get("minor")
        numbers = f"{'*' if major in (None, -1) else major}:{'*' if minor in (None, -1) else minor}"
        text = "a" if kind == "a" else f"{kind} {numbers} {rule.get('access') or 'rwm'}"
        files.write(directory, "devices.allow" if rule.get("allow") else "devices.deny", text)


def _blkio(directory: str, wanted: Mapping[str, Any], warnings: list[str]) -> None:
    entries = [("weight", wanted["weight"])] if wanted.get("weight") else []
    entries += [
        ("weight_device", f"{device['major']}:{device['minor']} {device.get('weight') or 0}")
        for device in wanted.get("weightDevice") or ()
    ]
    for kind, value in entries:
        for name in (f"blkio.{kind}", f"blkio.bfq.{kind}"):
            if os.path.exists(f"{directory}/{name}"):
                files.write_weight(directory, name, value, warnings)
                break
        else:
            warnings.append("this kernel has no block io weight; the weight is not set")
    _optional(directory, "blkio.leaf_weight", wanted.get("leafWeight"), warnings)
    for device in wanted.get("weightDevice") or ():
        if device.get("leafWeight") is not None:
            value = f"{device['major']}:{device['minor']} {device['leafWeight']}"
            _optional(directory, "blkio.leaf_weight_device", value, warnings)
    for key, name in _THROTTLES:
        for device in wanted.get(key) or ():
            try:
                files.write(directory, name, f"{device['major']}:{device['minor']} {device['rate']}")
            except FileNotFoundError:
                warnings.append(f"this kernel has no {name}; the limit is not set")


_THROTTLES = (
    ("throttleReadBpsDevice", "blkio.throttle.read_bps_device"),
    ("throttleWriteBpsDevice", "blkio.throttle.write_bps_device"),
    ("throttleReadIOPSDevice", "blkio.throttle.read_iops_device"),
    ("throttleWriteIOPSDevice", "blkio.throttle.write_iops_device"),
)

# (key of linux.resources, controller, what sets it)
_APPLIERS: tuple[tuple[str, str, Callable[[str, Any, list[str]], None]], ...] = (
    ("memory", "memory", _memory),
    ("cpu", "cpu", _cpu),
    ("cpu", "cpuset", _cpuset),
    ("pids", "pids", _pids),
    ("devices", "devices", _devices),
    ("blockIO", "blkio", _blkio),
    ("hugepageLimits", "hugetlb", _hugetlb),
    ("network", "net_cls", _net_class),
    ("network", "net_prio", _net_priority),
    ("rdma", "rdma", _rdma),
)


def _block_bytes(directory: str) -> tuple[int, int]:
    read = written = 0
    for line in files.read(directory, "blkio.throttle.io_service_bytes").splitlines():
        words = line.split()  # 254:0 Read 4096
        if len(words) == 3 and words[1] == "Read":
            read += int(words[2])
        elif len(words) == 3 and words[1] == "Write":
            written += int(words[2])
    return read, written
