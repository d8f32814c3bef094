"""Devices of the host in a container: those that were given, and no others."""

import json
import os
import stat
from pathlib import Path

import pytest

from tests.command import Tiffin

pytestmark = pytest.mark.root

QUIET = ("run", "--rm", "--network", "none")
TUN = Path("/dev/net/tun")


@pytest.fixture
def tun() -> Path:
    """A device that containers do not have by default, and that opening does nothing to."""
    if not TUN.exists() or not stat.S_ISCHR(TUN.stat().st_mode):
        pytest.skip(f"this machine has no {TUN}")
    return TUN


def opens(tiffin: Tiffin, options: list[str], path: str, mode: str = "<>") -> bool:
    return (
        tiffin.ok(
            *QUIET,
            *options,
            "busybox",
            "sh",
            "-c",
            f"(exec 3{mode}{path}) 2>/dev/null && echo yes || echo no",
        )
        == "yes"
    )


def test_a_device_that_was_not_given_cannot_be_opened_even_when_it_is_made(shared: Tiffin, tun: Path) -> None:
    rdev = tun.stat().st_rdev
    node = f"mknod /dev/x c {os.major(rdev)} {os.minor(rdev)}; (exec 3<>/dev/x) 2>/dev/null && echo yes || echo no"
    made = shared.ok(*QUIET, "--cap-add", "MKNOD", "busybox", "sh", "-c", node)
    assert made == "no"
    rule = ["--device-cgroup-rule", f"c {os.major(rdev)}:{os.minor(rdev)} rwm"]
    assert shared.ok(*QUIET, "--cap-add", "MKNOD", *rule, "busybox", "sh", "-c", node) == "yes"


def test_a_device_is_there_and_opens(shared: Tiffin, tun: Path) -> None:
    assert opens(shared, ["--device", str(tun)], str(tun))
    assert opens(shared, ["--device", f"{tun}:/dev/elsewhere"], "/dev/elsewhere")


def test_a_device_opens_as_it_was_allowed(shared: Tiffin, tun: Path) -> None:
    assert opens(shared, ["--device", f"{tun}:{tun}:r"], str(tun), "<")
    assert not opens(shared, ["--device", f"{tun}:{tun}:r"], str(tun), "<>")


def test_a_directory_of_devices_is_given_whole(shared: Tiffin, tun: Path) -> None:
    assert opens(shared, ["--device", f"{tun.parent}:/dev/nets"], f"/dev/nets/{tun.name}")


def test_a_rule_for_any_kind_is_one_for_its_numbers(shared: Tiffin) -> None:
    """The kernel would read "a 1:11 r" as everything."""
    script = "cat /sys/fs/cgroup/devices/devices.list 2>/dev/null || true"
    listed = shared.ok(*QUIET, "--device-cgroup-rule", "a 1:11 r", "busybox", "sh", "-c", script).splitlines()
    assert "a *:* rwm" not in listed
    assert not listed or {"c 1:11 r", "b 1:11 r"} <= set(listed)


def test_a_privileged_container_has_the_machines_devices(shared: Tiffin, tun: Path) -> None:
    done = shared(*QUIET, "--privileged", "busybox", "sh", "-c", f"ls {tun}; (exec 3<>{tun}) && echo opened")
    assert done.stdout == f"{tun}\nopened\n", done.stderr


def test_privileged_devices_with_a_terminal_collide_with_nothing(shared: Tiffin) -> None:
    done = shared(
        "run",
        "-t",
        "--rm",
        "--network",
        "none",
        "--privileged",
        "busybox",
        "sh",
        "-c",
        "ls -l /dev/ptmx /dev/console",
    )
    assert done.returncode == 0, done.stderr


def test_paths_are_shown_and_cgroups_writable_when_asked(shared: Tiffin) -> None:
    name = shared.ok(
        "create", "--network", "none", "--security-opt", "systempaths=unconfined", "busybox", "true"
    )
    found = json.loads(shared.ok("inspect", name))[0]["HostConfig"]
    assert (found["MaskedPaths"], found["ReadonlyPaths"]) == ([], [])
    shared.ok("rm", name)
    look = "wc -c < /proc/timer_list 2>/dev/null || echo hidden; grep -c ' /proc/sys ' /proc/mounts || true"
    assert shared.ok(*QUIET, "busybox", "sh", "-c", look).endswith("1")
    assert shared.ok(
        *QUIET, "--security-opt", "systempaths=unconfined", "busybox", "sh", "-c", look
    ).endswith("0")
    divide = (
        "cd /sys/fs/cgroup; mkdir pids/sub 2>/dev/null || mkdir sub 2>/dev/null; ls -d */sub sub 2>/dev/null"
    )
    assert shared(*QUIET, "busybox", "sh", "-c", divide).stdout == ""
    assert (
        "sub"
        in shared(*QUIET, "--security-opt", "writable-cgroups=true", "busybox", "sh", "-c", divide).stdout
    )
