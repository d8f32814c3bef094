"""Containers that take all they can get, or do not go: they are held to their limits, the engine answers, and they
end."""

import os
import time
from pathlib import Path

import pytest

from tests.integration.engine.conftest import Ground, await_that
from tests.integration.engine.test_restart import count, row, status
from tiffin.containers.record import LogConfig, Resources, RestartPolicy

pytestmark = pytest.mark.root
MIB = 1 << 20


def test_a_memory_hog_is_killed_and_it_is_said_why(ground: Ground) -> None:
    hog = ("sh", "-c", "x=$(yes | head -c 200000000); echo never")
    code, out, _ = ground.run(*hog, resources=Resources(memory=24 * MIB, memory_swap=24 * MIB))
    assert (code, out) == (137, b"")
    container = ground.start(
        "sh", "-c", "exec tail -c 100000000 /dev/zero",
        resources=Resources(memory=24 * MIB, memory_swap=24 * MIB),
    )  # fmt: skip
    await_that(lambda: status(ground, container) == "exited", seconds=20)
    state = ground.state(container)
    assert (state["ExitCode"], state["OOMKilled"]) == (137, True)


def test_a_memory_hog_runs_again_by_its_policy(ground: Ground) -> None:
    container = ground.start(
        "sh", "-c", "exec tail -c 100000000 /dev/zero", restart=RestartPolicy("on-failure", 1),
        resources=Resources(memory=24 * MIB, memory_swap=24 * MIB),
    )  # fmt: skip
    await_that(lambda: status(ground, container) == "exited" and count(ground, container) == 1, seconds=30)
    assert ground.state(container)["OOMKilled"] is True


def test_a_fork_bomb_is_held_by_the_limit_on_processes_and_the_engine_answers(ground: Ground) -> None:
    bomb = ground.start("sh", "-c", "f() { f | f & }; f; sleep 1000", resources=Resources(pids_limit=64))
    neighbour = ground.start("sleep", "1000")
    cgroup = row(ground, bomb).record.cgroup(ground.engine.layout.cgroup)
    await_that(
        lambda: any(
            int(path.read_text()) > 0 for path in Path("/sys/fs/cgroup").glob(f"*/{cgroup}/pids.current")
        )
    )
    time.sleep(0.5)
    for path in Path("/sys/fs/cgroup").glob(f"*/{cgroup}/pids.current"):
        assert int(path.read_text()) <= 64
    began = time.monotonic()
    assert ground.exec(neighbour, "true")[0] == 0
    ground.containers.remove(bomb, force=True)
    assert time.monotonic() - began < 15
    assert status(ground, neighbour) == "running"


def test_a_flood_on_stdout_fills_no_disk_and_holds_nobody_up(ground: Ground) -> None:
    container = ground.start("yes", "flood" * 100, log=LogConfig(max_size=MIB, max_file=2))
    directory = Path(ground.engine.layout.container(container))

    def logged() -> int:
        return sum(path.stat().st_size for path in directory.glob("container.log*"))

    await_that(lambda: (directory / "container.log.1").exists(), seconds=30)
    for _ in range(20):
        assert logged() <= 3 * MIB
        time.sleep(0.01)
    began = time.monotonic()
    assert ground.exec(container, "true")[0] == 0
    ground.containers.stop(container, timeout=0)
    assert time.monotonic() - began < 10


def test_who_ignores_the_stop_signal_is_killed_in_due_time(ground: Ground) -> None:
    container = ground.start("sh", "-c", "trap '' TERM INT HUP; while :; do sleep 0.05; done", stop_timeout=1)
    began = time.monotonic()
    ground.containers.stop(container)
    assert 1 <= time.monotonic() - began < 8
    assert ground.state(container)["ExitCode"] == 137


def test_who_turns_into_a_daemon_ends_with_the_first_process(ground: Ground) -> None:
    daemon = "(trap '' HUP; setsid sh -c 'trap \"\" TERM HUP; echo up; sleep 1000' &) ; sleep 0.3; exit 5"
    container = ground.start("sh", "-c", daemon)
    began = time.monotonic()
    assert ground.containers.wait(container) == 5
    assert time.monotonic() - began < 10
    assert ground.logs(container) == b"up\n"
    ground.containers.remove(container)
    ground.assert_clean()


def test_zombies_are_reaped_by_init_and_without_it_are_the_container_s_own(ground: Ground) -> None:
    orphans = "for i in 1 2 3 4 5 6 7 8; do (sleep 0.05 &) ; done; exec sleep 1000"
    reaped = ground.start("sh", "-c", orphans, init=True)
    kept = ground.start("sh", "-c", orphans)

    def zombies(container: str) -> int:
        states = ground.exec(container, "sh", "-c", "cat /proc/[0-9]*/stat")[1].decode(errors="replace")
        return sum(" Z " in line for line in states.splitlines())

    await_that(lambda: zombies(kept) == 8)
    assert zombies(reaped) == 0
    for container in (reaped, kept):
        ground.containers.remove(container, force=True)


def test_a_container_with_a_check_that_floods_and_forks_ends_all_the_same(ground: Ground) -> None:
    check = {
        "Test": ["CMD-SHELL", "yes & yes & sleep 1000"],
        "Interval": 1_000_000,
        "Timeout": 200_000_000,
        "Retries": 1,
    }
    container = ground.start("sleep", "1000", healthcheck=check, resources=Resources(pids_limit=64))
    await_that(lambda: ground.state(container)["Health"]["Status"] == "unhealthy", seconds=20)  # type: ignore[index]
    supervisor = row(ground, container).supervisor
    assert os.path.exists(f"/proc/{supervisor}")
    ground.containers.stop(container, timeout=0)
    ground.containers.remove(container)
    ground.assert_clean()
