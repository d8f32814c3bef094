"""kill -9 of whoever is at work on a container that restarts: the next command tells the truth, and can go on."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.integration.engine.conftest import Ground, await_that
from tests.integration.engine.test_restart import count, restarting, row, status
from tests.signals import await_trap
from tiffin.containers.record import RestartPolicy

pytestmark = pytest.mark.root
ALWAYS = RestartPolicy("always")

COMMAND = """
import sys
from tiffin import Engine
root, run, verb, name = sys.argv[1:]
print("now", flush=True)
with Engine(root, run) as engine:
    getattr(engine.containers, verb)(name)
"""

EXEC = """
import sys
from tiffin import Engine, ExecOptions, Streams
with Engine(*sys.argv[1:3]) as engine:
    engine.containers.exec(sys.argv[3], ExecOptions(("sleep", "999")), Streams())
"""


def command(ground: Ground, verb: str, container: str) -> "subprocess.Popen[bytes]":
    """A command in a process of its own, about to begin."""
    words = [sys.executable, "-c", COMMAND, ground.root, ground.run_directory, verb, container]
    started = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert started.stdout is not None
    assert started.stdout.readline() == b"now\n"
    return started


def kill_supervisor(ground: Ground, container: str) -> None:
    found = row(ground, container)
    try:
        os.kill(found.supervisor, signal.SIGKILL)
    except (ProcessLookupError, OverflowError):
        return
    await_that(lambda: not _lives(found.supervisor))


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def usable(ground: Ground, container: str) -> None:
    """It is at rest or running, as its row says, and can be started, run into, and removed."""
    assert status(ground, container) in ("running", "restarting", "exited", "created")
    ground.containers.stop(container, timeout=0)
    assert status(ground, container) in ("exited", "created")
    ground.containers.remove(container)
    ground.assert_clean()


@pytest.mark.parametrize("seed", range(12))
def test_a_supervisor_killed_at_any_moment_of_a_restart_loop(ground: Ground, seed: int) -> None:
    chance = random.Random(seed)
    container = ground.start(
        "sh", "-c", f"sleep {chance.uniform(0, 0.1):.3f}; exit 1", restart=ALWAYS,
        network=("none", "bridge")[seed % 2],
    )  # fmt: skip
    time.sleep(chance.uniform(0, 0.6))
    kill_supervisor(ground, container)
    state = ground.state(container)
    assert state["Status"] == "exited"
    assert state["ExitCode"] in (1, 137)
    assert not row(ground, container).stopped
    ground.containers.start(container)
    await_that(lambda: count(ground, container) >= 1)
    usable(ground, container)


def test_a_supervisor_killed_between_two_runs_leaves_the_last_exit_code(ground: Ground) -> None:
    container = restarting(ground)
    kill_supervisor(ground, container)
    state = ground.state(container)
    assert (state["Status"], state["ExitCode"], state["Restarting"]) == ("exited", 3, False)
    assert len(ground.engine.system.start_containers().started) == 1
    assert status(ground, container) in ("running", "restarting")
    usable(ground, container)


@pytest.mark.parametrize("verb", ["start", "stop", "restart", "kill"])
@pytest.mark.parametrize("seed", range(3))
def test_a_command_killed_at_any_moment(ground: Ground, verb: str, seed: int) -> None:
    chance = random.Random(f"{verb} {seed}")
    make = ground.create if verb == "start" else ground.start
    container = make("sh", "-c", "trap 'exit 0' TERM; while :; do sleep 0.02; done", restart=ALWAYS)
    running = command(ground, verb, container)
    time.sleep(chance.uniform(0, 0.15))
    running.kill()
    running.communicate()
    usable(ground, container)


@pytest.mark.parametrize("seed", range(4))
def test_a_restart_goes_on_when_whoever_asked_for_it_is_killed(ground: Ground, seed: int) -> None:
    """Once asked for, it is the supervisor's: also of a container that is removed with its end."""
    container = ground.start(
        "sh", "-c", "trap 'sleep 0.3; exit 0' TERM; while :; do sleep 0.02; done", auto_remove=True
    )
    before = ground.state(container)["Pid"]
    await_trap(before)
    asking = command(ground, "restart", container)
    await_that(lambda: b"sleep\x000.3\x00" in _commands(ground), seconds=10)
    time.sleep(seed * 0.05)
    asking.kill()
    asking.communicate()
    await_that(lambda: ground.state(container)["Pid"] not in (before, 0))
    ground.containers.remove(container, force=True)


def _commands(ground: Ground) -> set[bytes]:
    found = set()
    for pid in ground.processes():
        try:
            found.add(Path(f"/proc/{pid}/cmdline").read_bytes())
        except OSError:
            continue
    return found


@pytest.mark.parametrize("verb", ["stop", "restart", "wait"])
@pytest.mark.parametrize("moment", [0.0, 0.05, 0.3])
def test_a_command_whose_supervisor_is_killed_ends(ground: Ground, verb: str, moment: float) -> None:
    container = ground.start("sleep", "1000", restart=ALWAYS)  # as PID 1 it ignores SIGTERM
    running = command(ground, verb, container)
    time.sleep(moment)
    kill_supervisor(ground, container)
    running.wait(20)
    running.communicate()
    if verb == "restart":
        assert status(ground, container) == "running"
    else:
        assert status(ground, container) == "exited"
    usable(ground, container)


def test_a_stop_whose_supervisor_is_killed_is_a_stop(ground: Ground) -> None:
    container = ground.start("sleep", "1000", restart=RestartPolicy("unless-stopped"))
    stopping = command(ground, "stop", container)
    time.sleep(0.5)  # it waits for the container by now, which ignores the signal
    kill_supervisor(ground, container)
    assert stopping.wait(20) == 0
    stopping.communicate()
    assert row(ground, container).stopped
    assert ground.engine.system.start_containers().started == ()


@pytest.mark.parametrize("verb", ["stop", "restart", "supervisor"])
@pytest.mark.parametrize("seed", range(2))
def test_a_container_that_is_being_checked_can_be_ended_by_anything(
    ground: Ground, verb: str, seed: int
) -> None:
    check = {"Test": ["CMD-SHELL", "sleep 0.05"], "Interval": 1_000_000, "Timeout": 10_000_000_000}
    container = ground.start("sleep", "1000", healthcheck=check, restart=ALWAYS)
    time.sleep(0.1 + 0.03 * seed)
    if verb == "supervisor":
        kill_supervisor(ground, container)
        assert ground.state(container)["Status"] == "exited"
        assert ground.state(container)["Health"]["Status"] == "unhealthy"  # type: ignore[index]
    elif verb == "stop":
        ground.containers.stop(container, timeout=0)
    else:
        ground.containers.restart(container, timeout=0)
        assert status(ground, container) == "running"
    usable(ground, container)


def test_the_keeper_of_an_exec_killed_leaves_the_container_be(ground: Ground) -> None:
    container = ground.start("sleep", "1000")
    caller = subprocess.Popen(
        [sys.executable, "-c", EXEC, ground.root, ground.run_directory, container], stderr=subprocess.DEVNULL
    )

    def keepers() -> list[int]:
        keeping = []
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                if (entry / "cmdline").read_bytes() == b"sleep\x00999\x00":
                    keeping.append(int((entry / "stat").read_text().rpartition(")")[2].split()[1]))
            except OSError:
                continue
        return keeping

    await_that(lambda: bool(keepers()))
    os.kill(keepers()[0], signal.SIGKILL)
    assert caller.wait(20) != 0
    assert status(ground, container) == "running"
    ground.containers.stop(container, timeout=0)
