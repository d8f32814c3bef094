"""T28: a container with CAP_SYS_PTRACE that watches commands come in finds no descriptor of the engine's."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.suites.box import Box

pytestmark = pytest.mark.root


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    with Box(tmp_path) as made:
        yield made


def test_t28_a_watcher_sees_no_foreign_descriptor(box: Box) -> None:
    init = box.start(
        "while :; do ls -l /proc/[0-9]*/fd /proc/[0-9]*/cwd /proc/[0-9]*/root; done >> /tmp/seen 2>/dev/null",
        capabilities=("CAP_SYS_PTRACE", "CAP_DAC_OVERRIDE"),
    )
    for _ in range(60):
        assert box.exec(init, "true").code == 0
    seen = box.exec(
        init,
        "grep -e memfd -e tiffin -e layer -e anon_inode -e '-> /proc' /tmp/seen; test -s /tmp/seen && echo looked",
    )
    assert seen.out == "looked\n"
