"""Changing limits of containers that run and that do not."""

from pathlib import Path

import pytest

from tests.integration.engine.conftest import Ground, await_that
from tiffin import Conflict, InvalidArgument, NotFound
from tiffin.containers import Resources
from tiffin.containers.record import RestartPolicy
from tiffin.runtime.cgroups import detect, open_cgroup

pytestmark = pytest.mark.root

MIB = 1 << 20


def limits(ground: Ground, container: str) -> dict[str, object]:
    return dict(ground.containers.inspect(container)["HostConfig"])


def read(ground: Ground, container: str, v1: str, v2: str) -> str:
    """A control file of the container's cgroup."""
    found = detect()
    path = f"{ground.engine.layout.cgroup}/{container}"
    if found.version == 2:
        return Path(found.unified, path, v2).read_text().strip()
    controller = v1.partition(".")[0]
    return Path(found.v1[controller], path, v1).read_text().strip()


def memory(ground: Ground, container: str) -> str:
    return read(ground, container, "memory.limit_in_bytes", "memory.max")


def test_a_running_container_has_its_new_limits_at_once_and_after_a_restart(ground: Ground) -> None:
    container = ground.start("sleep", "1000", resources=Resources(memory=64 * MIB))
    wanted = Resources(memory=32 * MIB, pids_limit=50, nano_cpus=500_000_000, cpu_shares=300)
    assert ground.containers.update(container, wanted) == ()
    for _ in range(2):
        assert memory(ground, container) == str(32 * MIB)
        assert read(ground, container, "pids.max", "pids.max") == "50"
        shown = limits(ground, container)
        assert (shown["Memory"], shown["MemorySwap"], shown["PidsLimit"]) == (32 * MIB, 128 * MIB, 50)
        assert (shown["NanoCpus"], shown["CpuShares"]) == (500_000_000, 300)
        ground.containers.kill(container)
        ground.containers.wait(container)
        ground.containers.start(container)


def test_a_stopped_container_starts_with_its_new_limits(ground: Ground) -> None:
    container = ground.create("sleep", "1000", resources=Resources(pids_limit=30))
    ground.containers.update(container, Resources(memory=20 * MIB))
    ground.containers.update(container, Resources(pids_limit=-1))
    ground.containers.start(container)
    assert memory(ground, container) == str(20 * MIB)
    assert read(ground, container, "pids.max", "pids.max") == "max"


def test_more_memory_in_use_than_allowed_is_refused_and_nothing_changes(ground: Ground) -> None:
    fill = "dd if=/dev/zero of=/dev/shm/f bs=1M count=40 2>/dev/null; echo full; exec sleep 1000"
    container = ground.start("sh", "-c", fill, resources=Resources(memory=60 * MIB, memory_swap=60 * MIB))
    while b"full" not in ground.logs(container):
        pass
    before = limits(ground, container)
    wanted = Resources(memory=10 * MIB, memory_swap=10 * MIB, pids_limit=9, cpu_shares=77)
    with pytest.raises(Conflict, match=f"Cannot update container {container}: unable to set memory limit to"):
        ground.containers.update(container, wanted)
    assert limits(ground, container) == before
    assert memory(ground, container) == str(60 * MIB)
    assert read(ground, container, "pids.max", "pids.max") == "2048"


def test_what_contradicts_is_refused_in_dockers_words(ground: Ground) -> None:
    container = ground.create("true", resources=Resources(nano_cpus=500_000_000, memory=64 * MIB))
    for wanted, text in (
        (Resources(cpu_period=50_000), "CPU Period cannot be updated as NanoCPUs has already been set"),
        (Resources(cpu_quota=50_000), "CPU Quota cannot be updated as NanoCPUs has already been set"),
        (Resources(memory=200 * MIB), "Memory limit should be smaller than already set memoryswap limit"),
        (Resources(memory=MIB), "Minimum memory limit allowed is 6MB"),
        (Resources(blkio_weight=5), "Range of blkio weight is from 10 to 1000"),
        (Resources(cpuset_cpus="999"), "Requested CPUs are not available"),
        (Resources(bandwidth_in=10**7), "--bandwidth needs a network of the container's own"),
        (Resources(oom_kill_disable=True), "oom_kill_disable cannot be changed; make the container anew"),
    ):
        with pytest.raises(InvalidArgument) as caught:
            ground.containers.update(container, wanted)
        assert text in str(caught.value)
    quota = ground.create("true", resources=Resources(cpu_quota=50_000))
    with pytest.raises(
        InvalidArgument, match="Nano CPUs cannot be updated as CPU Quota has already been set"
    ):
        ground.containers.update(quota, Resources(nano_cpus=500_000_000))
    with pytest.raises(NotFound, match="No such container: absent"):
        ground.containers.update("absent", Resources(memory=64 * MIB))


@pytest.mark.parametrize("limited", [Resources(nano_cpus=500_000_000), Resources(cpu_quota=50_000)])
def test_a_quota_of_minus_one_lifts_the_limit_of_cpu_time_for_good(
    ground: Ground, limited: Resources
) -> None:
    container = ground.start("sleep", "1000", resources=limited)
    assert cpu_quota(ground, container) == "50000"
    ground.containers.update(container, Resources(cpu_quota=-1))
    assert cpu_quota(ground, container) in ("-1", "max")
    ground.containers.restart(container, timeout=0)
    assert cpu_quota(ground, container) in ("-1", "max")
    assert (limits(ground, container)["NanoCpus"], limits(ground, container)["CpuQuota"]) == (0, -1)
    ground.containers.update(container, Resources(nano_cpus=250_000_000))
    assert cpu_quota(ground, container) == "25000"
    ground.containers.restart(container, timeout=0)
    assert cpu_quota(ground, container) == "25000"


def cpu_quota(ground: Ground, container: str) -> str:
    return read(ground, container, "cpu.cfs_quota_us", "cpu.max").split()[0]


def test_swap_and_processes_are_unlimited_by_minus_one(ground: Ground) -> None:
    container = ground.start("sleep", "1000", resources=Resources(memory=64 * MIB, pids_limit=10))
    ground.containers.update(container, Resources(memory_swap=-1, pids_limit=-1))
    assert read(ground, container, "pids.max", "pids.max") == "max"
    swap = read(ground, container, "memory.memsw.limit_in_bytes", "memory.swap.max")
    assert swap == "max" or int(swap) > 1 << 60
    shown = limits(ground, container)
    assert (shown["Memory"], shown["MemorySwap"], shown["PidsLimit"]) == (64 * MIB, -1, -1)
    ground.containers.update(container, Resources(memory=128 * MIB))  # no swap limit is in its way
    assert memory(ground, container) == str(128 * MIB)


def test_what_is_named_with_nothing_stays(ground: Ground) -> None:
    resources = Resources(memory=64 * MIB, nano_cpus=500_000_000, pids_limit=10, cpu_shares=300)
    container = ground.create("true", resources=resources)
    before = limits(ground, container)
    assert ground.containers.update(container, Resources()) == ()
    assert limits(ground, container) == before


def test_memory_can_be_limited_where_there_was_no_limit(ground: Ground) -> None:
    container = ground.start("sleep", "1000")
    ground.containers.update(container, Resources(memory=64 * MIB))
    assert memory(ground, container) == str(64 * MIB)


def test_a_refused_change_puts_every_file_back(ground: Ground) -> None:
    from tiffin.runtime.cgroups.change import change

    container = ground.start("sleep", "1000", resources=Resources(cpu_shares=500, memory=64 * MIB))
    cgroup = open_cgroup(f"{ground.engine.layout.cgroup}/{container}")
    before = [Path(d, name).read_text() for d, name in cgroup.limit_files() if Path(d, name).exists()]
    broken = {
        "memory": {"limit": 32 * MIB, "swap": 40 * MIB},
        "cpu": {"shares": 900, "quota": 20000, "cpus": "4000"},
        "pids": {"limit": 5},
    }
    with pytest.raises(InvalidArgument):
        change(cgroup, broken)
    after = [Path(d, name).read_text() for d, name in cgroup.limit_files() if Path(d, name).exists()]
    assert after == before


def test_a_restart_policy_is_changed_and_holds_at_once(ground: Ground) -> None:
    container = ground.start("sh", "-c", "sleep 0.2; exit 3")
    ground.containers.update(container, Resources(), RestartPolicy("on-failure", 1))
    assert limits(ground, container)["RestartPolicy"] == {"Name": "on-failure", "MaximumRetryCount": 1}
    await_that(lambda: ground.containers.inspect(container)["RestartCount"] == 1)
    await_that(lambda: ground.state(container)["Status"] == "exited")
    ground.containers.update(container, Resources(), RestartPolicy())
    assert limits(ground, container)["RestartPolicy"] == {"Name": "no", "MaximumRetryCount": 0}


def test_a_container_that_is_removed_at_its_end_has_no_restart_policy(ground: Ground) -> None:
    container = ground.start("sleep", "1000", auto_remove=True)
    with pytest.raises(
        InvalidArgument, match="Restart policy cannot be updated because AutoRemove is enabled"
    ):
        ground.containers.update(container, Resources(), RestartPolicy("always"))


def test_a_paused_container_takes_limits(ground: Ground) -> None:
    container = ground.start("sleep", "1000")
    ground.containers.pause(container)
    ground.containers.update(container, Resources(pids_limit=44))
    assert read(ground, container, "pids.max", "pids.max") == "44"
    assert ground.containers.stats(container).running
    ground.containers.unpause(container)
