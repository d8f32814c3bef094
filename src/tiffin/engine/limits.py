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
    if resources.pids_limit < -1:
        raise InvalidArgument(f"invalid pids limit {resources.pids_limit}; -1 is unlimited")
    return resources
