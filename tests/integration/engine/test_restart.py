"""Restart policies and `restart`, at a container that ends by itself."""

import os
import signal
import threading
import time

import pytest

from tests.integration.engine.conftest import Ground, await_that
from tests.signals import await_trap
from tiffin import Conflict, LogQuery, NotFound, Streams
from tiffin.containers.record import RestartPolicy
from tiffin.containers.store import Container, Containers
from tiffin.errors import CommandNotFound
from tiffin.state import open_store

pytestmark = pytest.mark.root
ALWAYS, UNLESS_STOPPED = RestartPolicy("always"), RestartPolicy("unless-stopped")
FAIL = ("sh", "-c", "echo run; exit 3")


def count(ground: Ground, container: str) -> int:
    return int(ground.containers.inspect(container)["RestartCount"])


def status(ground: Ground, container: str) -> str:
    return str(ground.state(container)["Status"])


def restarting(ground: Ground, **options: object) -> str:
    """A container in a back-off of some length."""
    container = ground.start(*FAIL, restart=ALWAYS, **options)
    await_that(lambda: count(ground, container) >= 4 and status(ground, container) == "restarting")
    return container


def test_a_failing_container_runs_again_with_growing_waits(ground: Ground) -> None:
    began = time.monotonic()
    container = ground.start(*FAIL, restart=RestartPolicy("on-failure", 3))
    await_that(lambda: status(ground, container) == "exited")
    assert time.monotonic() - began >= 0.1 + 0.2 + 0.4
    assert ground.logs(container) == b"run\n" * 4
    document = ground.containers.inspect(container)
    assert document["RestartCount"] == 3
    assert document["HostConfig"]["RestartPolicy"] == {"Name": "on-failure", "MaximumRetryCount": 3}
    assert document["State"]["ExitCode"] == 3


def test_on_failure_leaves_a_success_alone_and_a_start_counts_anew(ground: Ground) -> None:
    container = ground.start(
        "sh", "-c", "test -e /x && exit; touch /x; exit 1", restart=RestartPolicy("on-failure")
    )
    await_that(lambda: status(ground, container) == "exited")
    assert (count(ground, container), ground.state(container)["ExitCode"]) == (1, 0)
    ground.containers.start(container)
    await_that(lambda: status(ground, container) == "exited")
    assert count(ground, container) == 0


def test_between_two_runs_it_is_restarting_and_says_so(ground: Ground) -> None:
    container = restarting(ground)
    state = ground.state(container)
    assert (state["Running"], state["Restarting"], state["Pid"], state["ExitCode"]) == (True, True, 0, 3)
    (summary,) = ground.containers.list(filters=["status=restarting"])
    assert summary.status.startswith("Restarting (3) ")
    with pytest.raises(Conflict, match="is restarting, wait until the container is running"):
        ground.exec(container, "true")
    with pytest.raises(
        Conflict, match="You cannot attach to a restarting container, wait until it is running"
    ):
        ground.containers.attach(container, Streams())
    with pytest.raises(Conflict, match="is restarting, wait until the container is running"):
        ground.containers.pause(container)
    with pytest.raises(Conflict, match=f"You cannot remove a restarting container {container}. Stop the"):
        ground.containers.remove(container)
    assert ground.containers.start(container) == ()


@pytest.mark.parametrize("verb", ["stop", "kill", "kill by its stop signal", "remove"])
def test_what_ends_it_between_two_runs_ends_it_at_once_and_for_good(ground: Ground, verb: str) -> None:
    container = restarting(ground)
    began = time.monotonic()
    if verb == "remove":
        ground.containers.remove(container, force=True)
        with pytest.raises(NotFound):
            ground.state(container)
    else:
        if verb == "stop":
            ground.containers.stop(container)
        else:
            ground.containers.kill(container, "TERM" if "signal" in verb else "KILL")
        state = ground.state(container)
        assert (state["Status"], state["ExitCode"]) == ("exited", 3)
        assert row(ground, container).stopped
    assert time.monotonic() - began < 3


def row(ground: Ground, container: str) -> Container:
    store = open_store(ground.engine.layout)
    try:
        return Containers(store).find(container)
    finally:
        store.close()


def test_a_stop_while_it_runs_is_for_good_too_and_a_start_takes_it_back(ground: Ground) -> None:
    container = ground.start("sleep", "1000", restart=ALWAYS, init=True)
    ground.containers.stop(container)
    assert (status(ground, container), count(ground, container)) == ("exited", 0)
    assert row(ground, container).stopped
    ground.containers.start(container)
    assert not row(ground, container).stopped


def test_a_signal_that_is_not_to_end_it_leaves_the_policy_in_place(ground: Ground) -> None:
    container = ground.start(
        "sh", "-c", "trap 'exit 7' USR1; while :; do sleep 0.02; done", restart=UNLESS_STOPPED
    )
    await_trap(ground.state(container)["Pid"], signal.SIGUSR1)
    ground.containers.kill(container, "USR1")
    await_that(lambda: count(ground, container) == 1 and status(ground, container) == "running")


def test_wait_and_attach_end_with_the_run_and_logs_go_on(ground: Ground) -> None:
    container = ground.create("sh", "-c", "sleep 0.1; echo run; exit 3", restart=ALWAYS)
    lines: list[bytes] = []

    def follow() -> None:
        lines.extend(line.data for line in ground.containers.logs(container, LogQuery(follow=True)))

    assert ground.containers.start_attached(container, Streams()) == 3
    follower = threading.Thread(target=follow)
    follower.start()
    assert ground.containers.wait(container) == 3
    await_that(lambda: len(lines) >= 3)
    ground.containers.stop(container)
    follower.join(10)
    assert not follower.is_alive()
    assert len(lines) >= 3
    assert set(lines) == {b"run\n"}


def test_every_run_has_its_network_and_volumes_and_leaves_nothing(ground: Ground) -> None:
    container = ground.start(
        "sh", "-c", "ip -o -4 addr show eth0 >> /data/seen; [ $(wc -l < /data/seen) = 4 ] && exec sleep 1000; exit 1",
        restart=RestartPolicy("on-failure", 2), network="bridge", volumes=("/data",),
    )  # fmt: skip
    await_that(lambda: status(ground, container) == "exited", seconds=30)
    ground.containers.start(container)
    await_that(lambda: ground.exec(container, "wc", "-l", "/data/seen")[1] == b"4 /data/seen\n", seconds=30)


def test_a_terminal_is_made_anew_for_every_run(ground: Ground) -> None:
    container = ground.start("sh", "-c", "tty; exit 1", tty=True, restart=RestartPolicy("on-failure", 2))
    await_that(lambda: status(ground, container) == "exited")
    assert ground.logs(container) == b"/dev/pts/0\r\n" * 3


def test_a_supervisor_of_many_runs_holds_no_more_than_of_one(ground: Ground) -> None:
    container = ground.start("sh", "-c", "exit 1", restart=ALWAYS)

    def descriptors() -> int:
        return len(os.listdir(f"/proc/{row(ground, container).supervisor}/fd"))

    await_that(lambda: status(ground, container) == "restarting")
    first = descriptors()
    await_that(lambda: count(ground, container) >= 4 and status(ground, container) == "restarting")
    assert descriptors() == first


def test_restart_ends_a_run_and_begins_another(ground: Ground) -> None:
    container = ground.start("sh", "-c", "trap 'exit 0' TERM; while :; do sleep 0.02; done")
    before = ground.state(container)
    await_trap(before["Pid"])
    ground.containers.restart(container)
    after = ground.state(container)
    assert after["Status"] == "running"
    assert after["Pid"] != before["Pid"]
    assert count(ground, container) == 0


def test_restart_kills_what_does_not_end_in_time(ground: Ground) -> None:
    container = ground.start("sleep", "1000")  # as PID 1 it ignores SIGTERM
    before = ground.state(container)["Pid"]
    began = time.monotonic()
    ground.containers.restart(container, timeout=1)
    assert 1 <= time.monotonic() - began < 8
    assert ground.state(container)["Pid"] != before
    ground.containers.restart(container, stop_signal="KILL")
    assert status(ground, container) == "running"


def test_a_container_with_rm_survives_its_restart_and_not_its_end(ground: Ground) -> None:
    container = ground.start("sleep", "1000", auto_remove=True, volumes=("/kept",))
    ground.exec(container, "touch", "/kept/x", "/y")
    ground.containers.restart(container, timeout=0)
    assert ground.exec(container, "ls", "/kept/x", "/y")[0] == 0
    ground.containers.stop(container, timeout=0)
    with pytest.raises(NotFound):
        ground.state(container)
    ground.assert_clean()


def test_restart_starts_what_is_at_rest_between_runs_or_paused(ground: Ground) -> None:
    resting = ground.create("sleep", "1000")
    ground.containers.restart(resting)
    assert status(ground, resting) == "running"
    ground.containers.pause(resting)
    ground.containers.restart(resting, timeout=1)
    assert status(ground, resting) == "running"
    waiting = restarting(ground)
    ground.containers.restart(waiting)
    assert count(ground, waiting) < 4


def test_a_restart_that_cannot_start_says_why_and_leaves_it_down(ground: Ground) -> None:
    container = ground.start("sh", "-c", "rm /bin/sh; sleep 1000")
    await_that(lambda: ground.exec(container, "test", "-e", "/bin/sh")[0] != 0)
    with pytest.raises(CommandNotFound, match="executable file not found"):
        ground.containers.restart(container, timeout=0)
    state = ground.state(container)
    assert (state["Status"], state["ExitCode"]) == ("exited", 127)
    assert "executable file not found" in str(state["Error"])


def test_a_run_that_cannot_start_ends_the_restarts(ground: Ground) -> None:
    container = ground.start("sh", "-c", "rm /bin/sh; exit 1", restart=ALWAYS)
    await_that(lambda: status(ground, container) == "exited")
    assert ground.state(container)["ExitCode"] == 127


def test_the_policy_of_the_row_is_the_one_that_counts(ground: Ground) -> None:
    """What `update` writes while it runs holds for the run's end."""
    container = ground.start("sleep", "1000", restart=ALWAYS)
    store = open_store(ground.engine.layout)
    with store.transaction() as db:
        db.execute("UPDATE containers SET policy = '{}' WHERE id = ?", (container,))
    store.close()
    os.kill(int(str(ground.state(container)["Pid"])), 9)
    await_that(lambda: status(ground, container) == "exited")


def told_of(ground: Ground, container: str) -> list[str]:
    filters = [f"container={container}"]
    events = ground.engine.events(since=1, until=time.time_ns(), filters=filters)
    return [f"{event.action} {event.attributes.get('signal', '')}".strip() for event in events]


def test_the_events_of_a_restart_are_dockers(ground: Ground) -> None:
    script = "trap 'exit 0' TERM; echo ready; while :; do sleep 0.05; done"
    container = ground.start("sh", "-c", script)
    await_that(lambda: b"ready" in ground.logs(container))
    ground.containers.restart(container, timeout=60)
    assert told_of(ground, container) == ["create", "start", "kill 15", "die", "stop", "start", "restart"]


def test_a_restart_that_has_to_kill_says_so(ground: Ground) -> None:
    container = ground.start("sleep", "1000")
    ground.containers.restart(container, timeout=0)
    restarted = ["kill 15", "kill 9", "die", "stop", "start", "restart"]
    assert told_of(ground, container) == ["create", "start", *restarted]
    ground.containers.restart(container, timeout=0)
    assert told_of(ground, container) == ["create", "start", *restarted, *restarted]


def test_a_restart_of_what_is_at_rest_starts_it(ground: Ground) -> None:
    container = ground.create("sleep", "1000")
    ground.containers.restart(container)
    assert told_of(ground, container) == ["create", "start", "restart"]
