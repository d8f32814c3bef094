"""T34: inheritable and ambient sets are empty, groups are the image's; also for exec."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.suites.box import Box

pytestmark = pytest.mark.root


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    with Box(tmp_path) as made:
        yield made


DEFAULT = "00000000800405fb"


def status(text: str) -> dict[str, str]:
    return {line.split(":")[0]: line.partition(":")[2].strip() for line in text.splitlines() if ":" in line}


@pytest.mark.parametrize(("user", "effective"), [("", DEFAULT), ("app", "0000000000000000")])
def test_t34_sets_and_groups_are_as_they_should_be(box: Box, user: str, effective: str) -> None:
    (box.layer / "etc/passwd").write_text("root:x:0:0::/root:\napp:x:1000:1000::/:\n")
    (box.layer / "etc/group").write_text("root:x:0:root\nwheel:x:10:root,app\nbin:x:1:app\n")
    groups = "1 10 1000" if user else "0 10"
    init = box.start("cat /proc/self/status > /tmp/status; sleep 100", user=user)
    found = status(box.run("cat /proc/self/status", user=user).out)
    again = status(box.exec(init, "cat /proc/self/status", user=user).out)
    for seen in (found, again):
        assert seen["CapInh"] == seen["CapAmb"] == "0000000000000000"
        assert seen["CapBnd"] == DEFAULT
        assert seen["CapEff"] == seen["CapPrm"] == effective
        assert seen["Groups"] == groups and seen["Seccomp"] == "2"


def test_t34_the_callers_groups_do_not_come_along(box: Box) -> None:
    assert status(box.run("cat /proc/self/status", user="1234:1234").out)["Groups"] == "1234"
    found = status(box.run("cat /proc/self/status", user="1234", groups=("7", "8")).out)
    assert found["Groups"] == "0 7 8" and found["Gid"].split()[0] == "0"
