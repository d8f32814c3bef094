"""T31: /dev is always fresh, its nodes are what they say, and masks cover what they are meant to."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.suites.box import Box
from tiffin.errors import EngineError, InvalidArgument
from tiffin.oci.mount import Mount
from tiffin.runtime.devices import open_device

pytestmark = pytest.mark.root


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    with Box(tmp_path) as made:
        yield made


MASKED = "/proc/acpi /proc/interrupts /proc/kcore /proc/keys /proc/timer_list /proc/sched_debug /sys/firmware"


@pytest.mark.parametrize("name", ["dev", "proc", "sys"])
@pytest.mark.parametrize("target", ["/tmp", "/etc", "../../../../tmp", "/proc/self/fd/3", "."])
def test_t31_an_image_with_a_link_in_their_place_does_not_start(box: Box, name: str, target: str) -> None:
    canary = box.directory / "canary"
    canary.mkdir()
    (box.layer / name).symlink_to(target)
    with pytest.raises(InvalidArgument, match=f"/{name} of the image is not a directory"):
        box.run("true")
    assert list(canary.iterdir()) == []


def test_t31_a_file_in_their_place_does_not_start_either(box: Box) -> None:
    (box.layer / "dev").write_text("x")
    with pytest.raises(InvalidArgument, match="not a directory"):
        box.run("true")


def test_t31_links_in_the_images_dev_are_covered(box: Box) -> None:
    canary = box.directory / "canary"
    canary.write_text("alive")
    (box.layer / "dev").mkdir()
    for name in ("null", "console", "ptmx", "pts", "shm", "mqueue", "zero", "tty"):
        (box.layer / "dev" / name).symlink_to(canary)
    init = box.create(box.spec("echo x > /dev/null; echo y > /dev/console; ls -l /dev", terminal=True))
    init.start()
    assert init.wait() == 0
    assert canary.read_text() == "alive"
    done = box.run("stat -c '%n %t:%T %F' /dev/null /dev/zero /dev/full /dev/random /dev/urandom /dev/tty")
    assert [line.split()[1] for line in done.out.splitlines()] == ["1:3", "1:5", "1:7", "1:8", "1:9", "5:0"]
    assert done.out.count("character special file") == 6


def test_t31_a_document_without_dev_or_proc_gets_them_all_the_same(box: Box) -> None:
    (box.layer / "dev").mkdir()
    os.mknod(box.layer / "dev/sda", stat.S_IFBLK | 0o666, os.makedev(254, 0))
    spec = box.spec(f"ls /dev; cat {MASKED} 2>/dev/null | wc -c; ls /proc/1 > /dev/null && echo proc")
    spec["mounts"] = []
    done = box.run_spec(spec)
    assert "sda" not in done.out and "null" in done.out and "\n0\nproc\n" in done.out


def test_t31_masks_hold_and_cannot_be_lifted(box: Box) -> None:
    done = box.run(
        f"for f in {MASKED}; do if test -d $f; then ls $f; else cat $f; fi; done 2>/dev/null | wc -c; "
        "umount /proc/kcore /proc/keys 2>&1 | grep -c -i permitted; echo b > /proc/sysrq-trigger; "
        "echo 1 > /proc/sys/vm/drop_caches; rm /proc/keys; mv /dev/null /dev/other && cat /proc/keys | wc -c"
    )
    assert done.out.startswith("0\n") and done.out.endswith("0\n")
    assert done.out.count("Read-only file system") >= 1 or "can't create" in done.out


def test_t31_a_volume_over_dev_null_does_not_become_the_mask(box: Box) -> None:
    fake = box.directory / "fake"
    fake.write_text("shown instead")
    done = box.run(
        "cat /proc/keys /proc/timer_list", mounts=[Mount("/dev/null", "bind", str(fake), ("bind",))]
    )
    assert done.out == ""


def test_t31_a_host_device_is_checked_before_it_is_used(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "link").symlink_to("/dev/null")
    null = os.makedev(1, 3)
    for path in (tmp_path / "file", tmp_path / "link", Path("/dev/zero"), tmp_path / "none"):
        with pytest.raises(EngineError):
            open_device(str(path), stat.S_IFCHR, null)
    os.close(open_device("/dev/null", stat.S_IFCHR, null))
