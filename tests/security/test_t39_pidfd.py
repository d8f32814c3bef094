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
from tiffin.runtime.delete import send_signal
from tiffin.runtime.exec import ExecRequest, exec_process

pytestmark = pytest.mark.root


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    with Box(tmp_path) as made:
        yield made


def test_t39_a_recycled_pid_is_neither_signalled_nor_joined(box: Box) -> None:
    bystander = subprocess.Popen(["sleep", "100"])
    try:
        start = process_start_time(bystander.pid)
        assert not send_signal(bystander.pid, start - 1, signal.SIGKILL)
        assert bystander.poll() is None
        process = box.spec("true")["process"]
        request = ExecRequest(bystander.pid, start - 1, f"{box.parent}/x", process, helper_fd=box.helper)
        with pytest.raises(Conflict, match="is not running"):
            exec_process(request)
        assert send_signal(bystander.pid, start, signal.SIGTERM)
        assert bystander.wait() == -signal.SIGTERM
    finally:
        bystander.kill()
        bystander.wait()
    assert not send_signal(bystander.pid, start, signal.SIGKILL)


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
