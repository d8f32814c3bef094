"""T27: a container that executes /proc/self/exe, or opens it while commands come in, changes nothing
outside."""

import hashlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.suites.box import Box

pytestmark = pytest.mark.root


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    with Box(tmp_path) as made:
        yield made


def hashes(box: Box) -> list[str]:
    found = []
    for path in (os.path.realpath(sys.executable), f"/proc/self/fd/{box.helper}"):
        with open(path, "rb") as file:
            found.append(hashlib.sha256(file.read()).hexdigest())
    return found


def test_t27_an_entrypoint_of_proc_self_exe_runs_no_engine(box: Box) -> None:
    before = hashes(box)
    init = box.create(box.spec(["/proc/self/exe", "-c", "print('engine')"]))
    init.start()
    assert init.wait() != 0
    assert hashes(box) == before


def test_t27_an_opener_loop_during_exec_writes_to_nothing(box: Box) -> None:
    before = hashes(box)
    init = box.start(
        "while :; do for p in /proc/[0-9]*; do echo x >> $p/exe && echo OPENED >> /tmp/won; "
        "done 2>/dev/null; done",
        capabilities=("CAP_DAC_OVERRIDE", "CAP_SYS_PTRACE"),
    )
    for _ in range(40):
        box.exec(init, "true")
    done = box.exec(init, "cat /tmp/won")
    # The loop may write to what the container itself executes: busybox is text-busy, so nothing at all.
    assert "OPENED" not in done.out
    assert hashes(box) == before
