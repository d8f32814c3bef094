"""Detection, v2 value mapping on a directory tree, and device programs on a small machine."""

import struct
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tiffin.errors import InvalidArgument, Unsupported
from tiffin.runtime.cgroups import Hierarchies, detect, open_cgroup
from tiffin.runtime.cgroups.devices import device_program
from tiffin.runtime.cgroups.v2 import settings as v2_settings
from tiffin.runtime.cgroups.v2 import weight_of_shares

HYBRID = """\
22 27 0:21 / /proc rw - proc proc rw
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:4 - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 / /sys/fs/cgroup/memory\\040odd rw shared:9 master:1 - cgroup cgroup rw,memory
40 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw,nsdelegate
"""
UNIFIED = "30 23 0:26 / /sys/fs/cgroup rw shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"


def detected(tmp_path, table: str) -> Hierarchies:
    (tmp_path / "mountinfo").write_text(table)
    return detect(str(tmp_path / "mountinfo"))


def test_a_machine_with_both_versions_is_limited_by_v1(tmp_path) -> None:
    found = detected(tmp_path, HYBRID)
    assert found.version == 1
    assert found.v1["cpu"] == found.v1["cpuacct"] == "/sys/fs/cgroup/cpu,cpuacct"
    assert found.v1["memory"] == "/sys/fs/cgroup/memory odd"
    assert found.unified == "/sys/fs/cgroup/unified"
    assert found.mounts() == ["/sys/fs/cgroup/cpu,cpuacct", "/sys/fs/cgroup/memory odd"]


def test_a_machine_with_only_the_unified_hierarchy_uses_v2(tmp_path) -> None:
    assert detected(tmp_path, UNIFIED) == Hierarchies(2, {}, "/sys/fs/cgroup")


def test_a_machine_without_cgroups_is_told_what_to_mount(tmp_path) -> None:
    with pytest.raises(Unsupported, match="mount -t cgroup2"):
        detected(tmp_path, "22 27 0:21 / /proc rw - proc proc rw\n")


@pytest.mark.parametrize("path", ["", "/a", "a/../b", "a//b", "a/.", "..", "a/b\n"])
def test_a_cgroup_path_that_leaves_its_parent_is_refused(path: str) -> None:
    with pytest.raises(InvalidArgument, match="invalid cgroup path"):
        open_cgroup(path)


@pytest.mark.parametrize(("shares", "weight"), [(2, 1), (1024, 100), (262144, 10000), (0, 1), (10**9, 10000)])
def test_cpu_shares_become_weights_through_the_agreed_points(shares: int, weight: int) -> None:
    assert weight_of_shares(shares) == weight


def test_resources_become_v2_settings() -> None:
    resources = {
        "memory": {"limit": 100, "swap": 250, "reservation": 50},
        "cpu": {"shares": 1024, "quota": 50000, "period": 100000, "cpus": "0-1"},
        "pids": {"limit": 2048},
        "blockIO": {"weight": 10, "throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 7}]},
    }
    assert v2_settings(resources) == [
        ("memory.swap.max", "150"),
        ("memory.max", "100"),
        ("memory.low", "50"),
        ("cpu.weight", "100"),
        ("cpu.max", "50000 100000"),
        ("cpuset.cpus", "0-1"),
        ("pids.max", "2048"),
        ("io.weight", "default 1"),
        ("io.max", "8:0 rbps=7"),
    ]
    unlimited = {"memory": {"limit": -1, "swap": -1}, "cpu": {"quota": -1}, "pids": {"limit": -1}}
    assert [value for _, value in v2_settings(unlimited)] == ["max", "max", "max 100000", "max"]


@pytest.mark.parametrize("memory", [{"swap": 5}, {"limit": 10, "swap": 5}])
def test_a_swap_limit_that_makes_no_sense_is_refused(memory: dict[str, int]) -> None:
    with pytest.raises(InvalidArgument, match="swap limit"):
        v2_settings({"memory": memory})


@pytest.fixture
def tree(tmp_path) -> Hierarchies:
    """A cgroup v2 mount as plain files, as the kernel would fill them. Making a cgroup is for tests/cgroup2."""
    for at in ("", "engine", "engine/one"):
        directory = tmp_path / at
        directory.mkdir(exist_ok=True)
        (directory / "cgroup.controllers").write_text("cpu memory pids hugetlb\n")
        (directory / "cgroup.procs").write_text("")
        for name in ("memory.max", "memory.swap.max", "cpu.max", "cpu.weight", "pids.max"):
            (directory / name).write_text("")
    return Hierarchies(2, {}, str(tmp_path))


def test_v2_limits_are_written_and_missing_controllers_are_named(tree: Hierarchies, tmp_path) -> None:
    cgroup = open_cgroup("engine/one", tree)
    warnings = cgroup.update({"memory": {"limit": 4096, "swap": 8192}, "blockIO": {"weight": 500}})
    assert warnings == ["this machine has no io cgroup controller; its limits are not set"]
    assert (tmp_path / "engine/one/memory.max").read_text() == "4096"
    assert (tmp_path / "engine/one/memory.swap.max").read_text() == "4096"


def test_v2_statistics_and_oom_kills_are_read(tree: Hierarchies, tmp_path) -> None:
    directory = tmp_path / "engine/one"
    (directory / "cpu.stat").write_text("usage_usec 5\nuser_usec 3\nsystem_usec 2\nnr_throttled 1\n")
    (directory / "memory.current").write_text("4096\n")
    (directory / "memory.max").write_text("max\n")
    (directory / "pids.current").write_text("3\n")
    (directory / "io.stat").write_text("8:0 rbytes=10 wbytes=20 rios=1\n8:16 rbytes=1 wbytes=2\n")
    (directory / "memory.events").write_text("low 0\noom 2\noom_kill 1\n")
    cgroup = open_cgroup("engine/one", tree)
    stats = cgroup.stats()
    assert (stats.cpu, stats.memory, stats.memory_limit, stats.pids) == (5000, 4096, -1, 3)
    assert (stats.read_bytes, stats.write_bytes, stats.throttled_periods) == (11, 22, 1)
    assert cgroup.oom_killed()


# ---- device programs ---------------------------------------------------------------------------------------

ACCESS = {"m": 1, "r": 2, "w": 4}
rules = st.lists(
    st.fixed_dictionaries(
        {
            "allow": st.booleans(),
            "type": st.sampled_from(["a", "b", "c", "c", "c"]),
            "access": st.sampled_from(["r", "w", "m", "rw", "rwm", "wm"]),
            "major": st.sampled_from([-1, 1, 5]),
            "minor": st.sampled_from([-1, 3, 7]),
        }
    ),
    max_size=6,
)


def execute(program: bytes, kind: int, access: int, major: int, minor: int) -> int:
    """The instructions that the compiler writes, as the kernel runs them."""
    context = {0: access << 16 | kind, 4: major, 8: minor}
    registers: dict[int, int] = {}
    at = 0
    while True:
        code, nibbles, offset, value = struct.unpack_from("<BBhi", program, at * 8)
        target, source = nibbles & 15, nibbles >> 4
        at += 1
        if code == 0x61:
            registers[target] = context[offset]
        elif code == 0xBF:
            registers[target] = registers[source]
        elif code == 0x57:
            registers[target] &= value
        elif code == 0x77:
            registers[target] >>= value
        elif code == 0xB7:
            registers[target] = value
        elif code == 0x15:
            at += offset if registers[target] == value else 0
        elif code == 0x55:
            at += offset if registers[target] != value else 0
        else:
            assert code == 0x95
            return registers[0]


def decide(listed: list[dict[str, Any]], kind: str, asked: int, major: int, minor: int) -> bool:
    for rule in reversed(listed):
        if rule["type"] == "a":
            return bool(rule["allow"])
        named = sum(ACCESS[letter] for letter in rule["access"])
        if rule["type"] != kind or rule["major"] not in (-1, major) or rule["minor"] not in (-1, minor):
            continue
        if rule["allow"] and not asked & ~named:
            return True
        if not rule["allow"] and asked & named:
            return False
    return False


@settings(max_examples=100, deadline=None)
@given(rules)
def test_a_device_program_decides_as_its_rules_do(listed: list[dict[str, Any]]) -> None:
    program = device_program(listed)
    for kind, number in (("b", 1), ("c", 2)):
        for asked in range(1, 8):
            for major, minor in ((1, 3), (1, 7), (5, 3), (9, 9)):
                expected = decide(listed, kind, asked, major, minor)
                assert bool(execute(program, number, asked, major, minor)) == expected


def test_a_device_rule_with_an_unknown_access_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="invalid device rule"):
        device_program([{"allow": True, "type": "c", "major": 1, "minor": 3, "access": "x"}])
