"""kill -9 of the caller, of the supervisor, and of both, at moments drawn from fixed seeds: the next command says
truthfully what became of the container, and nothing is left of it."""

import os
import random
import signal
import subprocess
import sys
import time

import pytest

from tests.integration.engine.conftest import Ground, await_that
from tiffin import NotFound

pytestmark = pytest.mark.root

CALLER = """
import sys
from tiffin import CreateOptions, Engine, Streams
from tiffin.engine import create, lifecycle, relay
from tiffin.supervisor import work
root, run, name, network, removed = sys.argv[1:]
with Engine(root, run) as engine:
    options = CreateOptions("busybox", ("sh", "-c", "echo begun; sleep 0.1; echo ended; exit 3"), name=name,
                            network=network, auto_remove=removed == "rm", volumes=("/scratch",))
    print("now", flush=True)
    engine.containers.run(options, Streams(None, 1, 2))
"""


def start_caller(ground: Ground, name: str, network: str, removed: str) -> "subprocess.Popen[bytes]":
    arguments = [ground.root, ground.run_directory, name, network, removed]
    caller = subprocess.Popen(
        [sys.executable, "-c", CALLER, *arguments], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert caller.stdout is not None
    assert caller.stdout.readline() == b"now\n"
    return caller


def kill(pid: int) -> None:
    """Kill it, and wait until it is dead."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    await_that(lambda: _is_zombie(pid))


def supervisors(ground: Ground, caller: int) -> list[int]:
    """Forked from the caller, hence with its command line; the container's first process has another."""
    found = []
    for pid in ground.processes():
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                if pid != caller and ground.root.encode() in file.read():
                    found.append(pid)
        except OSError:
            continue
    return found


@pytest.mark.parametrize("seed", range(24))
def test_a_kill_at_any_moment_leaves_the_truth_and_nothing_else(ground: Ground, seed: int) -> None:
    chance = random.Random(seed)
    victim = ("caller", "supervisor", "both")[seed % 3]
    network, removed = ("none", "bridge")[seed // 3 % 2], ("rm", "keep")[seed // 6 % 2]
    caller = start_caller(ground, f"c{seed}", network, removed)
    time.sleep(chance.uniform(0, 0.25))
    if victim != "supervisor":
        kill(caller.pid)
    if victim != "caller":
        for pid in supervisors(ground, caller.pid):
            kill(pid)
    caller.communicate(timeout=20)
    if victim != "caller":
        # What a dead supervisor left is found by the next command, whatever it is.
        for summary in ground.containers.list(show_all=True):
            assert summary.state in ("created", "exited"), summary
    else:
        await_that(
            lambda: all(summary.state != "running" for summary in ground.containers.list(show_all=True))
        )
    for summary in ground.containers.list(show_all=True):
        try:
            state = ground.state(summary.id)
        except (
            NotFound
        ):  # its first process, just forked, outlived the supervisor for a moment, with its lock
            assert removed == "rm"
            continue
        if summary.state == "exited":
            assert state["ExitCode"] in (3, 137)
            assert (state["ExitCode"] == 137) == ("died" in str(state["Error"]))
        assert removed == "keep" or summary.state == "created"
    ground.remove_all()
    ground.assert_clean()


def test_a_container_whose_supervisor_was_killed_is_killed_with_it(ground: Ground) -> None:
    container = ground.start("sleep", "1000")
    pid = int(str(ground.state(container)["Pid"]))
    kill(_supervisor(ground, container))
    await_that(lambda: _is_zombie(pid))
    state = ground.state(container)
    assert (state["Status"], state["ExitCode"], state["Pid"]) == ("exited", 137, 0)
    assert "supervisor died" in str(state["Error"])
    ground.containers.start(container)
    assert ground.state(container)["Status"] == "running"


def test_waiting_for_a_container_whose_supervisor_is_killed_ends(ground: Ground) -> None:
    import threading

    container = ground.start("sleep", "1000")
    codes: list[int] = []
    waiter = threading.Thread(target=lambda: codes.append(ground.containers.wait(container)))
    waiter.start()
    time.sleep(0.1)
    kill(_supervisor(ground, container))
    waiter.join(20)
    assert codes == [137]


def test_a_killed_container_with_rm_is_gone_and_its_name_free(ground: Ground) -> None:
    container = ground.start("sleep", "1000", name="lunch", auto_remove=True)
    kill(_supervisor(ground, container))
    again = ground.create("true", name="lunch")
    assert again != container
    with pytest.raises(NotFound):
        ground.containers.inspect(container)


def test_a_removal_that_was_cut_short_is_finished(ground: Ground) -> None:
    container = ground.start("sh", "-c", "echo x > /file")
    ground.containers.wait(container)
    with ground.engine._workspace.store() as store:
        from tiffin.containers import Containers, State

        Containers(store).set_status(container, State.REMOVING)
    assert not ground.containers.list(show_all=True)


def test_a_create_that_died_half_way_leaves_no_volume(ground: Ground) -> None:
    from tiffin.volumes import Volumes, parse_volume

    with ground.engine._workspace.store() as store:
        Volumes(store).prepare("f" * 64, [parse_volume("/scratch"), parse_volume("kept:/data")])
    assert not ground.containers.list()
    assert os.listdir(f"{ground.root}/volumes") == ["kept"]
    with ground.engine._workspace.store() as store:
        Volumes(store).remove("kept")


def _supervisor(ground: Ground, container: str) -> int:
    with ground.engine._workspace.store() as store:
        row = store.db.execute("SELECT supervisor FROM containers WHERE id = ?", (container,)).fetchone()
    return int(row[0])


def _is_zombie(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True
