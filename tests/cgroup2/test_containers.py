"""`tiffin run` and its neighbours on unified control groups."""

import json
import os
from pathlib import Path

import pytest

from tests.cgroup2.support import MIB, MOUNT, events, leftovers, setting, wait_for
from tests.command import Tiffin
from tiffin.state import locate

pytestmark = [pytest.mark.root, pytest.mark.cgroup2]

QUIET = ("run", "-d", "--network", "none")


def path_of(tiffin: Tiffin, container: str) -> str:
    return f"{locate(str(tiffin.root)).cgroup}/{container}"


def state(tiffin: Tiffin, container: str) -> dict[str, object]:
    return dict(json.loads(tiffin.ok("inspect", container))[0]["State"])


def test_limits_arrive_and_the_container_sees_its_own_cgroup_alone(shared: Tiffin) -> None:
    limits = ["--memory", "64m", "--memory-swap", "64m", "--cpus", "0.5", "--pids-limit", "50", "-c", "512"]
    container = shared.ok(*QUIET, *limits, "busybox", "sleep", "999")
    path = path_of(shared, container)
    expected = {
        "memory.max": str(64 * MIB),
        "memory.swap.max": "0",
        "cpu.max": "50000 100000",
        "pids.max": "50",
    }
    assert {name: setting(path, name) for name in expected} == expected
    look = "cat /proc/self/cgroup /sys/fs/cgroup/memory.max; echo 1 > /sys/fs/cgroup/memory.max"
    done = shared("exec", container, "sh", "-c", look)
    assert done.stdout == f"0::/\n{64 * MIB}\n"
    assert "Read-only file system" in done.stderr
    shared.ok("rm", "-f", container)
    assert not Path(MOUNT, path).exists()


def test_an_oom_kill_is_137_and_is_in_the_record(shared: Tiffin) -> None:
    hog = ["dd", "if=/dev/zero", "of=/dev/null", "bs=64M", "count=1"]
    done = shared("run", "--name", "hog", "--network", "none", "--memory", "16m", "busybox", *hog)
    assert done.returncode == 137, done.stderr
    ended = state(shared, "hog")
    assert (ended["OOMKilled"], ended["ExitCode"], ended["Status"]) == (True, 137, "exited")
    shared.ok("rm", "hog")


def test_a_kill_is_not_taken_for_an_oom_kill(shared: Tiffin) -> None:
    container = shared.ok(*QUIET, "--memory", "16m", "busybox", "sleep", "999")
    shared.ok("kill", container)
    assert shared.ok("wait", container) == "137"
    assert state(shared, container)["OOMKilled"] is False
    shared.ok("rm", container)


def test_a_fork_bomb_stops_at_the_limit_and_goes_with_the_container(shared: Tiffin) -> None:
    bomb = "for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do sleep 999 & done; wait"
    container = shared.ok(*QUIET, "--pids-limit", "10", "busybox", "sh", "-c", f"({bomb}); sleep 999")
    path = path_of(shared, container)
    wait_for(lambda: events(path, "pids.events")["max"] > 0)
    assert int(setting(path, "pids.current")) <= 10
    pids = setting(path, "cgroup.procs").split()
    assert len(pids) > 5
    shared.ok("rm", "-f", container)
    assert not Path(MOUNT, path).exists()
    assert not [pid for pid in pids if os.path.exists(f"/proc/{pid}")]


def test_device_nodes_that_the_rules_do_not_name_are_dead(shared: Tiffin) -> None:
    # A disk: for its node to be read, no capability is asked. /dev allows device files, so that it is the device
    # program which refuses.
    disk = next(Path("/sys/block").glob("*/dev")).read_text().strip().replace(":", " ")
    script = (
        "echo x > /dev/null && head -c 1 /dev/urandom > /dev/null && head -c 1 /dev/zero > /dev/null && echo works;"
        f"mknod /dev/disk b {disk} && head -c 1 /dev/disk > /dev/null && echo escaped"
    )
    run = ["run", "--rm", "--network", "none", "--cap-add", "MKNOD"]
    done = shared(*run, "busybox", "sh", "-c", script)
    assert done.stdout == "works\n"
    assert "/dev/disk: Operation not permitted" in done.stderr
    done = shared(*run, "--privileged", "busybox", "sh", "-c", script)
    assert done.stdout == "works\nescaped\n", done.stderr


def test_an_exec_is_within_the_containers_limits_too(shared: Tiffin) -> None:
    container = shared.ok(*QUIET, "--memory", "16m", "busybox", "sleep", "999")
    hog = ["dd", "if=/dev/zero", "of=/dev/null", "bs=64M", "count=1"]
    assert shared("exec", container, *hog).returncode == 137
    assert events(path_of(shared, container), "memory.events")["oom_kill"] == 1
    assert state(shared, container)["Running"] is True
    shared.ok("rm", "-f", container)


def test_a_commit_freezes_the_container_meanwhile(shared: Tiffin) -> None:
    work = "dd if=/dev/urandom of=/big bs=1M count=3 && touch /ready; while :; do touch /now; done"
    container = shared.ok(*QUIET, "busybox", "sh", "-c", work)
    path = path_of(shared, container)
    wait_for(lambda: "A /ready" in shared.ok("diff", container).splitlines())
    for option, seen in (("--pause=true", {0, 1}), ("--pause=false", {0})):
        frozen = set()
        commit = shared.start("commit", option, container, "frozen:1")
        while commit.poll() is None:
            frozen.add(events(path, "cgroup.events")["frozen"])
        assert commit.returncode == 0, commit.communicate()[1]
        commit.communicate()
        frozen.add(events(path, "cgroup.events")["frozen"])
        assert frozen == seen
    shared.ok("rm", "-f", container)
    shared.ok("rmi", "-f", "frozen:1")


def test_a_published_port_answers_and_nothing_is_left_when_all_is_removed(tiffin: Tiffin) -> None:
    before = leftovers()
    serve = "echo hello > /index.html; httpd -f -p 80 -h /"
    container = tiffin.ok("run", "-d", "-p", "127.0.0.1:18099:80", "busybox", "sh", "-c", serve)
    assert Path(MOUNT, path_of(tiffin, container)).is_dir()
    wait_for(lambda: _get(18099) == b"hello\n")
    tiffin.ok("stop", "-t", "1", container)
    assert not Path(MOUNT, path_of(tiffin, container)).exists()
    tiffin.ok("start", container)
    wait_for(lambda: _get(18099) == b"hello\n")
    tiffin.ok("rm", "-f", container)
    assert [
        path for path in leftovers() - before if any(child.is_dir() for child in Path(path).iterdir())
    ] == []


def _get(port: int) -> bytes:
    import urllib.error
    import urllib.request

    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10) as answer:
            return bytes(answer.read())
    except OSError:
        return b""
