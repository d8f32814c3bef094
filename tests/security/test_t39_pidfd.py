"""T39: signals and exec reach the very process that was meant, not a later one of the same number."""

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.suites.box import Box
from tiffin.errors import Conflict
from tiffin.kernel.process import process_start_time
from tiffin.runtime.exec import ExecRequest, exec_process
from tiffin.supervisor import processes

pytestmark = pytest.mark.root


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    with Box(tmp_path) as made:
        yield made


def test_t39_a_recycled_pid_is_neither_signalled_nor_joined(box: Box) -> None:
    bystander = subprocess.Popen(["sleep", "100"])
    try:
        start = process_start_time(bystander.pid)
        assert processes.open_process(bystander.pid, start - 1) == -1
        process = box.spec("true")["process"]
        request = ExecRequest(bystander.pid, start - 1, f"{box.parent}/x", process, helper_fd=box.helper)
        with pytest.raises(Conflict, match="is not running"):
            exec_process(request)
        assert bystander.poll() is None
        pidfd = processes.open_process(bystander.pid, start)
        with processes.closing(pidfd):
            assert processes.send(pidfd, signal.SIGTERM)
            assert bystander.wait() == -signal.SIGTERM
            assert not processes.send(pidfd, signal.SIGKILL)
    finally:
        bystander.kill()
        bystander.wait()
    assert processes.open_process(bystander.pid, start) == -1


def test_t39_stopping_an_ended_container_spares_who_has_its_pid(box: Box) -> None:
    init = box.start("true")
    assert init.wait() == 0
    init.signal(signal.SIGKILL)
    # The reaped pid is free: take it, where this machine lets us choose.
    last = Path("/proc/sys/kernel/ns_last_pid")
    taken = 0
    for _ in range(50):
        last.write_text(str(init.pid - 1))
        taken = os.fork()
        if taken == 0:
            signal.pause()
            os._exit(0)
        if taken == init.pid:
            break
        os.kill(taken, signal.SIGKILL)
        os.waitpid(taken, 0)
        taken = 0
    if not taken:
        pytest.skip("the pid was taken by somebody else")
    init.signal(signal.SIGKILL)
    # Start times count in hundredths of a second; the pidfd is exact.
    assert os.waitpid(taken, os.WNOHANG) == (0, 0)
    os.kill(taken, signal.SIGKILL)
    os.waitpid(taken, 0)
