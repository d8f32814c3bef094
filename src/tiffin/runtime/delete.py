"""Ending and removing containers whose first process may be gone, or another's by now."""

from __future__ import annotations

from tiffin.kernel.process import pidfd_open, pidfd_send_signal, process_start_time
from tiffin.runtime.cgroups import open_cgroup


def send_signal(pid: int, pid_start: int, number: int) -> bool:
    """Signal the process that had this pid and start time; False when it is gone, whoever has its pid now."""
    import os

    try:
        pidfd = pidfd_open(pid)
    except ProcessLookupError:
        return False
    try:
        if process_start_time(pid) != pid_start:
            return False
        pidfd_send_signal(pidfd, number)
    except ProcessLookupError:
        return False
    finally:
        os.close(pidfd)
    return True


def delete(cgroup: str) -> None:
    """Kill whatever is left in a container's cgroup ("parent/id") and remove it. Its mounts went with the
    last process in its mount namespace. Idempotent. Raises EngineError when processes outlive the kill."""
    open_cgroup(cgroup).delete()
