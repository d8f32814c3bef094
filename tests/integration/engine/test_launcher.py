"""What a launcher has loaded is all that a container needs: nothing is imported by the processes forked from it. One of
them waits for the next start."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.integration.engine.conftest import Ground
from tiffin import ExecOptions

pytestmark = pytest.mark.root

PROGRAM = """
import json, socket, sys
from tiffin.state import locate
from tiffin.supervisor import control, work
from tiffin.supervisor.jobs import StartJob
root, run, container = sys.argv[1:]
work.load(StartJob)
before = set(sys.modules)
from tiffin.supervisor.supervise import supervise
ours, theirs = socket.socketpair()
supervise(StartJob(root, run, container, 0, 0, 0), theirs, control.acquire(locate(root, run), container))
print(json.dumps(sorted(set(sys.modules) - before)))
"""


def test_nothing_is_left_to_import_when_a_container_is_started(ground: Ground) -> None:
    ground.run("true")  # compiles the filter of system calls, once for a machine
    container = ground.create("true")
    command = [sys.executable, "-c", PROGRAM, ground.root, ground.run_directory, container]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert ground.state(container)["ExitCode"] == 0
    assert json.loads(done.stdout) == []


@pytest.fixture
def threaded(ground: Ground) -> Iterator[Ground]:
    """A program that cannot fork, so that its engine has a launcher."""
    stop = threading.Event()
    thread = threading.Thread(target=stop.wait)
    thread.start()
    try:
        assert ground.run("true")[0] == 0
        yield ground
    finally:
        stop.set()
        thread.join()


def launcher_of(ground: Ground) -> int:
    launcher = ground.engine._workspace._launcher
    assert launcher is not None
    return launcher._pid


def spare_of(ground: Ground) -> int:
    """The process that waits for the next job, once the database is open: it has the launcher's socket."""
    launcher, deadline = launcher_of(ground), time.monotonic() + 30
    socket = descriptors(launcher)["3"]
    while True:
        for pid in children(launcher):
            held = descriptors(pid)
            if held.get("3") == socket and f"{ground.engine.layout.database}-shm" in held.values():
                return pid
        assert time.monotonic() < deadline, "there is no spare"
        time.sleep(0.01)


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def descriptors(pid: int) -> dict[str, str]:
    try:
        return {fd.name: os.readlink(fd) for fd in Path(f"/proc/{pid}/fd").iterdir()}
    except FileNotFoundError:
        return {}


def is_gone(pid: int) -> bool:
    try:
        return "State:\tZ" in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return True


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_the_next_supervisor_waits_with_the_store_open(threaded: Ground) -> None:
    spare = spare_of(threaded)
    container = threaded.start("sleep", "1000")
    with threaded.engine._workspace.store() as store:
        row = store.db.execute("SELECT supervisor FROM containers WHERE id = ?", (container,)).fetchone()
    assert row == (spare,)
    assert spare_of(threaded)


def test_a_spare_that_was_killed_is_replaced(threaded: Ground) -> None:
    spare = spare_of(threaded)
    os.kill(spare, signal.SIGKILL)
    wait_until(lambda: is_gone(spare))
    assert threaded.run("true")[0] == 0
    assert spare_of(threaded) != spare


def test_a_spare_outlives_its_launcher_for_one_job_alone(threaded: Ground) -> None:
    launcher, spare = launcher_of(threaded), spare_of(threaded)
    os.kill(launcher, signal.SIGKILL)
    os.waitid(os.P_PID, launcher, os.WEXITED | os.WNOWAIT)
    assert threaded.run("true")[0] == 0
    wait_until(lambda: is_gone(spare))
    assert threaded.run("true")[0] == 0
    assert launcher_of(threaded) != launcher


def test_launcher_and_spare_end_with_the_engine(threaded: Ground) -> None:
    launcher, spare = launcher_of(threaded), spare_of(threaded)
    threaded.engine.close()
    wait_until(lambda: is_gone(launcher) and is_gone(spare))


def test_the_keeper_of_an_exec_has_no_database_open(threaded: Ground) -> None:
    container = threaded.start("sleep", "1000")
    spare = spare_of(threaded)
    threaded.containers.exec_detached(container, ExecOptions(("sleep", "1000")))
    wait_until(
        lambda: (
            not any(path.startswith(threaded.engine.layout.database) for path in descriptors(spare).values())
        )
    )
    assert not is_gone(spare)
