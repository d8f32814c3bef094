"""A machine that went down, simulated: what a power loss leaves is a row of another boot and an empty run
directory."""

import os
import signal
from pathlib import Path

import pytest

from tests.integration.engine.conftest import Ground, await_that
from tests.integration.engine.test_restart import row, status
from tests.signals import await_trap
from tiffin.containers.record import RestartPolicy
from tiffin.kernel.paths import AT_FDCWD, remove_tree
from tiffin.state import open_store
from tiffin.supervisor import control

pytestmark = pytest.mark.root


def lose_power(ground: Ground) -> None:
    """Everything that runs ends at once, unrecorded; the run directory is empty after the boot."""
    for summary in ground.containers.list():
        found = row(ground, summary.id)
        os.kill(found.supervisor, signal.SIGKILL)
        if found.pid:
            os.kill(found.pid, signal.SIGKILL)
            await_that(lambda pid=found.pid: not _lives(pid))  # type: ignore[misc]
    store = open_store(ground.engine.layout)
    with store.transaction() as db:
        db.execute("UPDATE containers SET boot_id = 'of another boot' WHERE boot_id != ''")
    store.close()
    remove_tree(AT_FDCWD, f"{ground.run_directory}/containers")


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_run_directory_of_no_container_is_removed_by_the_next_command_unless_somebody_has_its_lock(
    ground: Ground,
) -> None:
    """What a `create` leaves that was killed before there was a row; and one that is at work."""
    left, at_work = (Path(ground.run_directory, "containers", digit * 64) for digit in "ab")
    os.close(control.acquire(ground.engine.layout, left.name))
    lock = control.acquire(ground.engine.layout, at_work.name)
    ground.containers.list()
    assert not left.exists()
    assert at_work.exists()
    os.close(lock)
    ground.containers.list()
    assert not at_work.exists()


def test_what_ran_when_the_machine_went_down_is_told_truthfully(ground: Ground) -> None:
    container = ground.start("sleep", "1000", network="bridge")
    gone = ground.start("sleep", "1000", auto_remove=True)
    lose_power(ground)
    state = ground.state(container)
    assert (state["Status"], state["ExitCode"], state["Pid"]) == ("exited", 255, 0)
    assert state["Error"] == "the machine went down, and the container with it"
    assert gone not in [summary.id for summary in ground.containers.list(show_all=True)]
    ground.containers.start(container)
    assert status(ground, container) == "running"


def test_those_whose_policy_says_so_start_with_the_machine_in_their_order(ground: Ground) -> None:
    sleep = ("sleep", "1000")
    policies = {name: RestartPolicy(name) for name in ("always", "unless-stopped", "on-failure", "no")}
    running = {
        name: ground.start(*sleep, name=f"running-{name}", restart=policy)
        for name, policy in policies.items()
    }
    for name, policy in policies.items():
        container = ground.start(*sleep, name=f"stopped-{name}", restart=policy)
        ground.containers.stop(container, timeout=0)
    ended = ground.start("true", name="ended-on-failure", restart=policies["on-failure"])
    ground.containers.wait(ended)
    ground.create(*sleep, name="never-started", restart=policies["always"])
    lose_power(ground)
    booted = ground.engine.system.start_containers()
    assert booted.started == (
        "running-always",
        "running-unless-stopped",
        "running-on-failure",
        "stopped-always",
    )
    assert booted.failed == ()
    assert [status(ground, container) for container in running.values()] == ["running"] * 3 + ["exited"]
    assert ground.engine.system.start_containers().started == ()


def test_one_that_does_not_start_holds_up_no_other(ground: Ground, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    options = {"restart": RestartPolicy("always")}
    ground.start(
        "sleep", "1000", name="first", mounts=(f"type=bind,source={tmp_path}/there,target=/x",), **options
    )
    ground.start("sleep", "1000", name="second", **options)
    lose_power(ground)
    (tmp_path / "there").rmdir()
    booted = ground.engine.system.start_containers()
    assert booted.started == ("second",)
    ((name, why),) = booted.failed
    assert name == "first"
    assert "there" in why


def test_an_orderly_shutdown_stops_all_and_the_boot_brings_back_who_was_not_stopped_by_hand(
    ground: Ground,
) -> None:
    orderly = "trap 'echo ended; exit 0' TERM; while :; do sleep 0.02; done"
    policy = RestartPolicy("unless-stopped")
    kept = ground.start("sh", "-c", orderly, name="kept", restart=policy)
    plain = ground.start("sh", "-c", orderly, name="plain")
    by_hand = ground.start("sh", "-c", orderly, name="by-hand", restart=policy)
    for found in (kept, plain, by_hand):
        await_trap(ground.state(found)["Pid"])
    waiting = ground.start("sh", "-c", "exit 1", name="waiting", restart=policy)
    await_that(lambda: status(ground, waiting) == "restarting")
    ground.containers.stop(by_hand)
    assert ground.engine.system.stop_containers() == []
    assert [status(ground, found) for found in (kept, plain, by_hand, waiting)] == ["exited"] * 4
    assert ground.logs(kept) == b"ended\n"
    assert ground.state(kept)["ExitCode"] == 0
    lose_power(ground)
    assert ground.engine.system.start_containers().started == ("kept", "waiting")
