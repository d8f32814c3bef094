"""Each limit is read back from inside the container, and bites."""

import json
import os
import stat
from pathlib import Path

import pytest

from tests.command import Tiffin
from tiffin.runtime.cgroups import detect

pytestmark = pytest.mark.root

MIB = 1 << 20
QUIET = ("run", "--rm", "--network", "none")
V1 = detect().version == 1


def seen(tiffin: Tiffin, options: list[str], script: str) -> str:
    return tiffin.ok(*QUIET, *options, "busybox", "sh", "-c", script)


def host_config(tiffin: Tiffin, *options: str, network: str = "none") -> dict[str, object]:
    name = tiffin.ok("create", "--network", network, *options, "busybox", "true")
    found = json.loads(tiffin.ok("inspect", name))[0]["HostConfig"]
    tiffin.ok("rm", name)
    return dict(found)


def needs(controller: str, file: str) -> None:
    """Skip where the kernel has no such file in a v1 cgroup."""
    mount = detect().v1.get(controller, "")
    if not mount or not Path(mount, file).exists():
        pytest.skip(f"this kernel has no {file}")


def block_device() -> Path:
    for entry in sorted(Path("/sys/block").iterdir()):
        path = Path("/dev", entry.name)
        if (
            not entry.name.startswith(("loop", "ram", "zram"))
            and path.exists()
            and stat.S_ISBLK(path.stat().st_mode)
        ):
            return path
    pytest.skip("this machine has no disk")


def numbers(device: Path) -> str:
    status = device.stat()
    return f"{os.major(status.st_rdev)}:{os.minor(status.st_rdev)}"


@pytest.mark.skipif(not V1, reason="the files of cgroup v1")
@pytest.mark.parametrize(
    ("options", "file", "text"),
    [
        (["--cpus", "0.5"], "cpu/cpu.cfs_quota_us", "50000"),
        (["--cpu-period", "50000", "--cpu-quota", "20000"], "cpu/cpu.cfs_quota_us", "20000"),
        (["--cpu-period", "50000", "--cpu-quota", "20000"], "cpu/cpu.cfs_period_us", "50000"),
        (["-c", "300"], "cpu/cpu.shares", "300"),
        (["--cpuset-cpus", "0"], "cpuset/cpuset.cpus", "0"),
        (["--cpuset-mems", "0"], "cpuset/cpuset.mems", "0"),
        (["-m", "64m"], "memory/memory.limit_in_bytes", str(64 * MIB)),
        (["-m", "64m"], "memory/memory.memsw.limit_in_bytes", str(128 * MIB)),
        (["-m", "64m", "--memory-reservation", "32m"], "memory/memory.soft_limit_in_bytes", str(32 * MIB)),
        (["--memory-swappiness", "7"], "memory/memory.swappiness", "7"),
        (["-m", "64m", "--pids-limit", "40"], "pids/pids.max", "40"),
        ([], "pids/pids.max", "2048"),
        (["--pids-limit", "-1"], "pids/pids.max", "max"),
        (["--cpu-rt-runtime", "20000"], "cpu/cpu.rt_runtime_us", "20000"),
    ],
)
def test_a_limit_is_in_the_containers_cgroup(
    shared: Tiffin, options: list[str], file: str, text: str
) -> None:
    controller, _, name = file.partition("/")
    if controller != "pids":  # whose root has no limits
        needs(controller, name)
    assert seen(shared, options, f"cat /sys/fs/cgroup/{file}") == text


@pytest.mark.skipif(not V1, reason="the files of cgroup v1")
def test_block_devices_are_throttled(shared: Tiffin) -> None:
    needs("blkio", "blkio.throttle.read_bps_device")
    disk = block_device()
    options = [
        *("--device-read-bps", f"{disk}:1mb", "--device-write-bps", f"{disk}:2mb"),
        *("--device-read-iops", f"{disk}:100", "--device-write-iops", f"{disk}:200"),
    ]
    script = "cd /sys/fs/cgroup/blkio; for f in read_bps write_bps read_iops write_iops; do " \
        "cat blkio.throttle.${f}_device; done"  # fmt: skip
    at = numbers(disk)
    assert seen(shared, options, script).splitlines() == [
        f"{at} {MIB}", f"{at} {2 * MIB}", f"{at} 100", f"{at} 200",
    ]  # fmt: skip


@pytest.mark.skipif(not V1, reason="the files of cgroup v1")
def test_a_weight_of_block_io(shared: Tiffin) -> None:
    needs("blkio", "blkio.bfq.io_serviced")
    assert seen(shared, ["--blkio-weight", "300"], "cat /sys/fs/cgroup/blkio/blkio.bfq.weight") == "300"


def test_a_memory_hog_is_killed_and_the_record_says_so(shared: Tiffin) -> None:
    hog = ["dd", "if=/dev/zero", "of=/dev/null", "bs=64M", "count=1"]
    done = shared("run", "--name", "hog", "--network", "none", "-m", "16m", "busybox", *hog)
    assert done.returncode == 137, done.stderr
    state = json.loads(shared.ok("inspect", "hog"))[0]["State"]
    assert (state["OOMKilled"], state["ExitCode"]) == (True, 137)
    shared.ok("rm", "hog")


def test_a_killed_container_is_not_taken_for_an_oom_kill(shared: Tiffin) -> None:
    name = shared.ok("run", "-d", "--network", "none", "-m", "16m", "busybox", "sleep", "100")
    shared.ok("kill", name)
    shared.ok("wait", name)
    state = json.loads(shared.ok("inspect", name))[0]["State"]
    assert (state["OOMKilled"], state["ExitCode"]) == (False, 137)
    shared.ok("rm", name)


def test_a_fork_bomb_is_bounded(shared: Tiffin) -> None:
    bomb = "i=0; while [ $i -lt 60 ]; do sleep 5 & i=$((i+1)); done 2>/dev/null; ls /proc | grep -c '^[0-9]'"
    done = shared(*QUIET, "--pids-limit", "20", "busybox", "sh", "-c", bomb)
    assert "fork" in done.stderr or int(done.stdout or 0) <= 20, (done.stdout, done.stderr)


def test_open_files_are_limited_alike_wherever_it_is_started_from(shared: Tiffin) -> None:
    hard = int(seen(shared, [], "ulimit -Hn"))
    assert seen(shared, [], "ulimit -n") == "1024"
    assert 1024 <= hard <= 524288
    name = shared.ok("run", "-d", "--network", "none", "--ulimit", "nofile=50:60", "busybox", "sleep", "100")
    assert shared.ok("exec", name, "sh", "-c", "ulimit -n; ulimit -Hn") == "50\n60"
    shared.ok("rm", "-f", name)


@pytest.mark.parametrize(
    ("name", "letter", "value", "text"),
    [
        ("core", "c", "0", "0"),
        ("fsize", "f", "1048576", "2048"),
        ("stack", "s", "1048576", "1024"),
        ("memlock", "l", "65536", "64"),
        ("cpu", "t", "100", "100"),
    ],
)
def test_a_ulimit_is_the_shells(shared: Tiffin, name: str, letter: str, value: str, text: str) -> None:
    assert seen(shared, ["--ulimit", f"{name}={value}"], f"ulimit -{letter}") == text


def test_inspect_says_what_was_asked(shared: Tiffin) -> None:
    disk = block_device()
    found = host_config(
        shared, "--cpuset-mems", "0", "--memory-swappiness", "5", "--blkio-weight", "100", "-m", "64m",
        "--device-read-bps", f"{disk}:1mb", "--device", "/dev/null:/dev/n:r", "--device-cgroup-rule", "c 1:3 r",
        "--cgroup-parent", "/tiffin-test", "--bandwidth", "8mbit", "--annotation", "a=b", network="bridge",
    )  # fmt: skip
    expected = {
        "CpusetMems": "0", "MemorySwappiness": 5 if V1 else None, "BlkioWeight": 100,
        "BlkioDeviceReadBps": [{"Path": str(disk), "Rate": MIB}],
        "Devices": [{"PathOnHost": "/dev/null", "PathInContainer": "/dev/n", "CgroupPermissions": "r"}],
        "DeviceCgroupRules": ["c 1:3 r"], "CgroupParent": "/tiffin-test",
        "Bandwidth": {"In": 8_000_000, "Out": 8_000_000}, "Annotations": {"a": "b"},
    }  # fmt: skip
    assert {key: found[key] for key in expected} == expected


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--oom-score-adj", "2000"], "Invalid value 2000, range for oom score adj is [-1000, 1000]"),
        (["--blkio-weight", "5"], "Range of blkio weight is from 10 to 1000"),
        (["--memory-swappiness", "101"], "Invalid value: 101, valid memory swappiness range is 0-100"),
        (["--cpu-period", "10"], "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s"),
        (["--cpu-quota", "10"], "CPU cfs quota can not be less than 1ms (i.e. 1000)"),
        (["--cpuset-cpus", "4000"], "Requested CPUs are not available - requested 4000, available: "),
        (["--cpuset-mems", "99"], "Requested memory nodes are not available - requested 99, available: "),
        (["--cpuset-cpus", "1-"], "Invalid value 1- for cpuset cpus"),
        (
            ["--cpu-rt-period", "10", "--cpu-rt-runtime", "20"],
            "runtime cannot be higher than cpu real-time period",
        ),
        (["--memory-reservation", "1m"], "Minimum memory reservation allowed is 6MB"),
        (["--device", "/dev/absent"], 'adding custom device "/dev/absent": no such file or directory'),
        (["--device", "/etc/passwd:/dev/x"], 'adding custom device "/etc/passwd": not a device node'),
        (["--device-read-bps", "/dev/absent:1mb"], "/dev/absent"),
        (["--device-read-bps", "/dev/null:1mb"], "/dev/null is not a block device"),
        (["--cgroup-parent", "/a/../b"], "invalid cgroup-parent '/a/../b'"),
        (["--bandwidth", "8mbit"], "--bandwidth needs a network of the container's own"),
        (["--gpus", "all"], 'could not select device driver "" with capabilities: [[gpu]]'),
        (["--storage-opt", "size=1g"], "--storage-opt is supported only for overlay over xfs"),
        (["--security-opt", "apparmor=mine"], "AppArmor"),
        (["--security-opt", "label=type:x"], "SELinux"),
        (["--security-opt", "systempaths=confined"], "invalid --security-opt"),
    ],
)
def test_a_value_that_cannot_be_is_refused_in_one_line(shared: Tiffin, options: list[str], text: str) -> None:
    if options[0].startswith("--cpu-rt"):
        needs("cpu", "cpu.rt_runtime_us")
    assert text in shared.fails(*QUIET, *options, "busybox", "true", code=125)
    assert shared.ok("ps", "-aq") == ""


def test_oom_kill_disable_without_a_limit_is_warned_of(shared: Tiffin) -> None:
    done = shared("create", "--network", "none", "--oom-kill-disable", "busybox", "true")
    expected = "no memory limit is set" if V1 else "Your kernel does not support OomKillDisable"
    assert expected in done.stderr
    shared.ok("rm", done.stdout.strip())


def test_a_cgroup_parent_holds_the_container(shared: Tiffin) -> None:
    parent = f"tiffin-test-{os.getpid()}"
    try:
        name = shared.ok(
            "run",
            "-d",
            "--network",
            "none",
            "--cgroup-parent",
            f"/{parent}",
            "-m",
            "32m",
            "busybox",
            "sleep",
            "100",
        )
        found = [mount for mount in detect().mounts() if Path(mount, parent, name).is_dir()]
        assert found == detect().mounts()
        assert shared.ok("exec", name, "echo", "in") == "in"
        shared.ok("rm", "-f", name)
        assert not any(Path(mount, parent, name).exists() for mount in detect().mounts())
    finally:
        for mount in detect().mounts():
            if Path(mount, parent).is_dir():
                Path(mount, parent).rmdir()


def test_update_wants_an_option_and_leaves_what_is_given_as_nothing(shared: Tiffin) -> None:
    name = shared.ok("create", "--network", "none", "--cpus", "0.5", "-m", "64m", "busybox", "true")
    before = shared.ok("inspect", "-f", "{{json .HostConfig}}", name)
    assert "you must provide one or more flags when using this command" in shared.fails("update", name)
    nothing = ("--cpus", "0", "-m", "0", "--memory-swap", "0", "--pids-limit", "0", "--cpuset-cpus", "")
    assert shared.ok("update", *nothing, name) == name
    assert shared.ok("inspect", "-f", "{{json .HostConfig}}", name) == before
    assert 'invalid argument "-1"' in shared.fails("update", "-m", "-1", name)
    shared.ok("rm", name)
