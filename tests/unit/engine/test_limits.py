"""Which limits make sense, which this kernel has, and what changing them comes to."""

from pathlib import Path

import pytest

from tiffin.containers import Resources
from tiffin.engine import limits
from tiffin.engine.kernel_support import adapt
from tiffin.engine.stats import Sample, usage
from tiffin.engine.update import merged
from tiffin.errors import InvalidArgument, Unsupported
from tiffin.runtime.cgroups import Hierarchies, Stats

MIB = 1 << 20
ALL = Resources(
    cpuset_cpus="0-1", cpuset_mems="0", memory=64 * MIB, memory_swappiness=5, oom_kill_disable=True,
    blkio_weight=100, blkio_weight_device=(("/dev/a", 10),), device_read_bps=(("/dev/a", 1),),
    device_write_bps=(("/dev/a", 1),), device_read_iops=(("/dev/a", 1),), device_write_iops=(("/dev/a", 1),),
)  # fmt: skip


@pytest.fixture
def bare(tmp_path: Path) -> Hierarchies:
    """Version 1, with controllers that have none of the files that matter here."""
    for name in ("cpu", "cpuset", "memory", "blkio"):
        (tmp_path / name).mkdir()
    (tmp_path / "cpuset/cpuset.cpus").write_text("0-3\n")
    (tmp_path / "cpuset/cpuset.mems").write_text("0\n")
    return Hierarchies(1, {name: f"{tmp_path}/{name}" for name in ("cpu", "cpuset", "memory", "blkio")}, "")


def test_what_the_kernel_lacks_is_left_out_with_a_warning_each(bare: Hierarchies) -> None:
    found, warnings = adapt(ALL, bare)
    assert found == Resources(cpuset_cpus="0-1", cpuset_mems="0", memory=64 * MIB)
    assert [warning.partition(".")[0] for warning in warnings] == [
        "Your kernel does not support memory swappiness capabilities or the cgroup is not mounted",
        "Your kernel does not support OomKillDisable",
        "Your kernel does not support Block I/O weight or the cgroup is not mounted",
        "Your kernel does not support Block I/O weight_device or the cgroup is not mounted",
        "Your kernel does not support BPS Block I/O read limit or the cgroup is not mounted",
        "Your kernel does not support BPS Block I/O write limit or the cgroup is not mounted",
        "Your kernel does not support IOPS Block read limit or the cgroup is not mounted",
        "Your kernel does not support IOPS Block write limit or the cgroup is not mounted",
    ]


def test_what_the_kernel_has_stays(bare: Hierarchies) -> None:
    files = {
        "memory": ("memory.swappiness", "memory.oom_control"),
        "blkio": ("blkio.bfq.io_serviced", *(f"blkio.throttle.{way}_{unit}_device"
                                           for way in ("read", "write") for unit in ("bps", "iops"))),
    }  # fmt: skip
    for controller, names in files.items():
        for name in names:
            Path(bare.v1[controller], name).touch()
    assert adapt(ALL, bare) == (ALL, [])


def test_realtime_without_realtime_groups_is_refused(bare: Hierarchies) -> None:
    with pytest.raises(Unsupported, match="Your kernel does not support CPU real-time scheduler"):
        adapt(Resources(cpu_rt_runtime=1000), bare)


@pytest.mark.parametrize(
    ("resources", "text"),
    [
        (
            Resources(cpuset_cpus="2-4"),
            "Requested CPUs are not available - requested 2-4, available: 0-3",
        ),
        (
            Resources(cpuset_mems="1"),
            "Requested memory nodes are not available - requested 1, available: 0",
        ),
        (Resources(cpuset_cpus="0,,1"), "Invalid value 0,,1 for cpuset cpus"),
        (Resources(cpuset_cpus="3-1"), "Invalid value 3-1 for cpuset cpus"),
        (Resources(cpuset_cpus="0-99999999"), "Invalid value 0-99999999 for cpuset cpus"),
        (Resources(cpuset_mems="\u0663"), "Invalid value \u0663 for cpuset mems"),
    ],
)
def test_sets_of_cpus_and_nodes_are_checked(bare: Hierarchies, resources: Resources, text: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        adapt(resources, bare)
    assert str(caught.value) == text


def test_limits_that_every_kernel_has_are_not_asked_about() -> None:
    common = Resources(nano_cpus=10**9, cpu_shares=5, memory=64 * MIB, memory_swap=-1, pids_limit=5)
    assert not limits.depend_on_kernel(common)
    assert limits.depend_on_kernel(Resources(memory_swappiness=0))


def test_resources_survive_their_document() -> None:
    import json

    assert Resources.from_document(json.loads(json.dumps(ALL._asdict()))) == ALL
    assert Resources.from_document({"memory": 5, "of_the_future": 1}, ALL) == ALL._replace(memory=5)


def test_the_swap_that_a_limit_implied_stays_when_memory_is_changed() -> None:
    before = Resources(memory=64 * MIB)
    after = merged(before, Resources(memory=32 * MIB), {"memory"})
    assert (after.memory, after.memory_swap) == (32 * MIB, 128 * MIB)
    unlimited = Resources(memory=64 * MIB, memory_swap=-1)
    assert merged(unlimited, Resources(memory=999 * MIB), {"memory"}).memory_swap == -1
    assert merged(Resources(), Resources(memory=MIB), {"memory"}).memory_swap == 0


def look(cpu: int, system: int, **fields: int) -> Sample:
    values = {**dict.fromkeys(Stats._fields, 0), "cpu": cpu, **fields}
    return Sample("id", "name", True, 0, system, 4, Stats(**values), 1000 * MIB, 5, 6)


def test_cpu_is_the_share_of_all_cpus_times_their_number() -> None:
    # In one second of four CPUs' time it used half a second of one.
    assert usage(look(1_500, 14_000), look(1_000, 10_000)).cpu == 50.0
    assert usage(look(1_500, 14_000), None).cpu == 0.0
    assert usage(look(1_000, 10_000), look(1_000, 10_000)).cpu == 0.0
    assert usage(look(500, 14_000), look(1_000, 10_000)).cpu == 0.0  # restarted meanwhile


def test_memory_without_inactive_file_pages_of_the_limit_or_the_machine() -> None:
    found = usage(look(0, 0, memory=300 * MIB, memory_inactive_file=100 * MIB, memory_limit=400 * MIB), None)
    assert (found.memory, found.memory_limit, found.memory_percent) == (200 * MIB, 400 * MIB, 50.0)
    for limit in (-1, 0, 5000 * MIB):
        assert usage(look(0, 0, memory=10 * MIB, memory_limit=limit), None).memory_limit == 1000 * MIB
    assert usage(look(0, 0, memory=10, memory_inactive_file=20), None).memory == 10


def test_what_the_kernel_does_not_say_is_shown_as_nothing() -> None:
    found = usage(look(-1, 0, memory=-1, pids=-1), look(-1, 0))
    assert (found.cpu, found.memory, found.pids) == (0.0, 0, 0)
