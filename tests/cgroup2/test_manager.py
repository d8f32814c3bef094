"""The cgroup manager on a real unified hierarchy: what it writes is what the kernel then does."""

import os
import signal
import time
from pathlib import Path

import pytest

from tests.cgroup2.support import MIB, MOUNT, events, run_in, running_in, setting, start_in, wait_for
from tiffin.errors import InvalidArgument
from tiffin.runtime.cgroups import Cgroup, open_cgroup

pytestmark = [pytest.mark.root, pytest.mark.cgroup2]


def sleep() -> int:
    while True:
        signal.pause()


def test_limits_are_in_the_kernels_files(cgroup: Cgroup) -> None:
    warnings = cgroup.create(
        {
            "memory": {"limit": 64 * MIB, "swap": 96 * MIB, "reservation": 32 * MIB},
            "cpu": {"shares": 512, "quota": 50_000, "period": 100_000, "cpus": "0"},
            "pids": {"limit": 20},
            "unified": {"memory.high": "max"},
        }
    )
    assert warnings == []
    expected = {
        "memory.max": str(64 * MIB),
        "memory.swap.max": str(32 * MIB),
        "memory.low": str(32 * MIB),
        "cpu.max": "50000 100000",
        "cpuset.cpus": "0",
        "pids.max": "20",
    }
    assert {name: setting(cgroup.path, name) for name in expected} == expected
    assert 1 < int(setting(cgroup.path, "cpu.weight")) < 100


def test_limits_change_while_it_runs_and_others_stay(cgroup: Cgroup) -> None:
    cgroup.create({"memory": {"limit": 64 * MIB}, "pids": {"limit": 20}})
    cgroup.update({"memory": {"limit": 32 * MIB}})
    assert (setting(cgroup.path, "memory.max"), setting(cgroup.path, "pids.max")) == (str(32 * MIB), "20")
    cgroup.update({"memory": {"limit": -1}, "pids": {"limit": -1}})
    assert (setting(cgroup.path, "memory.max"), setting(cgroup.path, "pids.max")) == ("max", "max")


@pytest.mark.parametrize("resources", [{"cpu": {"cpus": "lots"}}, {"unified": {"cpu.lots": "1"}}])
def test_what_the_kernel_refuses_leaves_nothing_behind(cgroup: Cgroup, resources: dict[str, object]) -> None:
    with pytest.raises(InvalidArgument, match=r"cpu"):
        cgroup.create(resources)
    assert not Path(MOUNT, cgroup.path).exists()


def test_too_much_memory_is_an_oom_kill_and_is_reported(cgroup: Cgroup) -> None:
    cgroup.create({"memory": {"limit": 16 * MIB, "swap": 16 * MIB}})
    assert run_in(cgroup, lambda: len(bytearray(b"x") * MIB) & 1) == 0
    assert not cgroup.oom_killed()
    assert run_in(cgroup, lambda: len(bytearray(b"x") * (64 * MIB)) & 1) == -signal.SIGKILL
    assert cgroup.oom_killed()
    assert cgroup.stats().memory_limit == 16 * MIB


def test_a_cgroup_left_by_a_crash_is_made_anew(cgroup: Cgroup) -> None:
    cgroup.create({"memory": {"limit": 16 * MIB, "swap": 16 * MIB}, "devices": [{"allow": False}]})
    run_in(cgroup, lambda: len(bytearray(b"x") * (64 * MIB)) & 1)
    assert cgroup.oom_killed()
    cgroup.create({})
    assert not cgroup.oom_killed()
    assert setting(cgroup.path, "memory.max") == "max"
    assert run_in(cgroup, lambda: os.open("/dev/null", os.O_RDWR) < 0) == 0


def test_processor_time_beyond_the_quota_is_throttled(cgroup: Cgroup) -> None:
    cgroup.create({"cpu": {"quota": 5_000, "period": 100_000}})

    def spin() -> int:
        while True:
            pass

    with running_in(cgroup, spin):
        wait_for(lambda: cgroup.stats().throttled_periods > 1)
    stats = cgroup.stats()
    assert stats.throttled_time > 0
    assert stats.cpu > 0


def test_forks_beyond_the_limit_fail(cgroup: Cgroup) -> None:
    cgroup.create({"pids": {"limit": 10}})

    def bomb() -> int:
        for made in range(50):
            try:
                if os.fork() == 0:
                    sleep()
            except BlockingIOError:
                return made
        return 50

    assert run_in(cgroup, bomb) == 9
    assert len(cgroup.pids()) == cgroup.stats().pids == 9
    assert events(cgroup.path, "pids.events")["max"] == 1
    cgroup.kill_all()
    wait_for(lambda: cgroup.stats().pids == 0)


def test_processes_that_fork_all_the_time_are_all_killed(cgroup: Cgroup) -> None:
    cgroup.create({"pids": {"limit": 30}})

    def flee() -> int:
        while True:
            try:
                if os.fork():
                    return 0
            except BlockingIOError:
                pass

    for _ in range(3):
        os.waitpid(start_in(cgroup, flee), 0)
    cgroup.kill_all()
    assert cgroup.pids() == []
    wait_for(lambda: events(cgroup.path, "cgroup.events")["populated"] == 0)


def test_a_frozen_process_does_not_run_until_it_is_thawed_and_can_be_killed(cgroup: Cgroup) -> None:
    cgroup.create({})
    began, tell = os.pipe()

    def count() -> int:
        while True:
            os.write(tell, b"x")
            time.sleep(0.001)

    with running_in(cgroup, count) as pid:
        assert os.read(began, 1) == b"x"
        cgroup.freeze(True)
        assert events(cgroup.path, "cgroup.events")["frozen"] == 1
        os.set_blocking(began, False)
        with pytest.raises(BlockingIOError):
            while os.read(began, 1 << 16):
                pass
        with pytest.raises(BlockingIOError):
            os.read(began, 1)
        cgroup.freeze(False)
        os.set_blocking(began, True)
        assert os.read(began, 1) == b"x"
        cgroup.freeze(True)
        cgroup.kill_all()
        assert cgroup.pids() == []
        assert os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    os.close(began)
    os.close(tell)


def test_deleting_takes_what_the_container_made_below(cgroup: Cgroup) -> None:
    cgroup.create({"pids": {"limit": 20}})
    below = open_cgroup(f"{cgroup.path}/deep/deeper")
    below.create({"pids": {"limit": 5}})
    pid = start_in(below, sleep)
    wait_for(lambda: cgroup.pids() == [pid])
    cgroup.delete()
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
    assert not Path(MOUNT, cgroup.path).exists()
