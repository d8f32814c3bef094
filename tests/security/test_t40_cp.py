"""T40: a container that swaps what is copied, while it is copied, reaches nothing of the machine."""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.command import BUSYBOX, Tiffin, fresh_engine

pytestmark = pytest.mark.root

SECONDS = 4.0
# Two names exchanged for as long as it runs, so that each is always there: a directory or file, and a link or worse.
SWAPPER = r"""
#include <stdio.h>
#include <fcntl.h>
int renameat2(int, const char *, int, const char *, unsigned);
int main(int argc, char **argv) {
    for (;;)
        for (int at = 1; at + 1 < argc; at += 2)
            renameat2(AT_FDCWD, argv[at], AT_FDCWD, argv[at + 1], 2);
}
"""


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tiffin]:
    """A container that swaps a file, its parent, and a directory for links to `canary`, fifos and devices."""
    if shutil.which("gcc") is None:
        pytest.skip("gcc is needed for the swapper")
    directory = tmp_path_factory.mktemp("t40")
    (directory / "swapper.c").write_text(SWAPPER)
    command = ["gcc", "-static", "-O1", "-D_GNU_SOURCE", "-o", "swapper", "swapper.c"]
    subprocess.run(command, cwd=directory, check=True)
    canary = directory / "canary"
    canary.mkdir()
    (canary / "secret").write_text("of the machine")
    (canary / "d").mkdir()
    make = f"""
        mkdir -p /s/parent/d /s/tree/a/b
        for n in 1 2 3 4 5 6 7 8; do echo fine > /s/tree/a/f$n; echo fine > /s/tree/a/b/f$n; done
        echo fine > /s/parent/secret; echo fine > /s/file; mkfifo /s/fifo
        ln -s {canary} /s/out; ln -s {canary} /s/tree/out; ln -s {canary}/secret /s/link; ln -s /proc/self/exe /s/exe
        ln -s ../../../../../../../..{canary} /s/up; mkdir /s/third; ln -s /proc/1/root{canary} /s/magic
        mkfifo /s/tree/fifo; echo fine > /s/tree/plain; echo fine > /s/device-to-be
        /swapper /s/parent /s/out /s/file /s/link /s/tree/a /s/tree/out /s/third /s/up /s/tree/plain /s/tree/fifo &
        sleep 1000"""
    with fresh_engine(directory / "engine") as tiffin:
        tiffin.ok("create", "--name", "evil", "--network", "none", BUSYBOX, "sh", "-c", make)
        tiffin.ok("cp", directory / "swapper", "evil:/swapper")
        tiffin.ok("start", "evil")
        while tiffin("exec", "evil", "test", "-e", "/s/device-to-be").returncode:
            pass
        tiffin.canary = canary  # type: ignore[attr-defined]  # the tests' own mark on it
        yield tiffin


def untouched(engine: Tiffin) -> None:
    canary: Path = engine.canary  # type: ignore[attr-defined]  # as above
    assert sorted(os.listdir(canary)) == ["d", "secret"]
    assert not os.listdir(canary / "d")
    assert (canary / "secret").read_text() == "of the machine"
    assert canary.stat().st_uid == 0


def test_copies_out_hold_nothing_of_the_machine(engine: Tiffin, tmp_path: Path) -> None:
    done, deadline = 0, time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        for source in ("/s/parent/secret", "/s/file", "/s/third/secret", "/s/parent/.", "/s/tree"):
            target = tmp_path / f"copy{done}"
            target.mkdir()
            if engine("cp", "-L", f"evil:{source}", target).returncode == 0:
                done += 1
            for found in target.rglob("*"):
                assert found.is_symlink() or not found.is_file() or found.read_text() == "fine\n"
            shutil.rmtree(target)  # noqa: TID251 - the test's own directory
    assert done
    untouched(engine)


def test_copies_in_write_nothing_on_the_machine(engine: Tiffin, tmp_path: Path) -> None:
    (tmp_path / "d/d").mkdir(parents=True)
    (tmp_path / "secret").write_text("planted")
    (tmp_path / "d/d/planted").write_text("planted")
    (tmp_path / "d/secret").write_text("planted")
    done, deadline = 0, time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        for source, target in (
            ("secret", "/s/parent"), ("secret", "/s/parent/secret"), ("d/.", "/s/parent"), ("d/d", "/s/third"),
            ("secret", "/s/link"), ("d/.", "/s/tree/a"), ("secret", "/s/magic/secret"), ("secret", "/s/fifo"),
        ):  # fmt: skip
            done += engine("cp", f"{tmp_path}/{source}", f"evil:{target}").returncode == 0
    assert done
    untouched(engine)


def test_magic_links_are_not_followed(engine: Tiffin, tmp_path: Path) -> None:
    for path in ("/proc/1/root", "/proc/self/root", "/proc/1/cwd", "/proc/self/exe"):
        assert engine("cp", "-L", f"evil:{path}/", tmp_path / "x").returncode != 0
        assert engine("cp", f"evil:{path}/etc/passwd", tmp_path / "x").returncode != 0
    assert not (tmp_path / "x").exists()


def test_links_that_an_earlier_copy_brought_lead_nowhere(engine: Tiffin, tmp_path: Path) -> None:
    """First a link comes out, then a directory of the same name: what is in it must not go through the link."""
    canary: Path = engine.canary  # type: ignore[attr-defined]  # as above
    (tmp_path / "planted").write_text("planted")
    engine.ok("exec", "evil", "mkdir", "/again", "/again2", "/again2/d")
    engine.ok("exec", "evil", "ln", "-s", str(canary), "/again/d")
    engine.ok("cp", tmp_path / "planted", "evil:/again2/d/planted")
    engine.ok("cp", "evil:/again/.", tmp_path)
    refused = engine.fails("cp", "evil:/again2/.", tmp_path)
    assert "cannot overwrite non-directory" in refused
    untouched(engine)


def test_an_archive_from_elsewhere_cannot_leave_the_container(engine: Tiffin, tmp_path: Path) -> None:
    import io
    import tarfile  # noqa: TID251 - writes what no writer of ours would

    canary: Path = engine.canary  # type: ignore[attr-defined]  # as above
    for names in (["../../../../../../planted"], ["l", "l/planted"]):
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as tar:
            for name in names:
                member = tarfile.TarInfo(name)
                if name == "l":
                    member.type, member.linkname = tarfile.SYMTYPE, str(canary)
                tar.addfile(member)
        engine("cp", "-", "evil:/tmp", input=buffer.getvalue(), text=False)
    untouched(engine)
    assert not Path("/planted").exists()
