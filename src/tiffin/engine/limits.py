"""Checking resource limits against what Docker accepts, in its words."""

import os

from tiffin.containers.record import Resources
from tiffin.errors import InvalidArgument

_SMALLEST_MEMORY = 6 * 1024 * 1024


def check(resources: Resources) -> Resources:
    """The limits themselves, once they make sense. Raises InvalidArgument."""
    cpus = os.cpu_count() or 1
    if resources.nano_cpus and not 10_000_000 <= resources.nano_cpus <= cpus * 1_000_000_000:
        raise InvalidArgument(
            f"Range of CPUs is from 0.01 to {cpus}.00, as there are only {cpus} CPUs available"
        )
    if resources.nano_cpus and (resources.cpu_quota or resources.cpu_period):
        raise InvalidArgument("Conflicting options: Nano CPUs and CPU Period cannot both be set.")
    if resources.memory and resources.memory < _SMALLEST_MEMORY:
        raise InvalidArgument("Minimum memory limit allowed is 6MB")
    if resources.memory_swap > 0 and not resources.memory:
        raise InvalidArgument("You should always set the Memory limit when using Memoryswap limit, see usage")
    if 0 < resources.memory_swap < resources.memory:
        raise InvalidArgument("Minimum memoryswap limit should be larger than memory limit, see usage")
    if resources.memory and resources.memory_reservation > resources.memory:
        raise InvalidArgument("Minimum memory limit can not be less than memory reservation limit, see usage")
    if resources.memory_reservation and resources.memory_reservation < _SMALLEST_MEMORY:
        raise InvalidArgument("Minimum memory reservation allowed is 6MB")
    if resources.pids_limit < -1:
        raise InvalidArgument(f"invalid pids limit {resources.pids_limit}; -1 is unlimited")
    _check_cpu_time(resources)
    if not -1 <= resources.memory_swappiness <= 100:
        raise InvalidArgument(
            f"Invalid value: {resources.memory_swappiness}, valid memory swappiness range is 0-100"
        )
    if resources.blkio_weight and not 10 <= resources.blkio_weight <= 1000:
        raise InvalidArgument("Range of blkio weight is from 10 to 1000")
    return resources


def _check_cpu_time(resources: Resources) -> None:
    period, quota = resources.cpu_period, resources.cpu_quota
    if period and not 1000 <= period <= 1_000_000:
        raise InvalidArgument(
            "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)"
        )
    if 0 < quota < 1000:
        raise InvalidArgument("CPU cfs quota can not be less than 1ms (i.e. 1000)")
    if min(resources.cpu_rt_period, resources.cpu_rt_runtime, resources.cpu_shares) < 0:
        raise InvalidArgument("CPU shares, realtime period and runtime can not be negative")
    if resources.cpu_rt_period and resources.cpu_rt_runtime > resources.cpu_rt_period:
        raise InvalidArgument("cpu real-time runtime cannot be higher than cpu real-time period")


def depend_on_kernel(resources: Resources) -> bool:
    """Whether any limit is set that not every kernel has: then `kernel_support.adapt` decides."""
    return bool(
        resources.cpuset_cpus
        or resources.cpuset_mems
        or resources.cpu_rt_period
        or resources.cpu_rt_runtime
        or resources.memory_swappiness >= 0
        or resources.oom_kill_disable
        or resources.blkio_weight
        or resources.blkio_weight_device
        or resources.device_read_bps
        or resources.device_write_bps
        or resources.device_read_iops
        or resources.device_write_iops
    )
