"""T29: no descriptor of the host is in a container, and no working directory leads to one."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.suites.box import Box
from tiffin.errors import InvalidArgument, TiffinError

pytestmark = pytest.mark.root


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    with Box(tmp_path) as made:
        yield made


def test_t29_only_the_standard_descriptors_are_open(box: Box) -> None:
    look = "ls /proc/self/fd; ls -l /proc/1/fd"
    init = box.start("sleep 100")
    for done in (box.run("ls /proc/$$/fd; true"), box.exec(init, "ls /proc/$$/fd; true")):
        assert done.out.split()[:3] == ["0", "1", "2"]
        assert set(done.out.split()) <= {"0", "1", "2", "10"}  # 10: the shell's own copy
    assert "memfd" not in box.exec(init, look).out


@pytest.mark.parametrize("fd", [3, 4, 5, 6, 7, 8, 9, 10, 16, 20, 30, 40])
def test_t29_a_working_directory_through_a_descriptor_fails(box: Box, fd: int) -> None:
    for cwd in (f"/proc/self/fd/{fd}", f"/proc/self/fd/{fd}/../../..", f"/proc/1/fd/{fd}"):
        with pytest.raises(TiffinError):
            box.run("pwd", cwd=cwd)
    init = box.start("sleep 100")
    for cwd in (f"/proc/self/fd/{fd}", f"/proc/1/fd/{fd}"):
        with pytest.raises(TiffinError):
            box.exec(init, "pwd", cwd=cwd)


def test_t29_a_link_to_a_descriptor_as_working_directory_fails(box: Box) -> None:
    (box.layer / "work").symlink_to("/proc/self/fd/7")
    with pytest.raises(TiffinError):
        box.run("pwd", cwd="/work")
    with pytest.raises(InvalidArgument, match="absolute"):
        box.run("pwd", cwd="work")
