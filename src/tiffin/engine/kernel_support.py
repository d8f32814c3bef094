"""Limits that not every kernel has: left out with Docker's warning, or refused in its words."""

from __future__ import annotations

import os

from tiffin.errors import InvalidArgument, Unsupported
from tiffin.runtime.cgroups import detect, files
from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from tiffin.containers.record import Resources
    from tiffin.runtime.cgroups import Hierarchies

_MOST_CPUS = 8192
_DISCARDED = "or the cgroup is not mounted."
# (field, v1's file at the root of its hierarchy, the warning)
_BLOCK_LIMITS = (
    (
        "blkio_weight",
        ("blkio.weight", "blkio.bfq.io_serviced"),
        f"Your kernel does not support Block I/O weight {_DISCARDED} Weight discarded.",
    ),
    (
        "blkio_weight_device",
        ("blkio.weight_device", "blkio.bfq.io_serviced"),
        f"Your kernel does not support Block I/O weight_device {_DISCARDED} Weight-device discarded.",
    ),
    (
        "device_read_bps",
        ("blkio.throttle.read_bps_device",),
        f"Your kernel does not support BPS Block I/O read limit {_DISCARDED} Block I/O BPS read limit discarded.",
    ),
    (
        "device_write_bps",
        ("blkio.throttle.write_bps_device",),
        f"Your kernel does not support BPS Block I/O write limit {_DISCARDED} Block I/O BPS write limit discarded.",
    ),
    (
        "device_read_iops",
        ("blkio.throttle.read_iops_device",),
        f"Your kernel does not support IOPS Block read limit {_DISCARDED} Block I/O IOPS read limit discarded.",
    ),
    (
        "device_write_iops",
        ("blkio.throttle.write_iops_device",),
        f"Your kernel does not support IOPS Block write limit {_DISCARDED} Block I/O IOPS write limit discarded.",
    ),
)


def adapt(resources: Resources, hierarchies: Hierarchies | None = None) -> tuple[Resources, list[str]]:
    """The limits that this kernel has, and a warning for each other. Raises InvalidArgument for CPUs and nodes that
    are not there, Unsupported for realtime limits where there are none."""
    found = hierarchies or detect()
    warnings: list[str] = []
    _check_set(found, resources.cpuset_cpus, "cpus", "CPUs")
    _check_set(found, resources.cpuset_mems, "mems", "memory nodes")
    if (resources.cpu_rt_period or resources.cpu_rt_runtime) and not _has(found, "cpu", "cpu.rt_runtime_us"):
        raise Unsupported("Your kernel does not support CPU real-time scheduler")
    if resources.memory_swappiness >= 0 and not _has(found, "memory", "memory.swappiness"):
        warnings.append(
            f"Your kernel does not support memory swappiness capabilities {_DISCARDED} Memory swappiness discarded."
        )
        resources = resources._replace(memory_swappiness=-1)
    if resources.oom_kill_disable and not _has(found, "memory", "memory.oom_control"):
        warnings.append("Your kernel does not support OomKillDisable. OomKillDisable discarded.")
        resources = resources._replace(oom_kill_disable=False)
    elif resources.oom_kill_disable and not resources.memory:
        warnings.append(
            "OOM killer is disabled for the container, but no memory limit is set, this can result in the system "
            "running out of resources."
        )
    for field, names, warning in _BLOCK_LIMITS:
        if getattr(resources, field) and not _has_block(found, names):
            warnings.append(warning)
            resources = resources._replace(**{field: type(getattr(resources, field))()})
    return resources, warnings


def _has(found: Hierarchies, controller: str, name: str) -> bool:
    """Whether v1's controller has that file; v2 has none of those asked for."""
    return controller in found.v1 and found.version == 1 and os.path.exists(f"{found.v1[controller]}/{name}")


def _has_block(found: Hierarchies, names: tuple[str, ...]) -> bool:
    if found.version == 2:
        return "io" in files.read(found.unified, "cgroup.controllers").split()
    return any(_has(found, "blkio", name) for name in names)


def _check_set(found: Hierarchies, text: str, name: str, noun: str) -> None:
    if not text:
        return
    wanted = _numbers(text)
    if wanted is None:
        raise InvalidArgument(f"Invalid value {text} for cpuset {name}")
    if found.version == 1:
        available = files.read(found.v1.get("cpuset", "/nonexistent"), f"cpuset.{name}")
    else:
        available = files.read(found.unified, f"cpuset.{name}.effective")
    if not wanted <= (_numbers(available) or wanted):
        raise InvalidArgument(
            f"Requested {noun} are not available - requested {text}, available: {available}"
        )


def _numbers(text: str) -> frozenset[int] | None:
    """Of the kernel's list format: "0-3,7". None for what is none."""
    found: set[int] = set()
    for part in text.split(","):
        low, dash, high = part.partition("-")
        high = high if dash else low
        if not (low.isascii() and low.isdigit() and high.isascii() and high.isdigit()):
            return None
        if not int(low) <= int(high) < _MOST_CPUS:
            return None
        found.update(range(int(low), int(high) + 1))
    return frozenset(found)
