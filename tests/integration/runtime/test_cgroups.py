"""The machine's own hierarchies: create, limit, kill, freeze, delete; v2 even without controllers."""

import os
import signal
import time
from collections.abc import Iterator

import pytest

from tiffin.errors import Conflict, InvalidArgument
from tiffin.runtime.cgroups import Cgroup, Hierarchies, detect, open_cgroup, prune_parent

pytestmark = pytest.mark.root

RESOURCES = {
    "memory": {"limit": 64 << 20},
    "cpu": {"shares": 512, "quota": 50_000, "period": 100_000},
    "pids": {"limit": 20},
    "devices": [
        {"allow": False, "access": "rwm"},
        {"allow": True, "type": "c", "major": 1, "minor": 3, "access": "rwm"},
    ],
}


def versions() -> list[Hierarchies]:
    found = detect()
    both = [found]
    if found.version == 1 and found.unified:
        both.append(Hierarchies(2, {}, found.unified))
    return both


@pytest.fixture(params=versions(), ids=lambda found: f"v{found.version}")
def cgroup(request, tmp_path) -> Iterator[Cgroup]:
    parent = f"tiffin-test-{os.getpid()}"
    made = open_cgroup(f"{parent}/one", request.param)
    yield made
    made.delete()
    prune_parent(parent, request.param)
    assert not made.exists()


def spawn(cgroup: Cgroup, forks: int = 0) -> int:
    """A process in the cgroup that forks `forks` children and sleeps."""
    ready, tell = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            cgroup.add(0)
            signal.signal(signal.SIGUSR1, lambda *_: os._exit(7))
            for _ in range(forks):
                if os.fork() == 0:
                    break
            os.write(tell, b"x")
            while True:
                signal.pause()
        finally:
            os._exit(1)
    os.close(tell)
    for _ in range(forks + 1):
        assert os.read(ready, 1) == b"x"
    os.close(ready)
    return pid


def died_of(pid: int) -> int:
    return -os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_limits_reach_the_kernel(cgroup: Cgroup) -> None:
    warnings = cgroup.create(RESOURCES)
    stats = cgroup.stats()
    if stats.memory_limit == -1:
        assert any("memory" in warning for warning in warnings)
        pytest.skip("the unified hierarchy of this machine has no controllers")
    assert (warnings, stats.memory_limit, stats.pids_limit) == ([], 64 << 20, 20)
    cgroup.update({"memory": {"limit": 32 << 20}, "pids": {"limit": -1}})
    assert (cgroup.stats().memory_limit, cgroup.stats().pids_limit) == (32 << 20, -1)


def test_every_process_is_killed_and_the_cgroup_deleted(cgroup: Cgroup) -> None:
    cgroup.create({})
    pid = spawn(cgroup, forks=4)
    assert len(cgroup.pids()) == 5
    cgroup.kill_all()
    assert died_of(pid) == signal.SIGKILL
    cgroup.delete()
    assert not cgroup.exists()
    cgroup.delete()
    cgroup.kill_all()


def test_deleting_kills_what_still_runs_also_in_cgroups_below(cgroup: Cgroup) -> None:
    cgroup.create({})
    below = open_cgroup(f"{cgroup.path}/deep/deeper", _hierarchies(cgroup))
    below.create({})
    pid = spawn(below)
    assert cgroup.pids() == [pid]
    cgroup.delete()
    assert died_of(pid) == signal.SIGKILL


def _hierarchies(cgroup: Cgroup) -> Hierarchies:
    return next(found for found in versions() if type(open_cgroup("x/y", found)) is type(cgroup))


def test_a_frozen_process_does_not_run_until_it_is_thawed(cgroup: Cgroup) -> None:
    cgroup.create({})
    pid = spawn(cgroup)
    cgroup.freeze(True)
    os.kill(pid, signal.SIGUSR1)
    time.sleep(0.02)  # long enough to answer, were it running
    assert os.waitpid(pid, os.WNOHANG) == (0, 0)
    cgroup.freeze(False)
    assert died_of(pid) == -7


def test_a_cgroup_in_use_is_not_taken_over(cgroup: Cgroup) -> None:
    cgroup.create({})
    pid = spawn(cgroup)
    with pytest.raises(Conflict, match="in use"):
        cgroup.create({})
    assert cgroup.pids() == [pid]
    cgroup.kill_all()
    died_of(pid)


def test_a_value_that_the_kernel_refuses_leaves_nothing_behind(cgroup: Cgroup) -> None:
    warnings = cgroup.create({"cpu": {"cpus": "0"}})
    cgroup.delete()
    if warnings:
        pytest.skip("the unified hierarchy of this machine has no controllers")
    with pytest.raises(InvalidArgument, match=r"cpuset\.cpus: the kernel refuses 'lots'"):
        cgroup.create({"cpu": {"cpus": "lots"}})
    assert not cgroup.exists()


def test_devices_that_are_not_allowed_cannot_be_opened(cgroup: Cgroup) -> None:
    cgroup.create(RESOURCES)
    pid = os.fork()
    if pid == 0:
        code = 3
        try:
            cgroup.add(0)
            os.close(os.open("/dev/null", os.O_RDWR))
            try:
                os.open("/dev/zero", os.O_RDONLY)
            except PermissionError:
                code = 0
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
