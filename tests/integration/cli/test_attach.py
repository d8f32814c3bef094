"""Streams without a terminal: what is attached, how input ends, which signals are passed on, and the exit codes."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.command import Tiffin
from tests.images import busybox_tar
from tests.integration.peers import Docker, docker

__all__ = ["docker"]
pytestmark = pytest.mark.root
NONE = ("--network", "none")
RUN = ("run", "--rm", *NONE)
TALK = ("busybox", "sh", "-c", "echo out; echo err >&2; exit 3")


@pytest.fixture
def sleeper(shared: Tiffin) -> Iterator[str]:
    name = shared.ok("run", "-d", *NONE, "busybox", "sleep", "1000")
    yield name
    shared.ok("rm", "-f", name)


# ---- run -a


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ((), ("out\n", "err\n", 3)),
        (("-a", "stdout"), ("out\n", "", 3)),
        (("--attach", "STDERR"), ("", "err\n", 3)),
        (("-a", "stdout", "-a", "stderr"), ("out\n", "err\n", 3)),
        (("-t", "-a", "stderr"), ("out\r\nerr\r\n", "", 3)),
    ],
)
def test_run_shows_the_streams_that_are_attached(
    shared: Tiffin, words: tuple[str, ...], expected: tuple[str, str, int]
) -> None:
    done = subprocess.run(shared.argv(*RUN, *words, *TALK), capture_output=True, timeout=60)
    assert (done.stdout.decode(), done.stderr.decode(), done.returncode) == expected


def test_input_alone_is_passed_on_and_then_the_container_goes_on(shared: Tiffin) -> None:
    name = shared.ok(
        "run", "-i", "-a", "stdin", *NONE, "busybox", "sh", "-c", "cat; sleep 0.2; exit 4", input="x\n"
    )
    assert shared.ok("wait", name) == "4"
    assert shared.ok("logs", name) == "x"
    shared.ok("rm", name)


def test_streams_are_recorded_as_docker_records_them(shared: Tiffin) -> None:
    for words, expected in (
        (("-i",), [True, True, True, True, True]),
        (("-a", "stderr", "-i"), [True, False, True, True, True]),
        (("-a", "stdin"), [True, False, False, False, False]),
        ((), [False, True, True, False, False]),
    ):
        name = shared.ok("create", *words, *NONE, "busybox", "true")
        config = json.loads(shared.ok("inspect", name))[0]["Config"]
        keys = ("AttachStdin", "AttachStdout", "AttachStderr", "OpenStdin", "StdinOnce")
        assert [config[key] for key in keys] == expected
        shared.ok("rm", name)


def test_streams_that_are_none_and_conflicts_are_refused(shared: Tiffin) -> None:
    text = 'invalid argument "foo" for "-a, --attach" flag: valid streams are STDIN, STDOUT and STDERR'
    assert text in shared.fails(*RUN, "-a", "foo", "busybox", "true", code=125)
    text = "conflicting options: cannot specify both --attach and --detach"
    assert text in shared.fails(*RUN, "-d", "-a", "stdout", "busybox", "true")
    assert shared.ok("ps", "-aq") == ""


@pytest.mark.peer
@pytest.mark.slow
def test_docker_says_the_same(shared: Tiffin, docker: Docker, tmp_path: Path) -> None:
    with busybox_tar().open("rb") as tar:
        docker("import", "-", "busybox", stdin=tar)
    for words in (
        (*RUN, "-d", "-a", "stdout", "busybox", "true"),
        (*RUN, "-a", "foo", "busybox", "true"),
        (*RUN, "-it", "busybox", "true"),
        (*RUN, "-a", "stderr", *TALK),
        (*RUN, "-i", "busybox", "cat"),
    ):
        theirs = docker._ask(*words, input=b"x\n")
        ours = shared(*words, input="x\n")
        assert ours.returncode == theirs.returncode
        assert ours.stdout == theirs.stdout.decode()
        said = theirs.stderr.decode().partition("\n")[0]
        assert said in ours.stderr


# ---- how input ends


def test_every_kind_of_input_ends(shared: Tiffin, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("from a file\n")
    with (tmp_path / "file").open() as file:
        assert shared.ok(*RUN, "-i", "busybox", "cat", stdin=file) == "from a file"
    assert shared.ok(*RUN, "-i", "busybox", "cat", input="from a pipe") == "from a pipe"
    assert shared.ok(*RUN, "-i", "busybox", "cat") == ""
    script = 'exec 0<&-; exec "$@"'
    done = subprocess.run(
        ["bash", "-c", script, "-", *shared.argv(*RUN, "-i", "busybox", "cat")],
        capture_output=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_output_goes_on_after_the_end_of_the_input(shared: Tiffin) -> None:
    script = "cat >/dev/null; for i in 1 2 3; do echo $i; sleep 0.05; done; exit 5"
    done = shared(*RUN, "-i", "busybox", "sh", "-c", script, input="x")
    assert (done.stdout, done.returncode) == ("1\n2\n3\n", 5)


def test_a_pipe_through_a_container_loses_nothing(shared: Tiffin, sleeper: str) -> None:
    data = os.urandom(3_000_000)
    for words in ((*RUN, "-i", "busybox", "cat"), ("exec", "-i", sleeper, "cat")):
        done = subprocess.run(shared.argv(*words), input=data, capture_output=True, timeout=60)
        assert done.stdout == data


def test_a_command_that_reads_little_ends_all_the_same(shared: Tiffin) -> None:
    with subprocess.Popen(["yes"], stdout=subprocess.PIPE) as yes:
        done = shared(*RUN, "-i", "busybox", "head", "-n", "1", stdin=yes.stdout)
        assert (done.stdout, done.returncode) == ("y\n", 0)
        yes.kill()


def test_input_of_a_detached_container_outlives_its_clients(shared: Tiffin) -> None:
    name = shared.ok("run", "-di", *NONE, "busybox", "cat")
    for word in ("one", "two"):
        process = shared.start("attach", name)
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(f"{word}\n")
        process.stdin.close()
        assert process.stdout.readline() == f"{word}\n"
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        process.stderr.close()  # type: ignore[union-attr] # it is a pipe
    assert shared.ok("logs", name) == "one\ntwo"
    shared.ok("rm", "-f", name)


def test_start_takes_input_only_where_there_is_some(shared: Tiffin) -> None:
    shared.ok("create", "--name", "takes", "-i", *NONE, "busybox", "sh", "-c", "cat; exit 6")
    shared.ok("create", "--name", "deaf", *NONE, "busybox", "sh", "-c", "cat; exit 6")
    done = shared("start", "-ai", "takes", input="x\n")
    assert (done.stdout, done.returncode) == ("x\n", 6)
    done = shared("start", "-i", "deaf", input="x\n")
    assert (done.stdout, done.returncode) == ("", 6)
    assert "you cannot start and attach multiple containers at once" in shared.fails(
        "start", "-a", "takes", "deaf"
    )
    shared.ok("rm", "takes", "deaf")


def test_a_pager_that_reads_no_further_does_not_hold_signals_back(shared: Tiffin) -> None:
    script = "trap 'exit 9' INT; while :; do seq 1 10000; done"
    process = shared.start(*RUN, "busybox", "sh", "-c", script)
    assert process.stdout is not None
    assert process.stdout.readline() == "1\n"
    time.sleep(0.3)  # everything between the container and here fills up; no matter when it has not
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    assert process.returncode == 9


# ---- signals


def test_every_signal_is_passed_on_but_those_about_the_client_itself(shared: Tiffin) -> None:
    names = [
        "HUP",
        "INT",
        "QUIT",
        "ABRT",
        "USR1",
        "USR2",
        "ALRM",
        "TERM",
        "CONT",
        "TSTP",
        "VTALRM",
        "PROF",
        "IO",
        "PWR",
    ]
    traps = "; ".join(f"trap 'echo {name}' {name}" for name in [*names, "WINCH", "URG", "CHLD"])
    script = f"{traps}; echo ready; while :; do read -t 0.05 x; done"
    process = shared.start(*RUN, "-i", "busybox", "sh", "-c", script)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    for number in (signal.SIGWINCH, signal.SIGURG, signal.SIGCHLD):
        process.send_signal(number)
    for name in names:
        process.send_signal(signal.Signals[f"SIG{name}"])
        assert process.stdout.readline() == f"{name}\n"
    process.kill()
    process.communicate()
    shared.ok("rm", "-f", *shared.ok("ps", "-aq").split())


def test_signals_stay_with_the_client_when_told_so(shared: Tiffin) -> None:
    process = shared.start(
        "run", "--sig-proxy=false", "--name", "alone", *NONE, "busybox", "sh", "-c", "echo on; sleep 1000"
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "on\n"
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=20)
    assert process.returncode == -signal.SIGTERM
    assert shared.ok("ps", "-q", "--filter", "name=alone")
    shared.ok("rm", "-f", "alone")


# ---- exec


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (["nope"], 127),
        (["/no/such"], 127),
        (["/etc/passwd"], 126),
        (["sh", "-c", "kill -INT $$"], 130),
        (["sh", "-c", "kill -KILL $$"], 137),
        (["sh", "-c", "kill -TERM $$"], 143),
        (["sh", "-c", "exit 77"], 77),
    ],
)
def test_execs_exit_code_is_its_commands(shared: Tiffin, sleeper: str, command: list[str], code: int) -> None:
    assert shared("exec", sleeper, *command).returncode == code


def test_exec_reads_variables_from_files_and_the_line_wins(
    shared: Tiffin, sleeper: str, tmp_path: Path
) -> None:
    (tmp_path / "env").write_text("# comment\nA=file\nB=file\nHOST_ONE\n\n")
    told = shared.ok(
        "exec", "--env-file", str(tmp_path / "env"), "-e", "B=line", sleeper, "sh", "-c", "echo $A $B $HOST_ONE",
        env={**os.environ, "HOST_ONE": "host"},
    )  # fmt: skip
    assert told == "file line host"
    (tmp_path / "env").write_text("a b=c\n")
    assert "whitespace" in shared.fails("exec", "--env-file", str(tmp_path / "env"), sleeper, "true")


def test_a_privileged_exec_has_every_capability(shared: Tiffin, sleeper: str) -> None:
    show = ("sh", "-c", "grep CapEff /proc/self/status")
    plain, full = shared.ok("exec", sleeper, *show), shared.ok("exec", "--privileged", sleeper, *show)
    assert int(full.split()[1], 16) > int(plain.split()[1], 16)


def test_a_detached_exec_says_nothing_and_its_failure_something(shared: Tiffin, sleeper: str) -> None:
    assert shared.ok("exec", "-d", sleeper, "sh", "-c", "echo lost; touch /done") == ""
    deadline = time.monotonic() + 20
    while shared("exec", sleeper, "test", "-e", "/done").returncode:
        assert time.monotonic() < deadline
    assert "executable file not found" in shared.fails("exec", "-d", sleeper, "nope", code=127)


def test_two_clients_get_the_same_output(shared: Tiffin) -> None:
    name = shared.ok("run", "-di", *NONE, "busybox", "sh", "-c", "read x; seq 1 5000; exit 2")
    watching = [shared.start("attach", "--no-stdin", name) for _ in range(2)]
    deadline = time.monotonic() + 20
    while not all(process.poll() is None and _attached(process.pid) for process in watching):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    done = shared("attach", name, input="go\n")
    expected = "".join(f"{number}\n" for number in range(1, 5001))
    assert (done.stdout, done.returncode) == (expected, 2)
    for process in watching:
        assert process.communicate(timeout=20)[0] == expected
        assert process.returncode == 2
    shared.ok("rm", name)


def _attached(pid: int) -> bool:
    """Whether the client has come as far as the loop that copies, which catches SIGUSR1."""
    status = Path(f"/proc/{pid}/status").read_text()
    caught = next(line for line in status.splitlines() if line.startswith("SigCgt"))
    return bool(int(caught.split()[1], 16) >> (signal.SIGUSR1 - 1) & 1)
