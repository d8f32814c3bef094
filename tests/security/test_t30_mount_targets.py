"""T30: mount targets and the working directory stay inside the root, whatever links the image or a neighbour
sets."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.suites.box import Box
from tiffin.kernel.paths import rename_exchange
from tiffin.oci.mount import Mount

pytestmark = pytest.mark.root


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    with Box(tmp_path) as made:
        yield made


@pytest.fixture
def canary(tmp_path: Path) -> Path:
    directory = tmp_path / "canary"
    directory.mkdir()
    (directory / "file").write_text("alive")
    return directory


def tree(directory: Path) -> list[str]:
    return sorted(str(path) for path in directory.rglob("*"))


@pytest.mark.parametrize("climb", ["", "../../../../../../../.."])
def test_t30_links_in_the_image_lead_mounts_nowhere_else(box: Box, canary: Path, climb: str) -> None:
    (box.layer / "data").symlink_to(f"{climb}{canary}")
    (box.layer / "lib").symlink_to(f"{climb}{canary}/file")
    source = box.directory / "source"
    source.mkdir()
    (source / "mark").write_text("m")
    before = tree(canary)
    mounts = [
        Mount("/data/a/b", "bind", str(source), ("rbind",)),
        Mount("/data/c/file", "bind", str(source / "mark"), ("bind",)),
        Mount("/lib", "bind", str(source / "mark"), ("bind",)),
        Mount("/data/tmp", "tmpfs", "tmpfs"),
    ]
    done = box.run("cat /data/a/b/mark; cat /data/c/file; pwd", mounts=mounts, cwd="/data/w")
    assert done.code == 0 and done.out.startswith("mm")
    assert tree(canary) == before and (canary / "file").read_text() == "alive"


def test_t30_a_neighbour_swapping_the_target_gains_nothing(box: Box, canary: Path) -> None:
    """A shared volume in which a directory and a link to the host's files change places all the time."""
    volume, source = box.directory / "volume", box.directory / "source"
    (volume / "sub").mkdir(parents=True)
    source.mkdir()
    (volume / "link").symlink_to(f"../../../../../../../../..{canary}")
    before = tree(canary)
    swapper = os.fork()
    if swapper == 0:
        fd = os.open(volume, os.O_PATH)
        while os.getppid() != 1:
            rename_exchange(fd, "sub", fd, "link")
    try:
        for number in range(60):
            mounts = [
                Mount("/vol", "bind", str(volume), ("rbind",)),
                Mount(f"/vol/sub/{number}", "bind", str(source), ("rbind",)),
            ]
            try:
                box.run("true", mounts=mounts, cwd="/vol/sub/w")
            except Exception as error:  # refusing is as good as succeeding inside
                assert "Traceback" not in str(error)
    finally:
        os.kill(swapper, 9)
        os.waitpid(swapper, 0)
    assert tree(canary) == before
    assert box.leftovers() == [str(path) for path in Path("/sys/fs/cgroup").glob(f"*/{box.parent}")]


def test_t30_mounts_in_a_container_do_not_reach_the_host(box: Box) -> None:
    source = box.directory / "source"
    source.mkdir()
    done = box.run(
        "mkdir /v/d; mount -t tmpfs x /v/d && echo mounted",
        privileged=True,
        capabilities=("CAP_SYS_ADMIN",),
        mounts=[Mount("/v", "bind", str(source), ("rbind",))],
    )
    assert "mounted" in done.out
    assert not os.path.ismount(source / "d")
