"""Health checks of real containers."""

import os
import signal
import time

import pytest

from tests.integration.engine.conftest import Ground, await_that
from tiffin.containers.record import RestartPolicy

pytestmark = pytest.mark.root
MILLISECOND = 1_000_000
QUICK = {"Interval": 50 * MILLISECOND, "Timeout": 5000 * MILLISECOND}


def health(ground: Ground, container: str) -> dict[str, object]:
    found: dict[str, object] = ground.state(container)["Health"]  # type: ignore[assignment]
    return found


def last(ground: Ground, container: str) -> dict[str, object]:
    log = health(ground, container)["Log"]
    return log[-1] if log else {}  # type: ignore[index]


def await_health(ground: Ground, container: str, wanted: str) -> None:
    await_that(lambda: health(ground, container)["Status"] == wanted, lambda: str(health(ground, container)))


def checked(ground: Ground, command: str, **check: object) -> str:
    test = {"Test": ["CMD-SHELL", command], **QUICK, **check}
    return ground.start("sleep", "1000", healthcheck=test)


def test_it_starts_becomes_healthy_unhealthy_and_healthy_again(ground: Ground) -> None:
    container = checked(ground, "echo seen; cat /state; test -e /state", Retries=2)
    await_health(ground, container, "unhealthy")
    assert int(str(health(ground, container)["FailingStreak"])) >= 2
    ground.exec(container, "touch", "/state")
    await_health(ground, container, "healthy")
    assert health(ground, container)["FailingStreak"] == 0
    ground.exec(container, "rm", "/state")
    await_health(ground, container, "unhealthy")
    result = last(ground, container)
    assert result["ExitCode"] == 1
    assert str(result["Output"]).startswith("seen\ncat: ")
    assert str(result["Start"]) < str(result["End"])
    await_that(lambda: len(health(ground, container)["Log"]) == 5)  # type: ignore[arg-type]
    told = [
        event.action
        for event in ground.engine.events(since=1, until=time.time_ns(), filters=[f"container={container}"])
        if event.action.startswith("health_status")
    ]
    assert told == ["health_status: unhealthy", "health_status: healthy", "health_status: unhealthy"]


def test_ps_shows_and_filters_it(ground: Ground) -> None:
    container = checked(ground, "test -e /state")
    (summary,) = ground.containers.list(filters=["health=starting"])
    assert summary.id == container
    assert summary.status.endswith(" (health: starting)")
    ground.exec(container, "touch", "/state")
    await_health(ground, container, "healthy")
    (summary,) = ground.containers.list(filters=["health=healthy"])
    assert summary.status.endswith(" (healthy)")
    ground.start("sleep", "1000")
    assert [found.id for found in ground.containers.list(filters=["health=healthy"])] == [container]
    assert container not in [found.id for found in ground.containers.list(filters=["health=none"])]


def test_a_check_runs_as_the_container_does(ground: Ground) -> None:
    container = ground.start(
        "sleep", "1000", user="1000:1000", env=("WHO=me",), workdir="/tmp",
        healthcheck={"Test": ["CMD", "sh", "-c", "id -u; pwd; echo $WHO; hostname"], **QUICK}, hostname="box",
    )  # fmt: skip
    await_health(ground, container, "healthy")
    assert last(ground, container)["Output"] == "1000\n/tmp\nme\nbox\n"


def test_a_check_that_takes_too_long_is_killed_and_failed(ground: Ground) -> None:
    container = checked(ground, "echo begun; exec sleep 777", Timeout=200 * MILLISECOND, Retries=1)
    await_health(ground, container, "unhealthy")
    result = last(ground, container)
    assert (result["ExitCode"], result["Output"]) == (-1, "Health check exceeded timeout (200ms): begun\n")
    inside = ground.exec(container, "sh", "-c", "cat /proc/[0-9]*/cmdline")[1]
    assert inside.count(b"sleep\x00777\x00") <= 1  # the next check's


def test_what_a_check_writes_is_bounded(ground: Ground) -> None:
    container = checked(ground, "yes | head -c 1000000")
    await_that(lambda: bool(last(ground, container)), seconds=20)
    output = str(last(ground, container)["Output"])
    assert output == "y\n" * 2048 + "..."


def test_a_check_that_cannot_run_is_a_failed_one(ground: Ground) -> None:
    container = ground.start(
        "sleep", "1000", healthcheck={"Test": ["CMD", "/nowhere"], **QUICK, "Retries": 1}
    )
    await_health(ground, container, "unhealthy")
    result = last(ground, container)
    assert result["ExitCode"] == -1
    assert "/nowhere" in str(result["Output"])


def test_none_switches_a_check_off(ground: Ground) -> None:
    container = ground.start("sleep", "1000", healthcheck={"Test": ["NONE"]})
    assert "Health" not in ground.state(container)


def test_a_paused_container_is_not_checked(ground: Ground) -> None:
    container = checked(ground, "true")
    await_health(ground, container, "healthy")
    ground.containers.pause(container)
    before = last(ground, container)
    time.sleep(0.3)
    assert last(ground, container)["End"] == before["End"] or health(ground, container)["Status"] == "healthy"
    ground.containers.unpause(container)
    await_that(lambda: last(ground, container)["End"] != before["End"])
    assert health(ground, container)["Status"] == "healthy"


def test_nobody_answers_for_a_container_that_has_ended(ground: Ground) -> None:
    container = checked(ground, "true")
    await_health(ground, container, "healthy")
    ground.containers.stop(container, timeout=0)
    assert health(ground, container)["Status"] == "unhealthy"  # Docker's word for it
    ground.containers.start(container)
    assert health(ground, container)["Status"] == "starting"
    await_health(ground, container, "healthy")


def test_a_container_ends_at_once_while_it_is_being_checked(ground: Ground) -> None:
    container = checked(ground, "touch /begun; sleep 1000", Timeout=60_000 * MILLISECOND)
    await_that(lambda: ground.exec(container, "test", "-e", "/begun")[0] == 0)
    began = time.monotonic()
    ground.containers.stop(container, timeout=0)
    assert time.monotonic() - began < 3


def test_every_run_is_checked_from_the_beginning(ground: Ground) -> None:
    container = ground.start(
        "sh", "-c", "sleep 1; exit 1", restart=RestartPolicy("on-failure", 1),
        healthcheck={"Test": ["CMD-SHELL", "exit 1"], **QUICK, "Retries": 1},
    )  # fmt: skip
    await_health(ground, container, "unhealthy")
    await_that(lambda: int(ground.containers.inspect(container)["RestartCount"]) == 1)
    await_health(ground, container, "unhealthy")
    await_that(lambda: ground.state(container)["Status"] == "exited")


def test_checks_leave_no_zombie_and_no_descriptor(ground: Ground) -> None:
    from tests.integration.engine.test_restart import row

    container = checked(ground, "true")
    supervisor = row(ground, container).supervisor

    def runs() -> int:
        told = last(ground, container)
        return hash(str(told))

    await_health(ground, container, "healthy")
    counts = set()
    for _ in range(6):
        before = runs()
        await_that(lambda before=before: runs() != before)  # type: ignore[misc]
        counts.add(len(os.listdir(f"/proc/{supervisor}/fd")))
        with open(f"/proc/{supervisor}/task/{supervisor}/children", encoding="ascii") as children:
            assert len(children.read().split()) <= 2
    assert max(counts) - min(counts) <= 1


def test_a_killed_check_is_a_failed_one_and_the_next_one_comes(ground: Ground) -> None:
    from tests.integration.engine.test_restart import row

    script = "test -e /quick || { touch /looked; sleep 1000; }"
    container = checked(ground, script, Retries=1, Timeout=60_000 * MILLISECOND)
    found = row(ground, container)

    def probes() -> list[int]:
        path = f"/proc/{found.supervisor}/task/{found.supervisor}/children"
        with open(path, encoding="ascii") as children:
            return [int(pid) for pid in children.read().split() if int(pid) != found.pid]

    await_that(lambda: ground.exec(container, "test", "-e", "/looked")[0] == 0)
    ground.exec(container, "touch", "/quick")
    os.kill(probes()[0], signal.SIGKILL)
    await_that(lambda: bool(last(ground, container)))
    await_health(ground, container, "healthy")
    log = health(ground, container)["Log"]
    assert log[0]["ExitCode"] == -1  # type: ignore[index]
    assert "killed" in log[0]["Output"]  # type: ignore[index]
