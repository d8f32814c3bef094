"""T39: a row's pid is only signalled when it is still the process that was meant."""

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.containers.test_records import RECORD
from tiffin import Engine
from tiffin.containers import Containers
from tiffin.kernel.process import boot_id, process_start_time

pytestmark = pytest.mark.root


@pytest.fixture
def bystander() -> Iterator["subprocess.Popen[bytes]"]:
    process = subprocess.Popen(["/bin/sleep", "1000"])
    yield process
    process.kill()
    process.wait()


def test_a_recycled_pid_is_not_the_container(bystander: "subprocess.Popen[bytes]", tmp_path: Path) -> None:
    """The row says: running, this pid, started earlier than the bystander did. Its supervisor is dead."""
    earlier = process_start_time(bystander.pid) - 1
    with Engine(str(tmp_path / "root"), str(tmp_path / "run")) as engine:
        with engine._workspace.store() as store:
            rows = Containers(store)
            rows.insert(RECORD._replace(mounts=(), ports=()))
            rows.starting(RECORD.id, bystander.pid, earlier, boot_id())
            rows.running(RECORD.id, bystander.pid, earlier, time.time_ns())
        engine.containers.stop("lunch", timeout=0)
        state = engine.containers.inspect("lunch")["State"]
        assert (state["Status"], state["ExitCode"]) == ("exited", 137)
        engine.containers.remove("lunch", force=True)
    assert bystander.poll() is None


def test_a_row_of_an_earlier_boot_names_nobody(bystander: "subprocess.Popen[bytes]", tmp_path: Path) -> None:
    start = process_start_time(bystander.pid)
    with Engine(str(tmp_path / "root"), str(tmp_path / "run")) as engine:
        with engine._workspace.store() as store:
            rows = Containers(store)
            rows.insert(RECORD._replace(mounts=(), ports=()))
            rows.starting(RECORD.id, bystander.pid, start, "another boot")
            rows.running(RECORD.id, bystander.pid, start, time.time_ns())
        assert [summary.state for summary in engine.containers.list(show_all=True)] == ["exited"]
        engine.containers.remove("lunch")
    assert bystander.poll() is None
