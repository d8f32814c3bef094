"""T29: no descriptor but 0 to 2 reaches a container, and no working directory outside its root."""

from __future__ import annotations

import errno
import os

import pytest

from tests.integration.init.harness import Box, run
from tiffin.init import message as m
from tiffin.init.message import Status

pytestmark = pytest.mark.root

LEAKED = range(6, 41)
SAMPLE = (3, 4, 5, 6, 7, 8, 9, 10, 20, 40)


@pytest.fixture
def container(rootfs):
    box = Box(rootfs, "sleep", "60", leak=LEAKED)
    box.ready()
    box.start()
    assert box.executed()
    yield box.pid
    box.close()


@pytest.mark.parametrize("flags", [m.WAIT_START, m.WAIT_START | m.KEEP_INIT])
def test_run_holds_only_stdio(rootfs, flags):
    box = Box(rootfs, "sleep", "60", leak=LEAKED, flags=flags)
    box.ready()
    box.start()
    assert box.executed()
    with open(f"/proc/{box.pid}/task/{box.pid}/children") as children:
        pids = [box.pid, *map(int, children.read().split())]
    held = [sorted(os.listdir(f"/proc/{pid}/fd")) for pid in pids]
    box.close()
    assert held == [["0", "1", "2"]] * (2 if flags & m.KEEP_INIT else 1)


def test_exec_holds_only_stdio(rootfs, container):
    box = Box(rootfs, "sleep", "60", join=container, leak=LEAKED)
    box.ready()
    box.start()
    assert box.executed()
    child = box.statuses[0].value
    held = sorted(os.listdir(f"/proc/{child}/fd"))
    os.kill(child, 9)
    box.finish()
    assert held == ["0", "1", "2"]


def test_a_working_directory_of_a_leaked_descriptor_is_refused_by_run_and_exec(rootfs, container):
    for fd in SAMPLE:
        for name in (f"/proc/self/fd/{fd}", f"/proc/self/fd/{fd}/tmp", f"/proc/self/fd/{fd}/../.."):
            for join in (0, container):
                result = run(rootfs, "ls", cwd=name, leak=LEAKED, join=join)
                assert (result.code, result.output) == (1, "")
                assert result.statuses[-1] in (
                    Status("failed", "cwd", errno.ENOENT),
                    Status("failed", "cwd", errno.ENOTDIR),  # 4 and 5 are pipes
                )


def test_a_working_directory_in_another_mount_namespace_is_refused(rootfs):
    result = run(rootfs, "ls", cwd=f"/proc/{os.getpid()}/root", host_pid=True)
    assert (result.code, result.output) == (1, "")
    assert result.statuses[-1] == Status("failed", "cwd_outside", errno.EPERM)
