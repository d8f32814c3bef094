"""Every refusal is one line that names the thing, with Docker's exit code, and leaves nothing half made."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.command import Tiffin

pytestmark = pytest.mark.root


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (["run", "--pull", "never", "absent"], 125, "absent"),
        (["run", "busybox"], 125, "No command specified"),
        (["ps", "--no-such-flag"], 125, "unknown flag: --no-such-flag"),
        (["rm"], 1, "CONTAINER"),
        (["run", "UPPER"], 125, "must be lowercase"),
        (["run", "--memory", "much", "busybox"], 125, '"much"'),
        (["run", "--cpus", "x", "busybox"], 125, '"x"'),
        (["run", "--no-such-flag", "busybox"], 125, "unknown flag: --no-such-flag"),
        (["run", "--name", "a b", "busybox"], 125, "a b"),
        (["run", "--network", "moon", "busybox", "true"], 125, "moon"),
        (["run", "-p", "99999:1", "busybox", "true"], 125, "99999"),
        (["run", "-v", "relative/x:/x:nope", "busybox", "true"], 125, "nope"),
        (["run", "--mount", "type=bind,source=/no/such,target=/x", "busybox", "true"], 125, "/no/such"),
        (["run", "--cap-add", "FLY", "busybox", "true"], 125, "FLY"),
        (["run", "--rm", "-u", "nobody-here", "busybox", "true"], 125, "nobody-here"),
        (["rmi", "absent"], 1, "No such image"),
        (["inspect", "absent"], 1, "No such object: absent"),
        (["start", "absent"], 1, "No such container: absent"),
        (["stop", "absent"], 1, "No such container: absent"),
        (["kill", "absent"], 1, "No such container: absent"),
        (["logs", "absent"], 1, "No such container: absent"),
        (["tag", "busybox", "Bad Name"], 1, "Bad Name"),
        (["load", "-i", "/no/such/file"], 1, "/no/such/file"),
        (["import", "/etc/passwd", "x"], 1, "tar"),
        (["build", "/no/such/dir"], 1, "/no/such/dir"),
        (["frobnicate"], 1, "'frobnicate' is not a tiffin command"),
    ],
)
def test_one_line_and_dockers_code(shared: Tiffin, words: list[str], code: int, text: str) -> None:
    done = shared(*words)
    assert done.returncode == code, done.stderr
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, lines
    assert text in lines[0]
    assert shared.ok("ps", "-aq") == ""
    assert os.listdir(shared.root / "containers") == []


def test_a_taken_name_is_refused_in_dockers_words(shared: Tiffin) -> None:
    name = shared.ok("create", "--name", "taken", "busybox", "true")
    line = shared.fails("create", "--name", "taken", "busybox", "true", code=125)
    assert f'The container name "/taken" is already in use by container "{name}"' in line
    shared.ok("rm", "taken")


def test_a_taken_port_is_refused_and_the_container_takes_nothing(shared: Tiffin) -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        held.listen()
        port = held.getsockname()[1]
        line = shared.fails(
            "run", "-d", "--rm", "-p", f"127.0.0.1:{port}:80", "busybox", "sleep", "9", code=125
        )
    assert str(port) in line
    assert "port is already allocated" in line or "already in use" in line
    assert shared.ok("ps", "-aq") == ""


@pytest.mark.parametrize(
    ("text", "line", "word"),
    [
        ("RUN true\n", 1, "FROM"),
        ("FROM busybox\nRUNN true\n", 2, "RUN"),
        ("FROM busybox\nCOPY missing /x\n", 2, "missing"),
        ("FROM busybox\n\nRUN exit 3\n", 3, "3"),
        ("FROM 127.0.0.1:1/absent\n", 1, "127.0.0.1:1"),
        ("FROM busybox\nCOPY --frm=x a /b\n", 2, "--from"),
    ],
)
def test_a_build_error_points_at_file_line_and_instruction(
    shared: Tiffin, tmp_path: Path, text: str, line: int, word: str
) -> None:
    (tmp_path / "Dockerfile").write_text(text)
    images = shared.ok("images", "-q")
    done = shared("build", "-q", "-t", "bad", tmp_path)
    assert done.returncode == 1
    assert f"Dockerfile:{line}" in done.stderr
    assert word in done.stderr
    assert shared.ok("images", "-q") == images


def test_a_quiet_build_shows_the_end_of_the_log_of_the_step_that_failed(
    shared: Tiffin, tmp_path: Path
) -> None:
    text = "FROM busybox\nRUN echo not-this; seq 100; printf 'bad \\033[31m' >&2; exit 3\n"
    (tmp_path / "Dockerfile").write_text(text)
    done = shared("build", "-q", "--network", "none", tmp_path)
    *told, error = done.stderr.splitlines()
    first, last = (at for at, line in enumerate(told) if line == "------")
    log = told[first + 2 : last]
    assert log[-2:] == ["100", "bad \\x1b[31m"]
    assert "not-this" not in log
    assert error.startswith("tiffin: Dockerfile:2: RUN: ")
    assert error.endswith("returned a non-zero code: 3")
    assert not done.stdout


def test_a_truncated_archive_is_refused_and_nothing_is_kept(shared: Tiffin, tmp_path: Path) -> None:
    whole = tmp_path / "whole.tar"
    shared.ok("save", "-o", whole, "busybox")
    data = whole.read_bytes()
    cut = tmp_path / "cut.tar"
    cut.write_bytes(data[: len(data) // 2])
    before = shared.ok("images", "-q", "--no-trunc")
    assert "truncated" in shared.fails("load", "-i", cut)
    assert shared.ok("images", "-q", "--no-trunc") == before


def test_a_full_disk_is_one_clear_line(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", disk], check=True)
    try:
        big = tmp_path / "big.tar"
        (tmp_path / "noise").write_bytes(os.urandom(8 << 20))
        subprocess.run(["tar", "-C", tmp_path, "-cf", big, "noise"], check=True)
        tiffin = Tiffin(disk)
        tiffin.run_directory = tmp_path / "run"
        line = tiffin.fails("import", big, "big")
        assert "space" in line
        assert tiffin.ok("images", "-q") == ""
    finally:
        subprocess.run(["umount", disk], check=True)


def test_without_root_it_says_so(tmp_path: Path) -> None:
    # Once as root first: an ordinary user may not be able to read this interpreter's modules.
    script = (
        "import os, sys; from tiffin.cli.main import main;"
        "main(['--root', sys.argv[1], '--run', sys.argv[2], 'ps', '-q']);"
        "os.setgid(65534); os.setuid(65534); sys.exit(main(['--root', '/var/lib/tiffin-none', 'ps', '-q']))"
    )
    command = [sys.executable, "-c", script, f"{tmp_path}/root", f"{tmp_path}/run"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    assert len(done.stderr.strip().splitlines()) == 1
    assert "run as root" in done.stderr
