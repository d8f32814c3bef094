"""Control groups v2: one unified hierarchy; devices are decided by a BPF program."""

from __future__ import annotations

import errno
import math
import os

from tiffin.errors import Conflict, EngineError, InvalidArgument
from tiffin.runtime.cgroups import Stats, files
from tiffin.typed import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tiffin.runtime.cgroups.detect import Hierarchies

_CONTROLLERS = ("cpu", "memory", "pids", "io", "cpuset")
_NEEDED_BY = {
    "memory": "memory",
    "cpu": "cpu",
    "pids": "pids",
    "blockIO": "io",
    "hugepageLimits": "hugetlb",
    "rdma": "rdma",
}
_SELDOM = (("hugepageLimits", "hugetlb"), ("rdma", "rdma"))  # handed down only to those that ask
_V1_ALONE = (
    ("memory", "kernel"),
    ("memory", "kernelTCP"),
    ("memory", "swappiness"),
    ("memory", "disableOOMKiller"),
    ("cpu", "realtimePeriod"),
    ("cpu", "realtimeRuntime"),
    ("network", "classID"),
    ("network", "priorities"),
    ("blockIO", "leafWeight"),
)

_LIMIT_FILES = (
    *("memory.max", "memory.swap.max", "memory.low", "cpu.weight", "cpu.max", "cpuset.cpus", "cpuset.mems"),
    *("pids.max", "io.weight", "io.bfq.weight"),
)


class CgroupV2:
    """See the `Cgroup` protocol."""

    enters_itself = False

    def __init__(self, path: str, hierarchies: Hierarchies) -> None:
        self.path = path
        self._mount = hierarchies.unified
        self._directory = f"{self._mount}/{path}"

    def create(self, resources: Mapping[str, Any]) -> list[str]:
        try:
            self._enable_controllers({name for key, name in _SELDOM if resources.get(key)})
            try:
                os.mkdir(self._directory, 0o755)
            except FileExistsError:
                if self.pids():
                    raise Conflict(f"cgroup {self.path} is in use by another container") from None
                # Left by an engine that was killed: its limits, events and device programs are not ours.
                files.remove_directory(self._directory)
                os.mkdir(self._directory, 0o755)
            warnings = self.update(resources)
            if resources.get("devices"):
                self._attach_devices(resources["devices"])
            return warnings
        except OSError as error:
            files.remove_directory(self._directory)
            raise EngineError(f"cannot make cgroup {self._directory}: {error.strerror}") from error
        except Conflict:
            raise
        except BaseException:
            files.remove_directory(self._directory)
            raise

    def _enable_controllers(self, more: set[str]) -> None:
        """Hand the controllers that the machine has down to the container's directory."""
        at = self._mount
        handed = more.union(_CONTROLLERS)
        wanted = [name for name in files.read(at, "cgroup.controllers").split() if name in handed]
        for part in self.path.split("/"):
            missing = set(wanted) - set(files.read(at, "cgroup.subtree_control").split())
            for name in sorted(missing):
                self._enable(at, name)
            at = f"{at}/{part}"
            if at != self._directory:
                os.makedirs(at, 0o755, exist_ok=True)

    def _enable(self, at: str, controller: str) -> None:
        try:
            files.write(at, "cgroup.subtree_control", f"+{controller}")
        except EngineError as error:
            cause = error.__cause__
            if isinstance(cause, OSError) and cause.errno == errno.EBUSY:
                raise EngineError(
                    f"cannot enable the {controller} controller in {at}: processes are in that cgroup; "
                    "move them to a cgroup below it (inside another container, start it with its own cgroup "
                    "namespace and an init cgroup)"
                ) from error
            if isinstance(cause, OSError) and cause.errno == errno.ENOENT:
                return
            raise

    def update(self, resources: Mapping[str, Any]) -> list[str]:
        warnings: list[str] = []
        have = files.read(self._directory, "cgroup.controllers").split()
        for key, controller in _NEEDED_BY.items():
            if resources.get(key) and controller not in have:
                warnings.append(f"this machine has no {controller} cgroup controller; its limits are not set")
        for group, key in _V1_ALONE:
            if (resources.get(group) or {}).get(key):
                warnings.append(f"cgroup v2 has no {group}.{key}; it is not set")
        self._check_memory(resources.get("memory") or {})
        for name, value in settings(resources):
            if name.partition(".")[0] in have:
                self._set(name, value, warnings)
        for name, value in (resources.get("unified") or {}).items():
            if "/" in name or "." not in name:
                raise InvalidArgument(f"invalid cgroup setting: {name!r}")
            try:
                files.write(self._directory, name, value)
            except FileNotFoundError as error:
                raise InvalidArgument(f"this machine has no cgroup setting {name}") from error
        return warnings

    def limit_files(self) -> list[tuple[str, str]]:
        return [(self._directory, name) for name in _LIMIT_FILES]

    def _set(self, name: str, value: str, warnings: list[str]) -> None:
        if name == "io.weight" and os.path.exists(f"{self._directory}/io.bfq.weight"):
            name, value = "io.bfq.weight", _bfq_weight(value)
        try:
            if name.startswith("io."):
                files.write_weight(self._directory, name, value, warnings)
            else:
                files.write(self._directory, name, value)
        except FileNotFoundError:
            warnings.append(f"this kernel has no {name}; the limit is not set")

    def _check_memory(self, memory: Mapping[str, Any]) -> None:
        """`checkBeforeUpdate`: here the kernel kills where v1 refuses a limit below what is in use."""
        limit = memory.get("limit")
        if memory.get("checkBeforeUpdate") and limit is not None and limit >= 0:
            used = files.read_int(self._directory, "memory.current", 0)
            if limit < used:
                raise InvalidArgument(f"the memory limit {limit} is below the {used} bytes in use")

    def _attach_devices(self, rules: list[dict[str, Any]]) -> None:
        from tiffin.kernel.bpf import attach_to_cgroup, load_device_program
        from tiffin.runtime.cgroups.devices import device_program

        program = load_device_program(device_program(rules))
        try:
            fd = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                attach_to_cgroup(fd, program)
            finally:
                os.close(fd)
        finally:
            os.close(program)

    def add(self, pid: int) -> None:
        files.write(self._directory, "cgroup.procs", pid)

    def entrances(self) -> list[int]:
        return files.open_all([f"{self._directory}/cgroup.procs"])

    def pids(self) -> list[int]:
        return files.processes(self._directory)

    def kill_all(self) -> None:
        try:
            files.write(self._directory, "cgroup.kill", 1)
        except FileNotFoundError:  # Linux before 5.14, or no such cgroup
            files.kill(self.pids())
        waiting = files.Waiting()
        while pids := self.pids():
            files.kill(pids)
            if not waiting.again():
                break

    def freeze(self, frozen: bool) -> None:
        files.write(self._directory, "cgroup.freeze", int(frozen))
        waiting = files.Waiting()
        while files.read_table(self._directory, "cgroup.events").get("frozen", int(frozen)) != int(frozen):
            if not waiting.again():
                files.write(self._directory, "cgroup.freeze", 0)
                state = "frozen" if frozen else "thawed"
                raise EngineError(f"cgroup {self.path} did not become {state} in {files.PATIENCE:.0f} s")

    def stats(self) -> Stats:
        at = self._directory
        cpu, memory = files.read_table(at, "cpu.stat"), files.read_table(at, "memory.stat")
        reads, writes = _block_bytes(at)
        return Stats(
            cpu=_nanoseconds(cpu, "usage_usec"),
            cpu_user=_nanoseconds(cpu, "user_usec"),
            cpu_system=_nanoseconds(cpu, "system_usec"),
            throttled_periods=cpu.get("nr_throttled", 0),
            throttled_time=cpu.get("throttled_usec", 0) * 1000,
            memory=files.read_int(at, "memory.current"),
            memory_limit=files.read_int(at, "memory.max"),
            memory_peak=files.read_int(at, "memory.peak"),
            memory_inactive_file=memory.get("inactive_file", 0),
            pids=files.read_int(at, "pids.current"),
            pids_limit=files.read_int(at, "pids.max"),
            read_bytes=reads,
            write_bytes=writes,
        )

    def oom_killed(self) -> bool:
        return files.read_table(self._directory, "memory.events").get("oom_kill", 0) > 0

    def exists(self) -> bool:
        return os.path.isdir(self._directory)

    def delete(self) -> None:
        waiting = files.Waiting()
        while not files.remove_directory(self._directory):
            self.kill_all()
            if not waiting.again():
                raise EngineError(f"cgroup {self._directory} is still in use; its processes do not die")


def settings(resources: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The v2 files and values for OCI resources, in the order in which to write them."""
    cpu, memory = resources.get("cpu") or {}, resources.get("memory") or {}
    written: list[tuple[str, str]] = []
    limit, swap = memory.get("limit"), memory.get("swap")
    # First the swap: it is a limit of its own here, where v1 and the specification give memory plus swap.
    if swap is not None:
        written.append(("memory.swap.max", _swap(limit, swap)))
    if limit is not None:
        written.append(("memory.max", _or_max(limit)))
    if memory.get("reservation") is not None:
        written.append(("memory.low", _or_max(memory["reservation"])))
    if cpu.get("shares"):
        written.append(("cpu.weight", str(weight_of_shares(cpu["shares"]))))
    if cpu.get("quota") is not None or cpu.get("period"):
        quota, period = cpu.get("quota") or -1, cpu.get("period") or 100_000
        written.append(("cpu.max", f"{quota if quota > 0 else 'max'} {period}"))
    if cpu.get("burst") is not None:
        written.append(("cpu.max.burst", str(cpu["burst"])))
    if cpu.get("idle") is not None:
        written.append(("cpu.idle", str(cpu["idle"])))
    written += [(f"cpuset.{key}", cpu[key]) for key in ("cpus", "mems") if cpu.get(key)]
    limit = (resources.get("pids") or {}).get("limit")
    if limit is not None:
        written.append(("pids.max", str(limit) if limit > 0 else "max"))
    written += [
        (f"hugetlb.{entry['pageSize']}.max", str(entry["limit"]))
        for entry in resources.get("hugepageLimits") or ()
    ]
    if resources.get("rdma"):
        from tiffin.runtime.cgroups.v1 import rdma_limit

        written += [("rdma.max", rdma_limit(device, limits)) for device, limits in resources["rdma"].items()]
    return written + _block_settings(resources.get("blockIO") or {})


def weight_of_shares(shares: int) -> int:
    """v1 CPU shares (2 to 262144, default 1024) as a v2 weight (1 to 10000, default 100): the curve through
    those three points that the OCI runtimes agreed on."""
    if shares <= 2:
        return 1
    if shares >= 262144:
        return 10000
    power = math.log2(shares)
    return math.ceil(10 ** ((power * power + 125 * power) / 612 - 7 / 34))


def _or_max(value: int) -> str:
    return "max" if value < 0 else str(value)


def _swap(limit: int | None, both: int) -> str:
    if both < 0:
        return "max"
    if limit is None or limit < 0:
        raise InvalidArgument("a swap limit needs a memory limit beside it")
    if both < limit:
        raise InvalidArgument(
            f"the swap limit {both} counts memory too and is below the memory limit {limit}"
        )
    return str(both - limit)


def _block_settings(block: Mapping[str, Any]) -> list[tuple[str, str]]:
    written: list[tuple[str, str]] = []
    if block.get("weight"):
        written.append(("io.weight", f"default {_io_weight(block['weight'])}"))
    for device in block.get("weightDevice") or ():
        weight = _io_weight(device["weight"]) if device.get("weight") else "default"
        written.append(("io.weight", f"{device['major']}:{device['minor']} {weight}"))
    for key, name in (
        ("throttleReadBpsDevice", "rbps"),
        ("throttleWriteBpsDevice", "wbps"),
        ("throttleReadIOPSDevice", "riops"),
        ("throttleWriteIOPSDevice", "wiops"),
    ):
        written += [
            ("io.max", f"{device['major']}:{device['minor']} {name}={device['rate']}")
            for device in block.get(key) or ()
        ]
    return written


def _io_weight(weight: int) -> int:
    # 10..1000 there, 1..10000 here, as the OCI runtimes convert.
    return 1 + (weight - 10) * 9999 // 990


def _bfq_weight(text: str) -> str:
    """What is meant for io.weight, for the BFQ scheduler: its weights are the ones that were asked for, 1..1000."""
    target, _, weight = text.partition(" ")
    if not weight.isdigit():
        return text
    asked = 10 + -(-(int(weight) - 1) * 990 // 9999)
    return f"{target} {min(asked, 1000)}"


def _nanoseconds(table: dict[str, int], key: str) -> int:
    return table[key] * 1000 if key in table else -1


def _block_bytes(directory: str) -> tuple[int, int]:
    read = written = 0
    for line in files.read(directory, "io.stat").splitlines():
        for word in line.split()[1:]:  # 254:0 rbytes=4096 wbytes=0 rios=1 ...
            key, _, value = word.partition("=")
            if key == "rbytes":
                read += int(value)
            elif key == "wbytes":
                written += int(value)
    return read, written
