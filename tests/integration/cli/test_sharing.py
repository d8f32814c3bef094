"""Namespaces shared with the host and between containers."""

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cgroup2.support import wait_for
from tests.command import Tiffin
from tiffin.containers import Containers
from tiffin.state import locate, open_store

pytestmark = pytest.mark.root

QUIET = ("run", "--rm", "--network", "none")


@pytest.fixture
def donor(shared: Tiffin) -> Iterator[str]:
    """A running container whose IPC others may share."""
    name = shared.ok(
        "run", "-d", "--name", "donor", "--network", "none", "--ipc", "shareable", "--shm-size", "1m",
        "busybox", "sh", "-c", "echo kept > /dev/shm/file; exec sleep 1000",
    )  # fmt: skip
    yield name
    shared("rm", "-f", name)


def namespace(tiffin: Tiffin, kind: str, *options: str) -> str:
    return tiffin.ok(*QUIET, *options, "busybox", "readlink", f"/proc/self/ns/{kind}")


@pytest.mark.parametrize("kind", ["pid", "ipc", "uts", "cgroup"])
def test_the_hosts_namespace_is_shared_when_asked_and_only_then(shared: Tiffin, kind: str) -> None:
    host = str(Path(f"/proc/self/ns/{kind}").readlink())
    option = "--cgroupns" if kind == "cgroup" else f"--{kind}"
    assert namespace(shared, kind, option, "host") == host
    assert namespace(shared, kind) != host


def test_pid_host_shows_the_hosts_processes_and_ends_its_own_alone(shared: Tiffin) -> None:
    script = "sleep 1000 & ls /proc | grep -c '^[0-9]'"
    before = len([entry for entry in os.listdir("/proc") if entry.isdigit()])
    assert int(shared.ok(*QUIET, "--pid", "host", "busybox", "sh", "-c", script)) > before / 2


def test_uts_host_has_the_hosts_name(shared: Tiffin) -> None:
    assert shared.ok(*QUIET, "--uts", "host", "busybox", "hostname") == os.uname().nodename


def test_two_containers_share_their_processes(shared: Tiffin, donor: str) -> None:
    assert "sleep 1000" in shared.ok(*QUIET, "--pid", "container:donor", "busybox", "ps")
    config = json.loads(shared.ok("inspect", donor))[0]["HostConfig"]
    assert config["IpcMode"] == "shareable"


def test_two_containers_share_their_memory(shared: Tiffin, donor: str) -> None:
    script = "cat /dev/shm/file; echo more >> /dev/shm/file; df -k /dev/shm | tail -1 | awk '{print $2}'"
    assert shared.ok(*QUIET, "--ipc", "container:donor", "busybox", "sh", "-c", script) == "kept\n1024"
    assert shared.ok("exec", donor, "cat", "/dev/shm/file") == "kept\nmore"


def test_a_shareable_memory_is_gone_with_its_container(shared: Tiffin, donor: str) -> None:
    assert f"{donor}/shm" in Path("/proc/self/mountinfo").read_text()
    shared.ok("kill", donor)
    shared.ok("wait", donor)
    assert donor not in Path("/proc/self/mountinfo").read_text()
    shared.ok("start", donor)
    assert shared.ok("exec", donor, "sh", "-c", "ls /dev/shm") in ("", "file")


def test_a_killed_supervisor_leaves_no_memory_mounted(shared: Tiffin, donor: str) -> None:
    before = Path("/proc/self/mountinfo").read_text()
    assert f"{donor}/shm" in before
    store = open_store(locate(str(shared.root), str(shared.run_directory)))
    supervisor = Containers(store).find(donor).supervisor
    store.close()
    os.kill(supervisor, signal.SIGKILL)
    wait_for(lambda: not Path(f"/proc/{supervisor}").exists())
    assert shared.ok("ps", "-a", "--filter", "status=exited", "-q") == donor[:12]
    assert donor not in Path("/proc/self/mountinfo").read_text()


def test_who_joined_keeps_the_memory_when_its_owner_ends(shared: Tiffin, donor: str) -> None:
    name = shared.ok("run", "-d", "--network", "none", "--ipc", "container:donor", "busybox", "sleep", "1000")
    shared.ok("rm", "-f", donor)
    assert shared.ok("exec", name, "cat", "/dev/shm/file") == "kept"
    shared.ok("rm", "-f", name)


def test_who_joined_the_processes_ends_with_them(shared: Tiffin, donor: str) -> None:
    name = shared.ok("run", "-d", "--network", "none", "--pid", "container:donor", "busybox", "sleep", "1000")
    shared.ok("kill", donor)
    assert shared.ok("wait", name) == "137"
    text = shared.fails("start", name)
    assert f"cannot join PID of a non running container: {donor}" in text
    shared.ok("rm", name)


def test_a_private_ipc_is_nobody_elses(shared: Tiffin) -> None:
    name = shared.ok("run", "-d", "--network", "none", "busybox", "sleep", "1000")
    text = shared.fails(*QUIET, "--ipc", f"container:{name}", "busybox", "true", code=125)
    assert f"cannot join IPC of container {name}: non-shareable IPC (hint: use IpcMode:shareable" in text
    shared.ok("rm", "-f", name)


def test_no_ipc_has_no_shared_memory(shared: Tiffin) -> None:
    assert (
        shared.ok(*QUIET, "--ipc", "none", "busybox", "sh", "-c", "grep -c /dev/shm /proc/mounts || true")
        == "0"
    )


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--pid", "theirs"], "--pid: invalid PID mode"),
        (["--pid", "container:"], "--pid: invalid PID mode"),
        (["--ipc", "theirs"], "invalid IPC mode: theirs"),
        (["--uts", "private"], "--uts: invalid UTS mode"),
        (["--userns", "keep-id"], "--userns: invalid USER mode"),
        (["--cgroupns", "x"], "--cgroupns: invalid CGROUP mode"),
        (["--uts", "host", "-h", "box"], "conflicting options: hostname and the UTS mode"),
        (["--pid", "container:absent"], "No such container: absent"),
        (["--volumes-from", "absent"], "No such container: absent"),
        (["--volumes-from", "x:rx"], "invalid volumesFrom specification: 'x:rx'"),
        (["--ipc", "host", "--sysctl", "kernel.msgmax=9000"], "shares the host's ipc namespace"),
    ],
)
def test_what_cannot_be_shared_is_refused(shared: Tiffin, options: list[str], text: str) -> None:
    assert text in shared.fails(*QUIET, *options, "busybox", "true", code=125)
    assert shared.ok("ps", "-aq") == ""


def test_volumes_of_another_container(shared: Tiffin, tmp_path: Path) -> None:
    (tmp_path / "f").write_text("bound")
    name = shared.ok(
        "create", "-v", "named:/n", "-v", "/anonymous", "-v", f"{tmp_path}:/b:ro", "busybox", "true"
    )
    script = "echo x > /n/f && echo y > /anonymous/f && cat /b/f; touch /b/g 2>/dev/null || echo ro"
    assert shared.ok(*QUIET, "--volumes-from", name, "busybox", "sh", "-c", script) == "bound" + "ro"
    again = "cat /n/f /anonymous/f; touch /n/g 2>/dev/null || echo ro"
    assert shared.ok(*QUIET, "--volumes-from", f"{name}:ro", "busybox", "sh", "-c", again) == "x\ny\nro"
    shared.ok("rm", "-v", name)
