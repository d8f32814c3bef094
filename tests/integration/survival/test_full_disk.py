"""A disk that is full: what is begun fails in one line, what runs goes on, and with room again so does the rest."""

import os
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.images import busybox_tar
from tests.integration.engine.conftest import IMAGE, Ground, await_that
from tests.integration.engine.test_restart import count, status
from tiffin import Engine
from tiffin.containers.record import RestartPolicy
from tiffin.errors import TiffinError

pytestmark = pytest.mark.root


class SmallDisk(Ground):
    """A root directory on a filesystem of its own, which `fill` leaves no byte of."""

    def __init__(self, directory: Path) -> None:
        self.filler = directory / "disk" / "filler"
        self.root, self.run_directory = str(directory / "disk" / "root"), str(directory / "run")
        self.engine = Engine(self.root, self.run_directory)
        self.containers = self.engine.containers

    def fill(self) -> None:
        with self.filler.open("ab", buffering=0) as file:
            for size in (1 << 20, 4096, 1):
                try:
                    while file.write(bytes(size)) == size:
                        pass
                except OSError:
                    continue

    def free(self) -> None:
        self.filler.unlink(missing_ok=True)


@pytest.fixture
def small(tmp_path: Path) -> Iterator[SmallDisk]:
    (tmp_path / "disk").mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", tmp_path / "disk"], check=True)
    try:
        ground = SmallDisk(tmp_path)
        with busybox_tar().open("rb") as tar:
            ground.engine.images.import_(tar, IMAGE)
        yield ground
        ground.free()
        ground.remove_all()
        ground.engine.teardown()
        ground.engine.close()
        ground.assert_clean()
    finally:
        subprocess.run(["umount", tmp_path / "disk"], check=True)


def test_on_a_full_disk_nothing_begins_and_what_runs_goes_on(small: SmallDisk) -> None:
    running = small.start("sh", "-c", "while :; do echo tick; sleep 0.05; done")
    before = len(small.containers.list(show_all=True))
    small.fill()
    with pytest.raises((TiffinError, OSError), match=r"(?i)no space left"):
        for _ in range(100):  # the database has some room in its own files
            small.create("true")
    small.fill()
    assert status(small, running) == "running"
    assert small.exec(running, "true")[0] == 0
    small.free()
    seen = len(small.logs(running))
    await_that(lambda: len(small.logs(running)) > seen)
    assert small.run("echo", "again")[:2] == (0, b"again\n")
    assert len(small.containers.list(show_all=True)) >= before


def test_a_container_that_ends_on_a_full_disk_is_no_more_and_that_is_said_once_there_is_room(
    small: SmallDisk,
) -> None:
    container = small.start("sleep", "1000")
    kept = small.start("sleep", "1000")
    pid = int(str(small.state(container)["Pid"]))
    small.fill()
    try:
        small.containers.stop(container, timeout=0)
    except (TiffinError, OSError) as error:
        assert "no space left" in str(error).lower()
    await_that(lambda: not os.path.exists(f"/proc/{pid}"))
    small.free()
    assert status(small, container) == "exited"
    assert status(small, kept) == "running"
    small.containers.start(container)
    assert status(small, container) == "running"


def test_checks_and_logs_on_a_full_disk_cost_results_and_lines_not_the_container(small: SmallDisk) -> None:
    check = {"Test": ["CMD", "true"], "Interval": 20_000_000}
    container = small.start("sh", "-c", "while :; do echo tick; sleep 0.01; done", healthcheck=check)
    await_that(lambda: small.state(container)["Health"]["Status"] == "healthy")  # type: ignore[index]
    small.fill()
    threading.Event().wait(0.5)  # some checks, and some lines
    small.fill()
    assert status(small, container) == "running"
    small.free()

    def newest() -> object:
        return small.state(container)["Health"]["Log"][-1]["End"]  # type: ignore[index]

    seen = newest()
    await_that(lambda: newest() != seen)
    assert status(small, container) == "running"


def test_a_container_that_is_to_run_again_does_so_once_there_is_room(small: SmallDisk) -> None:
    policy = RestartPolicy("always")
    ending = "while test ! -e /run/end; do sleep 0.02; done; exit 1"
    container = small.start("sh", "-c", ending, restart=policy, tmpfs=("/run",))
    stopped = small.start("sh", "-c", ending, restart=policy, tmpfs=("/run",))
    pids = [int(str(small.state(found)["Pid"])) for found in (container, stopped)]
    small.fill()
    for found in (container, stopped):
        small.exec(found, "touch", "/run/end")
    await_that(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in pids))
    small.fill()
    threading.Event().wait(1.5)  # one look, at the least, for room
    try:
        small.containers.stop(stopped)
    except (TiffinError, OSError) as error:
        assert "no space left" in str(error).lower()
    small.free()
    await_that(lambda: status(small, container) == "running" and count(small, container) == 1, seconds=20)
    assert status(small, stopped) == "exited"
