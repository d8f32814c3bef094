"""cp as a user types it: names, targets, owners, links, streams, containers in every state, and Docker's words."""

import io
import os
import stat
import tarfile  # noqa: TID251 - reads and writes archives as any other program would
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.command import BUSYBOX, Tiffin

pytestmark = pytest.mark.root

SCRIPT = "mkdir -p /tmp/d/e; echo x > /tmp/f; echo y > /tmp/d/e/y; ln -s /tmp/d /tmp/ld; ln -s f /tmp/lf; sleep 1000"


@pytest.fixture(scope="module")
def box(shared: Tiffin) -> Iterator[str]:
    """A running container with files of user 1000, a volume and a tmpfs."""
    shared.ok("run", "-d", "--network", "none", "--name", "box", "-u", "1000", "-v", "vol:/vol", "--tmpfs", "/tf",
              BUSYBOX, "sh", "-c", SCRIPT)  # fmt: skip
    while shared("exec", "box", "test", "-e", "/tmp/lf").returncode:
        pass
    yield "box"
    shared.ok("rm", "-f", "box")


def here(tmp_path: Path) -> Path:
    (tmp_path / "d/sub").mkdir(parents=True)
    (tmp_path / "d/sub/s").write_text("s")
    (tmp_path / "f").write_text("hello")
    os.chown(tmp_path / "f", 1234, 1234)
    (tmp_path / "ld").symlink_to("d")
    (tmp_path / "lf").symlink_to("f")
    return tmp_path


def test_a_file_is_copied_in_under_its_name_or_another_and_keeps_owner_mode_and_time(
    shared: Tiffin, box: str, tmp_path: Path
) -> None:
    here(tmp_path)
    os.utime(tmp_path / "f", ns=(0, 1_600_000_000_123_456_789))
    os.chmod(tmp_path / "f", 0o4751)
    shared.ok("exec", "-u", "0", box, "mkdir", "/in1")
    shared.ok("cp", tmp_path / "f", f"{box}:/in1")
    shared.ok("cp", tmp_path / "f", f"{box}:in1/other")
    told = shared.ok("exec", box, "stat", "-c", "%u:%g %a %y", "/in1/f", "/in1/other").splitlines()
    assert told == ["1234:1234 4751 2020-09-13 12:26:40.123456789 +0000"] * 2


def test_a_directory_goes_into_one_that_is_there_and_takes_the_name_of_one_that_is_not(
    shared: Tiffin, box: str, tmp_path: Path
) -> None:
    here(tmp_path)
    shared.ok("exec", "-u", "0", box, "mkdir", "/in2")
    for source, target, found in (
        ("d", "/in2", "/in2/d/sub/s"),
        ("d/.", "/in2", "/in2/sub/s"),
        ("d", "/in2/new", "/in2/new/sub/s"),
        ("d/", "/in2/new2/", "/in2/new2/sub/s"),
        ("d/.", "/in2/new3", "/in2/new3/sub/s"),
        ("ld/", "/in2/new4", "/in2/new4/sub/s"),
        ("ld", "/in2/new5", ""),
    ):
        shared.ok("cp", f"{tmp_path}/{source}", f"{box}:{target}")
        if found:
            assert shared.ok("exec", box, "cat", found) == "s"
    assert shared.ok("exec", box, "readlink", "/in2/new5") == "d"
    shared.ok("cp", "-L", tmp_path / "ld", f"{box}:/in2/new6")
    assert shared.ok("exec", box, "cat", "/in2/new6/sub/s") == "s"
    shared.ok("cp", "-L", tmp_path / "lf", f"{box}:/in2")
    assert shared.ok("exec", box, "cat", "/in2/lf") == "hello"


def test_copies_out_belong_to_who_makes_them_unless_the_owner_is_asked_for(
    shared: Tiffin, box: str, tmp_path: Path
) -> None:
    shared.ok("cp", f"{box}:/tmp/f", tmp_path / "mine")
    shared.ok("cp", "-a", f"{box}:/tmp/f", tmp_path / "theirs")
    assert (tmp_path / "mine").stat().st_uid == 0
    assert (tmp_path / "theirs").stat().st_uid == 1000
    shared.ok("cp", f"{box}:/tmp/d", tmp_path / "new")
    shared.ok("cp", f"{box}:/tmp/d/.", tmp_path / "new2")
    shared.ok("cp", f"{box}:/tmp/d", tmp_path)
    shared.ok("cp", f"{box}:tmp/ld/", tmp_path)
    shared.ok("cp", "-L", f"{box}:/tmp/lf", tmp_path)
    for place in ("new", "new2", "d", "ld"):
        assert (tmp_path / place / "e/y").read_text() == "y\n"
    assert (tmp_path / "lf").read_text() == "x\n"
    shared.ok("cp", f"{box}:/tmp/ld", tmp_path / "link")
    assert os.readlink(tmp_path / "link") == "/tmp/d"


def test_a_target_that_is_a_link_means_what_it_leads_to(shared: Tiffin, box: str, tmp_path: Path) -> None:
    here(tmp_path)
    shared.ok(
        "exec", "-u", "0", box, "sh", "-c", "mkdir -p /in3/d; ln -s /in3/d /in3/l; ln -s nowhere /in3/b"
    )
    shared.ok("cp", tmp_path / "f", f"{box}:/in3/l")
    shared.ok("cp", tmp_path / "f", f"{box}:/in3/b")
    assert shared.ok("exec", box, "ls", "/in3/d", "/in3/nowhere").split() == ["/in3/nowhere", "/in3/d:", "f"]
    (tmp_path / "out").symlink_to(tmp_path / "d")
    shared.ok("cp", f"{box}:/tmp/f", tmp_path / "out")
    shared.ok("cp", f"{box}:/tmp/f", tmp_path / "lf")
    assert (tmp_path / "d/f").read_text() == (tmp_path / "f").read_text() == "x\n"


def test_volumes_and_tmpfs_of_a_running_container_are_seen(shared: Tiffin, box: str, tmp_path: Path) -> None:
    here(tmp_path)
    for place in ("vol", "tf"):
        shared.ok("cp", tmp_path / "f", f"{box}:/{place}/in")
        assert shared.ok("exec", box, "cat", f"/{place}/in") == "hello"
        shared.ok("cp", f"{box}:/{place}/in", tmp_path / place)
        assert (tmp_path / place).read_text() == "hello"


def mounts_of(tiffin: Tiffin) -> list[str]:
    """The engine's own: others may be at work on the machine."""
    with open("/proc/self/mountinfo") as file:
        return [line for line in file if str(tiffin.root) in line]


def test_containers_at_rest_are_copied_from_and_to_with_their_volumes_and_binds(
    shared: Tiffin, tmp_path: Path
) -> None:
    here(tmp_path)
    bound = tmp_path / "bound"
    bound.mkdir()
    before = mounts_of(shared)
    shared.ok("create", "--name", "rest", "--network", "none", "-v", "restvol:/root", "-v", f"{bound}:/b",
              BUSYBOX, "cat", "/etc/new", "/root/new", "/b/new")  # fmt: skip
    for place in ("/etc/new", "/root/new", "/b/new"):
        shared.ok("cp", tmp_path / "f", f"rest:{place}")
        shared.ok("cp", f"rest:{place}", tmp_path / "back")
        assert (tmp_path / "back").read_text() == "hello"
    assert (bound / "new").read_text() == "hello"
    assert shared.ok("start", "-a", "rest") == "hello" * 3
    shared.ok("cp", "rest:/etc/hostname", tmp_path)
    assert (tmp_path / "hostname").read_text().strip() in shared.ok("ps", "-aq", "--no-trunc")
    assert ("A", "/etc/new") in [tuple(line.split()) for line in shared.ok("diff", "rest").splitlines()]
    assert mounts_of(shared) == before
    shared.ok("rm", "rest")


def test_what_is_marked_read_only_is_not_written_to(shared: Tiffin, tmp_path: Path) -> None:
    here(tmp_path)
    shared.ok("create", "--name", "ro", "--network", "none", "--read-only", "--tmpfs", "/tf", "-v", "rv:/rv:ro",
              "-v", "rw:/rw", BUSYBOX, "sleep", "1000")  # fmt: skip
    for _ in range(2):
        refused = shared.fails("cp", tmp_path / "f", "ro:/tmp/f")
        assert refused == "tiffin: container rootfs is marked read-only"
        refused = shared.fails("cp", tmp_path / "f", "ro:/rv/f")
        assert refused == "tiffin: mounted volume is marked read-only"
        shared.ok("cp", tmp_path / "f", "ro:/rw/f")
        shared.ok("start", "ro")
    shared.ok("cp", tmp_path / "f", "ro:/tf/f")
    shared.ok("rm", "-f", "ro")


def test_tar_streams_go_both_ways(shared: Tiffin, box: str, tmp_path: Path) -> None:
    def archive(*words: str) -> list[str]:
        done = shared("cp", *words, "-", text=False)
        stream: Any = done.stdout
        with tarfile.open(fileobj=io.BytesIO(stream)) as tar:
            return tar.getnames()

    assert archive(f"{box}:/tmp/d") == ["d", "d/e", "d/e/y"]
    assert archive(f"{box}:/tmp/d/.") == [".", "./e", "./e/y"]
    assert archive(f"{box}:/tmp/lf") == ["lf"]
    assert archive("-L", f"{box}:/tmp/lf") == ["f"]
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        member = tarfile.TarInfo("from/tar")
        member.size, member.uid = 2, 77
        tar.addfile(member, io.BytesIO(b"hi"))
    done = shared("cp", "-", f"{box}:/tmp", input=buffer.getvalue(), text=False)
    assert done.returncode == 0, done.stderr
    assert shared.ok("exec", box, "stat", "-c", "%u %s", "/tmp/from/tar") == "77 2"
    refused = shared.fails("cp", "-", f"{box}:/tmp/f", input="")
    assert refused == f'tiffin: destination "{box}:/tmp/f" must be a directory'


def test_fifos_and_devices_are_copied_as_what_they_are_and_never_opened(
    shared: Tiffin, box: str, tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "p")
    shared.ok("cp", tmp_path / "p", f"{box}:/tmp/p")
    shared.ok("cp", f"{box}:/tmp/p", tmp_path / "p2")
    assert stat.S_ISFIFO((tmp_path / "p2").stat().st_mode)
    shared.ok("cp", f"{box}:/dev/null", tmp_path / "null")
    assert not (tmp_path / "null").exists()
    shared.ok("cp", "-a", f"{box}:/dev/null", tmp_path / "null")
    assert stat.S_ISCHR((tmp_path / "null").stat().st_mode)


def test_a_paused_container_is_copied_from(shared: Tiffin, box: str, tmp_path: Path) -> None:
    shared.ok("pause", box)
    try:
        shared.ok("cp", f"{box}:/tmp/f", tmp_path)
    finally:
        shared.ok("unpause", box)
    assert (tmp_path / "f").read_text() == "x\n"


def test_refusals_are_worded_as_dockers(shared: Tiffin, box: str, tmp_path: Path) -> None:
    here(tmp_path)
    (tmp_path / "q/f").mkdir(parents=True)
    at = str(tmp_path)
    shared.ok("exec", "-u", "0", box, "sh", "-c", "mkdir -p /r/f; touch /r/d")
    for source, target, words in (
        ("box:/nope", at, "Could not find the file /nope in container box"),
        ("box:/tmp/d", f"{at}/f", "cannot copy directory"),
        ("box:/tmp/f", f"{at}/no/x", f'invalid output path: directory "{at}/no" does not exist'),
        ("box:/tmp/f", f"{at}/new/", "no such directory"),
        ("box:/tmp/f", "/dev/null",
         'invalid output path: "/dev/null" must be a directory or a regular file: got a device'),
        ("box:/tmp/f", f"{at}/q", f'cannot overwrite directory "{at}/q/f" with non-directory "{at}/q"'),
        (f"{at}/f", "box:/tmp/no/x", "Could not find the file /tmp/no in container box"),
        (f"{at}/f", "box:/tmp/no/", "no such directory"),
        (f"{at}/d", "box:/tmp/f", "cannot copy directory"),
        (f"{at}/d", "box:/tmp/f/", 'cannot overwrite non-directory "/tmp/f" with directory "/tmp"'),
        (f"{at}/f", "box:/r", 'cannot overwrite directory "/r/f" with non-directory "/r"'),
        (f"{at}/d", "box:/r", 'cannot overwrite non-directory "/r/d" with directory "/r"'),
        (f"{at}/f", "box:/dev/null",
         'destination "box:/dev/null" must be a directory or a regular file: got a device'),
        (f"{at}/none", "box:/tmp", f"lstat {at}/none: no such file or directory"),
        (f"{at}/f", "nosuch:/x", "No such container: nosuch"),
        ("nosuch:/x", at, "No such container: nosuch"),
        (f"{at}/f", f"{at}/g", "must specify at least one container source"),
        ("box:/a", "box:/b", "copying between containers is not supported"),
        ("", "box:/b", "source can not be empty"),
        ("box:/b", "", "destination can not be empty"),
    ):  # fmt: skip
        assert shared.fails("cp", source, target) == f"tiffin: {words}"


def test_progress_is_told_when_asked_for_and_colons_are_paths_when_explicit(
    shared: Tiffin, box: str, tmp_path: Path
) -> None:
    (tmp_path / "a:b").write_text("odd")
    done = shared("cp", "-q=false", os.path.relpath(tmp_path / "a:b"), f"{box}:/tmp/odd")
    assert done.returncode == 0
    assert done.stderr.startswith("Successfully copied ")
    assert done.stderr.endswith(f"kB to {box}:/tmp/odd\n")
    assert not shared("cp", f"{box}:/tmp/odd", tmp_path).stderr
    told = shared.ok(
        "events", "--since", "1h", "--until", "0s", "--filter", "container=box", "--format", "{{.Action}}"
    )
    assert {"archive-path", "extract-to-dir"} <= set(told.split())
