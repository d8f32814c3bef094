"""What the tests of control groups v2 share."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tiffin.runtime.cgroups import Cgroup

MOUNT = "/sys/fs/cgroup"
MIB = 1 << 20


def leftovers() -> set[str]:
    """The cgroups of engines and of tests."""
    return {str(path) for path in Path(MOUNT).glob("tiffin-*")}


def setting(cgroup: str, name: str) -> str:
    """What the kernel says; `cgroup` is a path below the mount."""
    return Path(MOUNT, cgroup, name).read_text().strip()


def events(cgroup: str, name: str) -> dict[str, int]:
    return {key: int(value) for key, value in (line.split() for line in setting(cgroup, name).splitlines())}


def wait_for(condition: Callable[[], object], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def run_in(cgroup: Cgroup, work: Callable[[], int]) -> int:
    """The exit code of a child that called `work` in the cgroup; negative for a signal."""
    return os.waitstatus_to_exitcode(os.waitpid(start_in(cgroup, work), 0)[1])


def start_in(cgroup: Cgroup, work: Callable[[], int]) -> int:
    pid = os.fork()
    if pid == 0:
        code = 99
        try:
            cgroup.add(0)
            code = work()
        finally:
            os._exit(code)
    return pid


@contextmanager
def running_in(cgroup: Cgroup, work: Callable[[], int]) -> Iterator[int]:
    """A child that is killed at the end, if it still runs."""
    pid = start_in(cgroup, work)
    try:
        yield pid
    finally:
        cgroup.kill_all()
        os.waitpid(pid, 0)
