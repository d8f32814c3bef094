"""Engines beside each other, `--privileged` where a capability is missing, a kernel without overlay."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.command import Tiffin, fresh_engine

pytestmark = pytest.mark.root


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Tiffin]:
    with fresh_engine(tmp_path / "other") as engine:
        yield engine


def test_two_engines_never_see_each_other(shared: Tiffin, other: Tiffin) -> None:
    mine = shared.ok("run", "-d", "--name", "same", "-p", "127.0.0.1::80", "busybox", "sleep", "99")
    theirs = other.ok("run", "-d", "--name", "same", "-p", "127.0.0.1::80", "busybox", "sleep", "99")
    assert shared.ok("ps", "-q", "--no-trunc") == mine
    assert other.ok("ps", "-q", "--no-trunc") == theirs
    assert "No such container" in other.fails("stop", mine)
    other.ok("rm", "-f", "same")
    assert shared.ok("exec", "same", "echo", "alive") == "alive"
    shared.ok("rm", "-f", "same")


def test_privileged_gives_what_there_is_and_says_what_is_missing(shared: Tiffin) -> None:
    done = shared(
        "run",
        "--rm",
        "--privileged",
        "busybox",
        "sh",
        "-c",
        "grep CapEff /proc/self/status; mount -t tmpfs x /tmp",
    )
    assert done.returncode == 0, done.stderr
    status = Path("/proc/self/status").read_text()
    bounding = int(status.partition("CapBnd:")[2].split()[0], 16)
    assert int(done.stdout.split()[1], 16) == bounding
    last = int(Path("/proc/sys/kernel/cap_last_cap").read_text())
    if bounding != (1 << (last + 1)) - 1:
        assert "WARNING" in done.stderr
        assert "SYS_RESOURCE" in done.stderr or "lack" in done.stderr


_WITHOUT_OVERLAY = """
import errno, sys
from tiffin.cli.main import main
from tiffin.kernel import mounts

real = mounts.fsopen

def fsopen(fstype):
    if fstype == "overlay":
        raise OSError(errno.ENODEV, "No such device", fstype)
    return real(fstype)

mounts.fsopen = fsopen
sys.exit(main(sys.argv[1:]))
"""


def test_a_kernel_without_overlay_is_named(shared: Tiffin) -> None:
    words = shared.argv("run", "--rm", "--network", "none", "busybox", "true")[3:]
    done = subprocess.run(
        [sys.executable, "-c", _WITHOUT_OVERLAY, *words], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 125
    assert done.stderr == "tiffin: this kernel has no overlay filesystem; load it with: modprobe overlay\n"
    assert shared.ok("ps", "-aq") == ""
