"""T32: the proc that is written to and masked is the container's own, and nobody mounts over it."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.suites.box import Box
from tiffin.errors import EngineError, InvalidArgument
from tiffin.oci.mount import Mount
from tiffin.runtime.masks import Views

pytestmark = pytest.mark.root


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    with Box(tmp_path) as made:
        yield made


@pytest.mark.parametrize(
    "target",
    [
        "/proc",
        "/proc/",
        "//proc",
        "/proc/self/attr",
        "/proc/sys",
        "/proc/1/../sys",
        "/x/../proc",
        "/proc/./self",
        "/proc/sys/kernel/core_pattern",
    ],
)
@pytest.mark.parametrize("kind", ["tmpfs", "bind"])
def test_t32_a_mount_over_proc_is_refused(box: Box, target: str, kind: str) -> None:
    with pytest.raises(InvalidArgument, match="/proc"):
        box.run(
            "true", mounts=[Mount(target, kind, str(box.directory), ("rbind",) if kind == "bind" else ())]
        )


def test_t32_a_link_to_proc_as_a_target_does_not_cover_it(box: Box) -> None:
    (box.layer / "p").symlink_to("/proc")
    (box.layer / "s").symlink_to("/proc/sys")
    for path in ("/p/self/attr", "/s", "/p"):
        try:
            done = box.run(
                "cat /proc/sys/kernel/hostname; cat /proc/keys | wc -c",
                mounts=[Mount(path, "tmpfs", "tmpfs")],
            )
        except (EngineError, InvalidArgument):
            continue
        assert done.out == "box\n0\n"


def test_t32_a_fake_proc_in_the_image_takes_no_sysctl(box: Box) -> None:
    fake = box.layer / "proc/sys/net/ipv4"
    fake.mkdir(parents=True)
    (fake / "ip_forward").write_text("fake\n")
    done = box.run("cat /proc/sys/net/ipv4/ip_forward", sysctls={"net.ipv4.ip_forward": "1"})
    assert done.out == "1\n" and (fake / "ip_forward").read_text() == "fake\n"


def test_t32_a_descriptor_of_another_filesystem_is_not_taken_for_proc(tmp_path: Path) -> None:
    fd = os.open(tmp_path, os.O_PATH)
    proc = os.open("/proc", os.O_PATH)
    for wrong in ((fd, fd, -1), (fd, proc, fd)):
        with pytest.raises(EngineError, match="not what the kernel should have mounted"):
            Views(*wrong)
    os.close(fd)
    os.close(proc)
