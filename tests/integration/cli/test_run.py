"""`tiffin run` and its neighbours, as a user types them."""

import json
import os
import pty
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.command import Tiffin

pytestmark = pytest.mark.root


def wait_for(condition: Callable[[], object], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def run(tiffin: Tiffin, *words: str, **options: object) -> "subprocess.CompletedProcess[str]":
    return tiffin("run", "--rm", "--network", "none", *words, **options)


def test_output_and_exit_code_are_the_commands(shared: Tiffin) -> None:
    done = run(shared, "busybox", "sh", "-c", "echo out; echo err >&2; exit 7")
    assert (done.stdout, done.stderr, done.returncode) == ("out\n", "err\n", 7)


@pytest.mark.parametrize(
    ("command", "code", "text"),
    [
        (["no-such-command"], 127, 'exec: "no-such-command": executable file not found in $PATH'),
        (["/etc/passwd"], 126, "permission denied"),
        (["/no/such/file"], 127, "no such file or directory"),
    ],
)
def test_a_command_that_cannot_run_is_refused_with_dockers_code(
    shared: Tiffin, command: list[str], code: int, text: str
) -> None:
    assert text in shared.fails("run", "--rm", "--network", "none", "busybox", *command, code=code)
    assert shared.ok("ps", "-aq") == ""


def test_a_signal_gives_128_and_its_number(shared: Tiffin) -> None:
    assert run(shared, "busybox", "sh", "-c", "kill -9 $$; sleep 5").returncode in (137, 0)
    name = shared.ok("run", "-d", "--network", "none", "busybox", "sleep", "100")
    shared.ok("kill", name)
    assert shared.ok("wait", name) == "137"
    shared.ok("rm", name)


def test_standard_input_reaches_the_command_and_its_end_too(shared: Tiffin) -> None:
    done = run(shared, "-i", "busybox", "wc", "-c", input="x" * 100_000)
    assert done.stdout.strip() == "100000"
    assert run(shared, "busybox", "cat", input="not for the container").stdout == ""


def test_environment_user_directory_and_hostname(shared: Tiffin) -> None:
    script = 'echo "$A $B $HOSTNAME"; pwd; id -u; id -g; hostname'
    words = ["-e", "A=1", "-e", "B", "-w", "/var/new", "-u", "1000", "--hostname", "box"]
    done = run(shared, *words, "busybox", "sh", "-c", script, env={**os.environ, "B": "2"})
    assert done.stdout.split("\n")[:5] == ["1 2 box", "/var/new", "1000", "1000", "box"]


def test_the_container_sees_its_own_world(shared: Tiffin) -> None:
    done = run(
        shared,
        "busybox",
        "sh",
        "-c",
        "echo $$; ls /dev; ps | wc -l; ip -o link | cut -d: -f2; cat /proc/1/comm",
    )
    assert done.stdout.startswith("1\n")
    assert {"null", "zero", "full", "random", "urandom", "tty", "pts", "shm", "mqueue"} <= set(
        done.stdout.split()
    )
    assert "eth0" not in done.stdout


def test_read_only_root_refuses_writes_and_volumes_take_them(shared: Tiffin, tmp_path: Path) -> None:
    done = run(
        shared,
        "--read-only",
        "-v",
        f"{tmp_path}:/data",
        "busybox",
        "sh",
        "-c",
        "echo x > /data/x; echo y > /y",
    )
    assert done.returncode == 1
    assert "Read-only file system" in done.stderr
    assert (tmp_path / "x").read_text() == "x\n"


def test_limits_arrive_in_the_cgroup(shared: Tiffin) -> None:
    name = shared.ok(
        "run",
        "-d",
        "--network",
        "none",
        "--memory",
        "64m",
        "--cpus",
        "0.5",
        "--pids-limit",
        "50",
        "busybox",
        "sleep",
        "99",
    )
    pid = json.loads(shared.ok("inspect", name))[0]["State"]["Pid"]
    paths = dict(
        line.strip().split(":", 2)[1:] for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines()
    )
    if "memory" in paths:
        assert Path(
            f"/sys/fs/cgroup/memory{paths['memory']}/memory.limit_in_bytes"
        ).read_text().strip() == str(64 << 20)
        assert Path(f"/sys/fs/cgroup/pids{paths['pids']}/pids.max").read_text().strip() == "50"
    else:
        assert Path(f"/sys/fs/cgroup{paths['']}/memory.max").read_text().strip() == str(64 << 20)
    shared.ok("rm", "-f", name)


def test_a_terminal_is_a_terminal(shared: Tiffin) -> None:
    master, slave = pty.openpty()
    process = subprocess.Popen(
        shared.argv("run", "-it", "--rm", "--network", "none", "busybox", "sh", "-c", "tty; read x; echo got $x"),
        stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
    )  # fmt: skip
    os.close(slave)
    text = b""
    os.write(master, b"hello\n")
    while True:
        try:
            piece = os.read(master, 4096)
        except OSError:
            break
        if not piece:
            break
        text += piece
    assert process.wait(30) == 0
    os.close(master)
    assert b"/dev/pts/0" in text
    assert b"got hello" in text


def test_a_detached_container_goes_on_and_tells_its_log(shared: Tiffin) -> None:
    name = shared.ok(
        "run", "-d", "--network", "none", "busybox", "sh", "-c", "echo one; echo two >&2; sleep 99"
    )
    wait_for(lambda: "one" in shared.ok("logs", name))
    done = shared("logs", name)
    assert (done.stdout, done.stderr) == ("one\n", "two\n")
    assert name[:12] in shared.ok("ps", "-q")
    started = time.monotonic()
    shared.ok("stop", "-t", "1", name)
    assert time.monotonic() - started < 10
    assert json.loads(shared.ok("inspect", name))[0]["State"]["Status"] == "exited"
    shared.ok("rm", name)


def test_exec_runs_beside_the_first_process(shared: Tiffin) -> None:
    name = shared.ok("run", "-d", "--network", "none", "-e", "A=1", "busybox", "sleep", "99")
    assert shared.ok("exec", name, "sh", "-c", "echo $A; hostname") == f"1\n{name[:12]}"
    assert shared("exec", name, "sh", "-c", "exit 9").returncode == 9
    assert "executable file not found" in shared.fails("exec", name, "nope", code=127)
    assert (
        shared.ok(
            "exec",
            "-i",
            "-u",
            "user",
            "-w",
            "/tmp",
            "-e",
            "B=2",
            name,
            "sh",
            "-c",
            "id -un; pwd; cat",
            input="in",
        )
        == "user\n/tmp\nin"
    )
    shared.ok("rm", "-f", name)
    assert "No such container" in shared.fails("exec", name, "true", code=1)


def test_start_attach_and_wait(shared: Tiffin) -> None:
    name = shared.ok(
        "create", "--network", "none", "--name", "again", "busybox", "sh", "-c", "echo hello; exit 3"
    )
    for _ in range(2):
        done = shared("start", "-a", "again")
        assert (done.stdout, done.returncode) == ("hello\n", 3)
    assert shared.ok("wait", "again") == "3"
    shared.ok("rm", name)


def test_diff_and_commit_keep_what_changed(shared: Tiffin) -> None:
    name = shared.ok(
        "run",
        "-d",
        "--network",
        "none",
        "busybox",
        "sh",
        "-c",
        "echo new > /new; rm /etc/group; echo >> /etc/passwd; sleep 99",
    )
    wait_for(lambda: "/etc/passwd" in shared.ok("diff", name))
    assert shared.ok("diff", name).splitlines() == ["C /etc", "D /etc/group", "C /etc/passwd", "A /new"]
    shared.ok("commit", "-m", "changed", name, "changed:1")
    assert not [
        line for line in shared.ok("diff", name).splitlines() if "/dev" in line or "/etc/hosts" in line
    ]
    done = run(shared, "changed:1", "sh", "-c", "cat /new; ls /etc/group /etc/passwd")
    assert done.stdout == "new\n/etc/passwd\n"
    shared.ok("rm", "-f", name)
    shared.ok("rmi", "changed:1")


def test_a_foreground_run_passes_signals_on(shared: Tiffin) -> None:
    process = shared.start(
        "run",
        "--rm",
        "--network",
        "none",
        "busybox",
        "sh",
        "-c",
        "trap 'echo caught; exit 5' TERM; echo ready; while :; do sleep 0.1; done",
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGTERM)
    assert process.communicate(timeout=30)[0] == "caught\n"
    assert process.returncode == 5


def test_twenty_at_once_and_all_gone(shared: Tiffin) -> None:
    started = [shared.start("run", "-d", "busybox", "sleep", "99") for _ in range(20)]
    ids = [process.communicate(timeout=120)[0].strip() for process in started]
    assert all(process.returncode == 0 for process in started)
    assert len(shared.ok("ps", "-q").split()) == 20
    shared.ok("rm", "-f", *ids)
    assert shared.ok("ps", "-aq") == ""


@pytest.mark.slow
def test_a_hundred_in_a_row_leave_nothing(shared: Tiffin) -> None:
    for number in range(100):
        assert run(shared, "busybox", "echo", str(number)).stdout == f"{number}\n"
    assert shared.ok("ps", "-aq") == ""
    assert os.listdir(shared.root / "containers") == []
    assert os.listdir(shared.run_directory / "containers") == []
