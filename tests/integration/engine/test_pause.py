"""Who may freeze and thaw a container, and what a killed commit leaves."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest

from tests.integration.engine.conftest import Ground, await_that
from tiffin.containers.store import Containers
from tiffin.engine.pause import held_still
from tiffin.errors import Conflict
from tiffin.runtime.cgroups import Cgroup, open_cgroup
from tiffin.state import locate, open_store

pytestmark = pytest.mark.root

HOLD = """
import signal, sys
from contextlib import closing
from tiffin.containers.store import Containers
from tiffin.engine.pause import held_still
from tiffin.state import locate, open_store
with closing(open_store(locate(*sys.argv[1:3]))) as store, held_still(store, Containers(store).find(sys.argv[3])):
    print("held", flush=True)
    signal.pause()
"""


@pytest.fixture
def sleeper(ground: Ground) -> str:
    return ground.start("sleep", "1000")


def cgroup_of(ground: Ground, container: str) -> Cgroup:
    return open_cgroup(f"{ground.engine.layout.cgroup}/{container}")


def is_frozen(ground: Ground, container: str) -> bool:
    """As the kernel has it: on v1 a state of the cgroup's, on v2 an event."""
    name = f"{ground.engine.layout.cgroup}/{container}"
    v1 = Path("/sys/fs/cgroup/freezer", name, "freezer.state")
    if v1.exists():
        return v1.read_text().strip() == "FROZEN"
    return "frozen 1" in Path("/sys/fs/cgroup", name, "cgroup.events").read_text()


@contextmanager
def held_by_a_commit(ground: Ground, container: str) -> Iterator[None]:
    store = open_store(locate(ground.root, ground.run_directory))
    with closing(store), held_still(store, Containers(store).find(container)):
        yield


@contextmanager
def command(ground: Ground, *words: str) -> Iterator["subprocess.Popen[str]"]:
    argv = [sys.executable, "-m", "tiffin", "--root", ground.root, "--run", ground.run_directory, *words]
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def waits_for_a_lock(process: "subprocess.Popen[str]") -> bool:
    assert process.poll() is None, process.communicate()
    waiting = [line.split() for line in Path("/proc/locks").read_text().splitlines() if "->" in line]
    return any(words[words.index("->") + 4] == str(process.pid) for words in waiting)


def test_unpause_leaves_alone_what_is_not_paused(ground: Ground, sleeper: str) -> None:
    cgroup = cgroup_of(ground, sleeper)
    cgroup.freeze(True)
    try:
        with pytest.raises(Conflict, match="is not paused"):
            ground.containers.unpause(sleeper)
        assert is_frozen(ground, sleeper)
    finally:
        cgroup.freeze(False)


@pytest.mark.parametrize(("word", "code", "status"), [("unpause", 1, "running"), ("pause", 0, "paused")])
def test_what_a_commit_holds_still_is_left_alone_until_it_is_done(
    ground: Ground, sleeper: str, word: str, code: int, status: str
) -> None:
    with ExitStack() as asking:
        with held_by_a_commit(ground, sleeper):
            asked = asking.enter_context(command(ground, word, sleeper))
            await_that(lambda: waits_for_a_lock(asked), seconds=30)
            assert is_frozen(ground, sleeper)
        assert asked.wait(timeout=30) == code
    assert ground.state(sleeper)["Status"] == status


def test_stop_of_what_a_commit_holds_ends_it_afterwards(ground: Ground, sleeper: str) -> None:
    with ExitStack() as asking:
        with held_by_a_commit(ground, sleeper):
            asked = asking.enter_context(command(ground, "stop", "-t", "0", sleeper))
            await_that(lambda: waits_for_a_lock(asked), seconds=30)
        assert asked.wait(timeout=30) == 0
    assert ground.state(sleeper)["Status"] == "exited"


def test_a_commit_leaves_a_paused_container_paused(ground: Ground, sleeper: str) -> None:
    ground.containers.pause(sleeper)
    with held_by_a_commit(ground, sleeper):
        assert is_frozen(ground, sleeper)
    assert is_frozen(ground, sleeper)
    assert ground.state(sleeper)["Status"] == "paused"
    ground.containers.unpause(sleeper)


def test_what_a_killed_commit_held_can_be_set_going(ground: Ground, sleeper: str) -> None:
    argv = [sys.executable, "-c", HOLD, ground.root, ground.run_directory, sleeper]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        os.kill(holder.pid, signal.SIGKILL)
    assert is_frozen(ground, sleeper)
    assert ground.state(sleeper)["Status"] == "paused"
    ground.containers.unpause(sleeper)
    assert not is_frozen(ground, sleeper)
    assert ground.exec(sleeper, "true")[0] == 0
