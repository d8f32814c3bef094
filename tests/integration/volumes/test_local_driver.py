"""Volumes with a filesystem of their own: mounted with the first container that has them, gone with the last."""

import os
import signal
from pathlib import Path

import pytest

from tests.command import Tiffin

pytestmark = pytest.mark.root


def mounted(tiffin: Tiffin, name: str) -> list[str]:
    """The types of what is mounted at the volume's place."""
    place = f"{tiffin.root}/volumes/{name}/_data"
    lines = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    return [words[2] for words in lines if words[1] == place]


def test_a_tmpfs_is_shared_by_its_users_and_goes_with_the_last(tiffin: Tiffin) -> None:
    options = ("-o", "type=tmpfs", "-o", "device=tmpfs", "-o", "o=size=1m,uid=12,nosuid")
    tiffin.ok("volume", "create", *options, "scratch")
    assert tiffin.ok("volume", "inspect", "-f", "{{.Options.o}}", "scratch") == "size=1m,uid=12,nosuid"
    assert mounted(tiffin, "scratch") == []
    tiffin.ok("run", "-d", "--name", "one", "-v", "scratch:/s", "busybox", "sleep", "1000")
    assert mounted(tiffin, "scratch") == ["tmpfs"]
    tiffin.ok("exec", "one", "sh", "-c", "echo hi > /s/file; test $(stat -c %u /s) = 12")
    assert tiffin.ok("run", "--rm", "-v", "scratch:/s", "busybox", "cat", "/s/file") == "hi"
    assert mounted(tiffin, "scratch") == ["tmpfs"]
    tiffin.ok("rm", "-f", "one")
    assert mounted(tiffin, "scratch") == []
    assert tiffin.ok("run", "--rm", "-v", "scratch:/s", "busybox", "ls", "/s") == ""
    assert mounted(tiffin, "scratch") == []
    assert "has other options" in tiffin.fails("volume", "create", *options[:-1], "o=size=2m", "scratch")
    tiffin.ok("volume", "rm", "scratch")


def test_a_directory_of_the_host_is_left_when_its_volume_goes(tiffin: Tiffin, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("host")
    tiffin.ok("volume", "create", "-o", "type=none", "-o", "o=bind,ro", "-o", f"device={tmp_path}", "shared")
    assert tiffin.ok("run", "--rm", "-v", "shared:/s", "busybox", "cat", "/s/file") == "host"
    other = "volume-opt=type=none,volume-opt=o=bind,volume-opt=device=/etc"
    said = tiffin("run", "--rm", "--mount", f"src=shared,dst=/s,{other}", "busybox", "true")
    assert said.returncode != 0 and "has other options" in said.stderr
    refused = tiffin("run", "--rm", "-v", "shared:/s", "busybox", "touch", "/s/x")
    assert "Read-only file system" in refused.stderr
    archive = tmp_path.parent / "shared.tar"
    tiffin.ok("volume", "export", "-o", str(archive), "shared")
    assert b"host" in archive.read_bytes()
    assert mounted(tiffin, "shared") == []
    tiffin.ok("volume", "rm", "shared")
    assert (tmp_path / "file").read_text() == "host"


def test_an_overlay_is_what_its_options_say(tiffin: Tiffin, tmp_path: Path) -> None:
    for name in ("lower", "upper", "work"):
        (tmp_path / name).mkdir()
    (tmp_path / "lower" / "file").write_text("below")
    words = ",".join(f"{name}dir={tmp_path / name}" for name in ("lower", "upper", "work"))
    tiffin.ok("volume", "create", "-o", "type=overlay", "-o", "device=overlay", "-o", f"o={words}", "over")
    tiffin.ok("run", "--rm", "-v", "over:/o", "busybox", "sh", "-c", "cat /o/file; echo new > /o/new")
    assert (tmp_path / "upper" / "new").read_text() == "new\n"
    assert mounted(tiffin, "over") == []


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (("type=nosuchfs", "device=x"), "this kernel has no filesystem nosuchfs"),
        (("type=none", "o=bind", "device=/nowhere/at/all"), "no such file or directory"),
        (("type=tmpfs", "device=tmpfs", "o=sizee=1m"), "cannot mount volume bad (type=tmpfs"),
        (("type=nfs", "device=:/export"), "no server for the nfs device"),
        (
            ("type=nfs", "device=:/export", "o=addr=127.0.0.1,soft,timeo=1,retrans=1,port=9"),
            "cannot mount volume bad (type=nfs",
        ),
    ],
)
def test_what_cannot_be_mounted_says_why_and_leaves_nothing(
    tiffin: Tiffin, options: tuple[str, ...], text: str
) -> None:
    words = [word for option in options for word in ("-o", option)]
    tiffin.ok("volume", "create", *words, "bad")
    done = tiffin("run", "--rm", "-v", "bad:/s", "busybox", "true")
    assert done.returncode == 125 and text in done.stderr, done.stderr
    assert mounted(tiffin, "bad") == [] and tiffin.ok("ps", "-aq") == ""
    tiffin.ok("volume", "rm", "bad")


def test_what_a_killed_supervisor_left_is_unmounted_by_the_next_command(tiffin: Tiffin) -> None:
    tiffin.ok("volume", "create", "-o", "type=tmpfs", "-o", "device=tmpfs", "scratch")
    container = tiffin.ok("run", "-d", "-v", "scratch:/s", "busybox", "sleep", "1000")
    import sqlite3

    db = sqlite3.connect(f"{tiffin.root}/tiffin.db")
    (supervisor,) = db.execute("SELECT supervisor FROM containers WHERE id = ?", (container,)).fetchone()
    db.close()
    os.kill(supervisor, signal.SIGKILL)
    pidfd = -1
    try:
        pidfd = os.pidfd_open(supervisor)
        import select

        select.select([pidfd], [], [], 10)
    except ProcessLookupError:
        pass
    finally:
        if pidfd >= 0:
            os.close(pidfd)
    assert tiffin.ok("ps", "-q") == ""
    assert mounted(tiffin, "scratch") == []


def test_a_volume_of_its_own_filesystem_is_filled_from_the_image(tiffin: Tiffin) -> None:
    tiffin.ok("volume", "create", "-o", "type=tmpfs", "-o", "device=tmpfs", "scratch")
    assert "busybox" in tiffin.ok(
        "run", "--rm", "-v", "scratch:/bin2", "-v", "scratch:/bin", "busybox", "ls", "/bin"
    )


def test_the_store_is_whole_and_small_while_one_is_mounted(tiffin: Tiffin, tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(b"x" * 5_000_000)
    tiffin.ok("volume", "create", "-o", "type=none", "-o", "o=bind", "-o", f"device={tmp_path}", "shared")
    tiffin.ok("run", "-d", "-v", "shared:/s", "busybox", "sleep", "1000")
    assert "nothing is damaged" in tiffin.ok("fsck")
    assert "Local Volumes   1         1         0B" in tiffin.ok("system", "df")


def test_an_empty_directory_that_is_read_only_is_not_filled(tiffin: Tiffin, tmp_path: Path) -> None:
    tiffin.ok("volume", "create", "-o", "type=none", "-o", "o=bind,ro", "-o", f"device={tmp_path}", "shared")
    done = tiffin("run", "--rm", "-v", "shared:/bin", "busybox", "/bin/true")
    assert done.returncode == 127, "it started, and found nothing there"
    assert os.listdir(tmp_path) == []


def test_users_that_come_and_go_at_once_share_it_and_leave_nothing(tiffin: Tiffin) -> None:
    tiffin.ok("volume", "create", "-o", "type=tmpfs", "-o", "device=tmpfs", "scratch")
    script = "echo x > /s/$HOSTNAME && grep -q ' /s tmpfs' /proc/mounts"
    for _ in range(3):
        runs = [
            tiffin.start("run", "--rm", "-v", "scratch:/s", "busybox", "sh", "-c", script) for _ in range(4)
        ]
        for run in runs:
            _, told = run.communicate(timeout=60)
            assert run.returncode == 0, told
        assert mounted(tiffin, "scratch") == []
    assert os.listdir(f"{tiffin.root}/volumes/scratch/_data") == []
