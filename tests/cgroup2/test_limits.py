"""Changing and watching limits on unified control groups, and what they do not have."""

import json
import os
import stat
from pathlib import Path

import pytest

from tests.cgroup2.support import MIB, setting
from tests.command import Tiffin
from tiffin.state import locate

pytestmark = [pytest.mark.root, pytest.mark.cgroup2]

QUIET = ("run", "-d", "--network", "none")


def path_of(tiffin: Tiffin, container: str) -> str:
    return f"{locate(str(tiffin.root)).cgroup}/{container}"


def test_update_changes_a_running_container_whole_or_not_at_all(shared: Tiffin) -> None:
    fill = "dd if=/dev/zero of=/dev/shm/f bs=1M count=30 2>/dev/null; echo full; exec sleep 999"
    container = shared.ok(*QUIET, "-m", "64m", "--memory-swap", "64m", "busybox", "sh", "-c", fill)
    path = path_of(shared, container)
    shared.ok(
        "update", "-m", "60m", "--memory-swap", "60m", "--cpus", "0.25", "--pids-limit", "30", container
    )
    expected = {
        "memory.max": str(60 * MIB),
        "memory.swap.max": "0",
        "cpu.max": "25000 100000",
        "pids.max": "30",
    }
    assert {name: setting(path, name) for name in expected} == expected
    while "full" not in shared.ok("logs", container):
        pass
    text = shared.fails("update", "-m", "10m", "--memory-swap", "10m", "--pids-limit", "9", container)
    assert f"Cannot update container {container}: unable to set memory limit to {10 * MIB}" in text
    assert {name: setting(path, name) for name in expected} == expected
    assert json.loads(shared.ok("inspect", container))[0]["HostConfig"]["PidsLimit"] == 30
    found = json.loads(shared.ok("stats", "--no-stream", "--format", "json", container))
    assert found["MemUsage"].endswith(" / 60MiB")
    assert 25 <= float(found["MemUsage"].partition("MiB")[0]) <= 60
    shared.ok("rm", "-f", container)


def test_what_v2_does_not_have_is_left_out_with_dockers_warning(shared: Tiffin) -> None:
    done = shared(
        "run",
        "--rm",
        "--network",
        "none",
        "--memory-swappiness",
        "5",
        "--oom-kill-disable",
        "busybox",
        "true",
    )
    assert done.returncode == 0
    assert "WARNING: Your kernel does not support memory swappiness capabilities" in done.stderr
    assert "WARNING: Your kernel does not support OomKillDisable. OomKillDisable discarded." in done.stderr
    text = shared.fails("run", "--rm", "--cpu-rt-runtime", "1000", "busybox", "true", code=125)
    assert "Your kernel does not support CPU real-time scheduler" in text


def test_block_devices_are_throttled(shared: Tiffin) -> None:
    if "io" not in setting("", "cgroup.controllers").split():
        pytest.skip("this kernel has no io controller")
    disk = next(
        (
            path
            for path in (Path("/dev", entry.name) for entry in sorted(Path("/sys/block").iterdir()))
            if not path.name.startswith(("loop", "ram", "zram"))
            and path.exists()
            and stat.S_ISBLK(path.stat().st_mode)
        ),
        None,
    )
    assert disk is not None, "the guest has no disk"
    rdev = disk.stat().st_rdev
    options = ["--device-read-bps", f"{disk}:1mb", "--device-write-iops", f"{disk}:50"]
    container = shared.ok(*QUIET, *options, "busybox", "sleep", "999")
    found = setting(path_of(shared, container), "io.max")
    assert found == f"{os.major(rdev)}:{os.minor(rdev)} rbps={MIB} wbps=max riops=max wiops=50"
    shared.ok("rm", "-f", container)


def test_a_device_rule_opens_a_device_by_number(shared: Tiffin) -> None:
    script = "mknod /dev/x c 1 11; (exec 3</dev/x) 2>/dev/null && echo yes || echo no"
    rights = ["--cap-add", "MKNOD", "--cap-add", "SYSLOG"]
    run = ("run", "--rm", "--network", "none", *rights)
    assert shared.ok(*run, "busybox", "sh", "-c", script) == "no"
    assert shared.ok(*run, "--device-cgroup-rule", "a 1:11 r", "busybox", "sh", "-c", script) == "yes"


def test_a_cgroup_parents_limit_holds_below_it(shared: Tiffin) -> None:
    parent = f"tiffin-parent-{os.getpid()}"
    container = shared.ok(*QUIET, "--cgroup-parent", parent, "-m", "32m", "busybox", "sleep", "999")
    assert setting(f"{parent}/{container}", "memory.max") == str(32 * MIB)
    shared.ok("rm", "-f", container)
    Path("/sys/fs/cgroup", parent).rmdir()
