"""T40: what a running container swaps under commands other than cp: a volume that others mount below, fill and export,
its own files under export, commit, diff and measuring, and the users and directories of an exec."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import tarfile  # noqa: TID251 - reads and writes what the commands take
import time
from typing import TYPE_CHECKING

import pytest

from tests.command import BUSYBOX, Tiffin, fresh_engine
from tests.security.test_t40_cp import SWAPPER

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.root

SECONDS = 2.0
SECRET = "of the machine"
_ANYBODY = 4242  # whom only the machine's passwd knows


@pytest.fixture(scope="module")
def canary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory of the machine that nothing may read from or write to."""
    made = tmp_path_factory.mktemp("machine") / "canary"
    (made / "d").mkdir(parents=True)
    (made / "secret").write_text(SECRET)
    (made / "passwd").write_text(f"app:x:{_ANYBODY}:{_ANYBODY}::/:/bin/sh\n")
    return made


@pytest.fixture(scope="module")
def engine(canary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tiffin]:
    """`evil` swaps a directory and a file, in a volume and of its own, for links to the canary and a fifo."""
    if shutil.which("gcc") is None:
        pytest.skip("gcc is needed for the swapper")
    directory = tmp_path_factory.mktemp("races")
    (directory / "swapper.c").write_text(SWAPPER)
    command = ["gcc", "-static", "-O1", "-D_GNU_SOURCE", "-o", "swapper", "swapper.c"]
    subprocess.run(command, cwd=directory, check=True)
    make = f"""
        for top in /v /u; do
            mkdir -p $top/dir/d $top/sub; echo fine > $top/dir/secret; echo fine > $top/sub/file
            ln -s {canary} $top/out; ln -s {canary}/secret $top/sub/link; ln -s ../../../../../../../..{canary} $top/up
            mkdir -p $top/third/d; mkfifo $top/fifo; echo fine > $top/plain
        done
        echo app:x:1234:1234::/:/bin/sh >> /etc/passwd; ln -s {canary}/passwd /etc/other; mkfifo /etc/third
        cp /etc/passwd /etc/fourth
        set --
        for top in /v /u; do
            set -- "$@" $top/dir $top/out $top/sub/file $top/sub/link $top/third $top/up $top/plain $top/fifo
        done
        touch /ready
        exec /swapper "$@" /etc/passwd /etc/other /etc/fourth /etc/third /etc/passwd /etc/fourth"""
    with fresh_engine(directory / "engine") as tiffin:
        words = ["--network", "none", "-v", "shared:/v", BUSYBOX, "sh", "-c", make]
        tiffin.ok("create", "--name", "evil", *words)
        tiffin.ok("cp", directory / "swapper", "evil:/swapper")
        tiffin.ok("start", "evil")
        while tiffin("exec", "evil", "test", "-e", "/ready").returncode:
            assert tiffin.ok("inspect", "-f", "{{.State.Running}}", "evil") == "true"
        yield tiffin


@pytest.fixture
def tiffin(engine: Tiffin, canary: Path) -> Iterator[Tiffin]:
    yield engine
    assert engine.ok("inspect", "-f", "{{.State.Running}}", "evil") == "true", "nothing swapped any more"
    assert sorted(os.listdir(canary)) == ["d", "passwd", "secret"]
    assert not os.listdir(canary / "d")
    assert (canary / "secret").read_text() == SECRET
    with open("/proc/self/mounts") as file:
        assert str(canary) not in file.read()


def export(tiffin: Tiffin, container: str) -> bytes:
    """Its files as a tar."""
    done = subprocess.run(tiffin.argv("export", container), capture_output=True, check=True, timeout=120)
    return done.stdout


def leaks(archive: bytes) -> list[str]:
    """The files of a tar that hold what is the machine's."""
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        files = [(one.name, tar.extractfile(one)) for one in tar if one.isreg()]
        return [name for name, file in files if file is not None and SECRET.encode() in file.read()]


def test_a_volume_is_exported_and_filled_within_itself(tiffin: Tiffin) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name in ("dir/planted", "dir/d/planted", "sub/file", "third/planted"):
            member = tarfile.TarInfo(name)
            member.size = len(SECRET)
            tar.addfile(member, io.BytesIO(b"x" * len(SECRET)))
    done, until = 0, time.monotonic() + SECONDS
    while not done or time.monotonic() < until:
        tiffin("volume", "import", "shared", input=buffer.getvalue(), text=False)
        exported = subprocess.run(tiffin.argv("volume", "export", "shared"), capture_output=True, timeout=120)
        if exported.returncode == 0:
            done += 1
            assert leaks(exported.stdout) == []


def test_mounts_below_a_volume_land_in_it_or_nowhere(tiffin: Tiffin) -> None:
    mounts = ["-v", "shared:/v", "-v", "other:/v/dir/d", "--tmpfs", "/v/sub/made", "-v", "third:/v/third/d"]
    write = "for d in dir/d sub/made third/d; do echo x > /v/$d/planted; done"
    done, until = 0, time.monotonic() + SECONDS
    for _ in range(100):
        done += (
            tiffin("run", "--rm", "--network", "none", *mounts, BUSYBOX, "sh", "-c", write).returncode == 0
        )
        if done and time.monotonic() > until:
            break
    assert done


def test_a_part_of_a_volume_is_a_part_of_it_or_none(tiffin: Tiffin) -> None:
    words = ["--mount", "type=volume,src=shared,dst=/x,volume-subpath=dir", BUSYBOX]
    done, until = 0, time.monotonic() + SECONDS
    for _ in range(100):
        run = tiffin("run", "--rm", "--network", "none", *words, "cat", "/x/secret")
        assert SECRET not in run.stdout
        done += run.stdout == "fine\n"
        if done and time.monotonic() > until:
            break
    assert done


def test_a_container_is_exported_committed_and_measured_as_it_is(tiffin: Tiffin) -> None:
    assert leaks(export(tiffin, "evil")) == []
    for pause in ("--pause=false", "--pause"):
        tiffin("commit", pause, "evil", "taken")
    tiffin.ok("create", "--name", "copy", "taken", "true")
    assert leaks(export(tiffin, "copy")) == []
    tiffin.ok("rm", "copy")
    changed = tiffin.ok("diff", "evil")
    assert "/u/dir" in changed and "canary" not in changed
    assert "evil" in tiffin.ok("ps", "-s") and "shared" in tiffin.ok("system", "df", "-v")


def test_the_user_and_the_directory_of_an_exec_are_the_containers(tiffin: Tiffin) -> None:
    found, until = set(), time.monotonic() + SECONDS
    for _ in range(100):
        try:
            done = tiffin("exec", "-u", "app", "evil", "id", "-u", timeout=10)
        except subprocess.TimeoutExpired:  # a fifo in the place of a file may hold up who opens it in there
            continue
        found.add(done.stdout.strip())
        assert str(_ANYBODY) not in done.stdout
        for where in ("/u/dir", "/u/third"):
            seen = tiffin("exec", "-w", where, "evil", "cat", "secret", timeout=30)
            assert SECRET not in seen.stdout
        if "1234" in found and time.monotonic() > until:
            break
    assert found <= {"1234", ""} and "1234" in found
