"""T36: no_new_privs is set on run and on exec, and a set-user-id program gains nothing then."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.suites.box import Box

pytestmark = pytest.mark.root


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    with Box(tmp_path) as made:
        yield made


@pytest.mark.parametrize(("confined", "effective"), [(True, "1000"), (False, "0")])
def test_t36_a_setuid_program_gains_only_without_the_flag(box: Box, confined: bool, effective: str) -> None:
    box.compile(
        '#include <stdio.h>\n#include <unistd.h>\nint main(void) { printf("%d\\n", geteuid()); return 0; }',
        "whoeff",
    )
    (box.layer / "bin/whoeff").chmod(0o4755)
    look = "whoeff; grep NoNewPrivs /proc/self/status"
    init = box.start("sleep 100")
    for done in (
        box.run(look, user="1000", no_new_privileges=confined),
        box.exec(init, look, user="1000", no_new_privileges=confined),
    ):
        assert done.out.split() == [effective, "NoNewPrivs:", str(int(confined))]
