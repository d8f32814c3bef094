"""Starting, stopping, killing, waiting, removing: what each does in each state, in Docker's words."""

import os
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from tests.integration.engine.conftest import Ground, await_that
from tiffin import Conflict, InvalidArgument, NotFound
from tiffin.engine.relay import await_started
from tiffin.supervisor import control
from tiffin.supervisor.jobs import StartJob

pytestmark = pytest.mark.root

TRAP = "trap 'echo caught; exit 7' TERM; echo ready; while :; do sleep 0.05; done"


def test_a_started_container_runs_until_it_is_stopped(ground: Ground) -> None:
    container = ground.start("sh", "-c", TRAP)
    await_that(lambda: b"ready" in ground.logs(container))
    assert ground.state(container)["Status"] == "running"
    began = time.monotonic()
    ground.containers.stop(container)
    assert time.monotonic() - began < 5
    state = ground.state(container)
    assert (state["Status"], state["ExitCode"], state["Pid"]) == ("exited", 7, 0)
    assert ground.logs(container) == b"ready\ncaught\n"


def test_a_container_that_ignores_the_stop_signal_is_killed(ground: Ground) -> None:
    container = ground.start("sh", "-c", "trap '' TERM; sleep 1000")
    began = time.monotonic()
    ground.containers.stop(container, timeout=1)
    assert 1 <= time.monotonic() - began < 6
    assert ground.state(container)["ExitCode"] == 137


def test_its_own_stop_signal_is_used(ground: Ground) -> None:
    script = "trap 'exit 9' USR1; echo ready; while :; do sleep 0.05; done"
    container = ground.start("sh", "-c", script, stop_signal="SIGUSR1")
    await_that(lambda: b"ready" in ground.logs(container))
    ground.containers.stop(container)
    assert ground.state(container)["ExitCode"] == 9


def test_stopping_what_does_not_run_is_no_error(ground: Ground) -> None:
    ground.containers.stop(ground.create("true"))


def test_killing_what_does_not_run_is_refused(ground: Ground) -> None:
    container = ground.create("true", name="still")
    with pytest.raises(Conflict, match=f"Cannot kill container: still: Container {container} is not running"):
        ground.containers.kill("still")


def test_kill_sends_any_signal(ground: Ground) -> None:
    script = "trap 'echo hup' HUP; echo ready; while :; do sleep 0.05; done"
    container = ground.start("sh", "-c", script)
    await_that(lambda: b"ready" in ground.logs(container))
    ground.containers.kill(container, "HUP")
    await_that(lambda: b"hup" in ground.logs(container))
    ground.containers.kill(container)
    assert ground.state(container)["ExitCode"] == 137
    with pytest.raises(InvalidArgument, match="Invalid signal: NOPE"):
        ground.containers.kill(container, "NOPE")


def test_wait_gives_the_exit_code_when_it_ends_and_afterwards(ground: Ground) -> None:
    container = ground.start("sh", "-c", "sleep 0.3; exit 5")
    assert ground.containers.wait(container) == 5
    assert ground.containers.wait(container) == 5
    assert ground.state(container)["Status"] == "exited"


def test_wait_on_a_container_with_rm_gives_its_exit_code(ground: Ground) -> None:
    container = ground.start("sh", "-c", "sleep 0.3; exit 6", auto_remove=True)
    assert ground.containers.wait(container) == 6
    with pytest.raises(NotFound):
        ground.containers.inspect(container)


def test_a_second_start_keeps_what_the_first_wrote(ground: Ground) -> None:
    container = ground.start("sh", "-c", "echo x >> /count; wc -l < /count")
    assert ground.containers.wait(container) == 0
    ground.containers.start(container)
    assert ground.containers.wait(container) == 0
    assert ground.logs(container) == b"1\n2\n"


def test_starting_what_runs_changes_nothing(ground: Ground) -> None:
    container = ground.start("sleep", "1000")
    pid = ground.state(container)["Pid"]
    ground.containers.start(container)
    assert ground.state(container)["Pid"] == pid


def test_removing_what_runs_needs_force(ground: Ground) -> None:
    container = ground.start("sleep", "1000")
    with pytest.raises(Conflict) as refused:
        ground.containers.remove(container)
    assert str(refused.value) == (
        f"You cannot remove a running container {container}. "
        "Stop the container before attempting removal or force remove"
    )
    assert ground.containers.remove(container[:12], force=True) == container
    with pytest.raises(NotFound, match=f"No such container: {container}"):
        ground.containers.inspect(container)


def test_a_name_is_taken_once(ground: Ground) -> None:
    container = ground.create("true", name="lunch")
    with pytest.raises(Conflict) as refused:
        ground.create("true", name="lunch")
    assert str(refused.value) == (
        f'Conflict. The container name "/lunch" is already in use by container "{container}". '
        "You have to remove (or rename) that container to be able to reuse that name."
    )
    ground.containers.rename("lunch", "dinner")
    assert ground.containers.resolve("dinner") == container
    with pytest.raises(InvalidArgument, match=r"Invalid container name \(-x\), only"):
        ground.create("true", name="-x")


def test_the_list_shows_what_runs_and_all_of_it_when_asked(ground: Ground) -> None:
    done = ground.start("true", name="done")
    ground.containers.wait(done)
    running = ground.start("sleep", "1000", name="running", labels=("tier=web",))
    assert [summary.name for summary in ground.containers.list()] == ["running"]
    assert [summary.name for summary in ground.containers.list(show_all=True)] == ["running", "done"]
    assert [summary.id for summary in ground.containers.list(filters=["status=exited"])] == [done]
    assert [summary.id for summary in ground.containers.list(filters=["label=tier=web"])] == [running]
    states = {summary.name: summary.status for summary in ground.containers.list(show_all=True)}
    assert states["running"].startswith("Up ")
    assert states["done"].startswith("Exited (0) ")


def test_an_out_of_memory_kill_is_told(ground: Ground) -> None:
    from tiffin.containers import Resources

    script = "tail -c 200m /dev/zero"
    container = ground.start("sh", "-c", f"{script}; exit $?", resources=Resources(memory=16 << 20))
    assert ground.containers.wait(container) == 137
    assert ground.state(container)["OOMKilled"] is True


def test_twenty_at_once_all_run_and_all_go(ground: Ground) -> None:
    containers = [ground.start("sleep", "1000") for _ in range(20)]
    assert len(ground.containers.list()) == 20
    for container in containers:
        ground.containers.remove(container, force=True)
    ground.assert_clean()


def test_twenty_threads_run_a_container_each(ground: Ground) -> None:
    outputs: dict[int, tuple[int, bytes, bytes]] = {}

    def one(number: int) -> None:
        outputs[number] = ground.run("sh", "-c", f"echo {number}; exit {number}")

    threads = [threading.Thread(target=one, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outputs == {number: (number, b"%d\n" % number, b"") for number in range(20)}


def test_a_launcher_that_was_killed_is_replaced(ground: Ground) -> None:
    stop = threading.Event()
    thread = threading.Thread(target=stop.wait)
    thread.start()
    try:
        assert ground.run("true")[0] == 0
        launcher = ground.engine._workspace._launcher
        assert launcher is not None
        os.kill(launcher._pid, signal.SIGKILL)
        os.waitid(
            os.P_PID, launcher._pid, os.WEXITED | os.WNOWAIT
        )  # a job sent to it while it dies is lost, and said so
        assert ground.run("true")[0] == 0
    finally:
        stop.set()
        thread.join()


def test_containers_outlive_the_launcher_and_the_engine(ground: Ground) -> None:
    from tiffin import Engine

    started: list[str] = []

    def elsewhere() -> None:
        with Engine(ground.root, ground.run_directory) as engine:
            from tiffin import CreateOptions

            container = engine.containers.create(CreateOptions("busybox", ("sleep", "1000"), network="none"))
            engine.containers.start(container.id)
            started.append(container.id)

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert ground.state(started[0])["Status"] == "running"


def test_the_supervisor_leaves_no_zombie_and_holds_no_terminal(ground: Ground) -> None:
    container = ground.start("sleep", "1000")
    with ground.engine._workspace.store() as store:
        pid, supervisor = store.db.execute(
            "SELECT pid, supervisor FROM containers WHERE id = ?", (container,)
        ).fetchone()
    assert os.getsid(supervisor) == supervisor or os.getpgid(supervisor) != os.getpgrp()
    assert [os.readlink(f"/proc/{supervisor}/fd/{fd}") for fd in range(3)] == ["/dev/null"] * 3
    os.kill(pid, signal.SIGKILL)
    assert ground.containers.wait(container) == 137
    await_that(lambda: not os.path.exists(f"/proc/{supervisor}"))


@pytest.mark.parametrize("verb", ["remove", "stop", "remove by force"])
def test_whoever_comes_while_it_is_being_started_sees_it_run(ground: Ground, verb: str) -> None:
    """A start that was handed on goes on, whoever asked for it; to wait for its lock would be to wait for its end."""
    container = ground.create("sh", "-c", "trap 'exit 0' TERM; while :; do sleep 0.02; done")
    workspace = ground.containers._workspace
    layout = workspace.layout
    lock = control.acquire(layout, container)
    with ThreadPoolExecutor(1) as pool:
        by_force = partial(ground.containers.remove, force=True)
        does: dict[str, Callable[[str], object]] = {
            "remove": ground.containers.remove,
            "stop": ground.containers.stop,
        }
        waiting = pool.submit(does.get(verb, by_force), container)
        time.sleep(0.2)  # were it quicker than that thread, it would see the same
        assert not waiting.done()
        with workspace.submit(StartJob(layout.root, layout.run, container), lock) as channel:
            await_started(channel)
        if verb == "remove":
            with pytest.raises(Conflict, match="You cannot remove a running container"):
                waiting.result(30)
            ground.containers.remove(container, force=True)
        else:
            waiting.result(30)
            if verb == "stop":
                assert ground.state(container)["Status"] == "exited"
                ground.containers.remove(container)
    ground.assert_clean()
