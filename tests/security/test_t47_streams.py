"""T47: attaches that are aborted, execs that leave children, output without end: the baseline returns."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.images import busybox_tar
from tests.integration.engine.conftest import Ground, await_that
from tiffin.containers import LogConfig
from tiffin.supervisor import control
from tiffin.supervisor.frames import Kind, frame

pytestmark = pytest.mark.root


@pytest.fixture
def ground(tmp_path: Path) -> Iterator[Ground]:
    made = Ground(tmp_path)
    with busybox_tar().open("rb") as tar:
        made.engine.images.import_(tar, "busybox")
    yield made
    made.remove_all()
    made.engine.teardown()
    made.engine.close()


def supervisor(ground: Ground, container: str) -> int:
    with ground.engine._workspace.store() as store:
        row = store.db.execute("SELECT supervisor FROM containers WHERE id = ?", (container,)).fetchone()
    return int(row[0])


def descriptors(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


def resident(pid: int) -> int:
    with open(f"/proc/{pid}/statm") as file:
        return int(file.read().split()[1]) * 4096


def test_aborted_attaches_leave_no_descriptor_and_no_memory(ground: Ground) -> None:
    container = ground.start("cat", open_stdin=True)
    pid = supervisor(ground, container)
    before = descriptors(pid), resident(pid)
    garbage = [
        frame(Kind.ATTACH, b"\x07"),
        b"\x13",
        b"\xff" * 64,
        frame(Kind.RESIZE, b"1"),
        frame(200, b"x"),
        b"",
    ]
    for number in range(3000):
        connection = control.connect(ground.engine.layout, container)
        assert connection is not None
        try:
            connection.sendall(garbage[number % len(garbage)])
        except ConnectionError:
            pass
        connection.close()
    await_that(lambda: descriptors(pid) <= before[0])
    assert resident(pid) < before[1] + (4 << 20)
    assert ground.state(container)["Status"] == "running"


def test_malformed_frames_at_a_terminal_end_the_client_alone(ground: Ground) -> None:
    container = ground.start("cat", open_stdin=True, tty=True)
    for payload in (b"", b"1", b"12345"):
        connection = control.connect(ground.engine.layout, container)
        assert connection is not None
        with connection:
            connection.settimeout(10)
            connection.sendall(frame(Kind.RESIZE, payload))
            assert connection.recv(1) == b""
    assert ground.state(container)["Status"] == "running"


def test_endless_output_is_bounded_on_disk_and_in_memory(ground: Ground) -> None:
    container = ground.start("yes", log=LogConfig(max_size=1 << 20, max_file=2))
    pid = supervisor(ground, container)
    directory = Path(ground.root, "containers", container)
    await_that(lambda: (directory / "container.log.1").exists(), seconds=30)
    size = sum(path.stat().st_size for path in directory.glob("container.log*"))
    assert size < 8 << 20
    assert resident(pid) < resident(os.getpid()) + (32 << 20), "which it was forked from"
    ground.containers.stop(container, timeout=0)
    assert ground.state(container)["Status"] == "exited"
