"""The core of run, exec and kill by each runtime: the engine's own, tiffin-runtime as a program, and runc."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.command import Tiffin, fresh_engine
from tests.signals import await_trap
from tiffin.runtime.cgroups import detect

pytestmark = pytest.mark.root
RUNTIMES = ("tiffin", "tiffin-runtime", "runc", "crun")


class Chosen:
    """A tiffin whose containers one runtime makes."""

    def __init__(self, tiffin: Tiffin, name: str) -> None:
        self.tiffin, self.name = tiffin, name

    def run(self, *words: str, **options: object) -> tuple[int, str, str]:
        done = self.tiffin("run", "--runtime", self.name, "--network", "none", *words, **options)
        return done.returncode, done.stdout, done.stderr

    def start(self, *words: str) -> str:
        return self.tiffin.ok("run", "-d", "--runtime", self.name, "--network", "none", *words)


@pytest.fixture(scope="module", params=RUNTIMES)
def chosen(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chosen]:
    name: str = request.param
    where = tmp_path_factory.mktemp("runtimes")
    if name == "tiffin-runtime":
        program = where / "tiffin-runtime"
        path = os.pathsep.join(p for p in sys.path if p)
        program.write_text(
            f'#!/bin/sh\nPYTHONPATH={path} exec {sys.executable} -m tiffin.cli.oci.main "$@"\n'
        )
        program.chmod(0o755)
        name = str(program)
    elif name != "tiffin" and shutil.which(name, path="/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/bin") is None:
        pytest.skip(f"{name} is not installed")
    if name == "crun" and detect().version == 1 and detect().unified:
        pytest.skip("crun refuses control groups in hybrid mode, which this machine has")
    with fresh_engine(where) as tiffin:
        yield Chosen(tiffin, name)
    with open("/proc/self/mountinfo") as mounts:
        assert not [line for line in mounts if str(where) in line]


def test_output_and_exit_code_are_the_commands(chosen: Chosen) -> None:
    assert chosen.run("--rm", "busybox", "sh", "-c", "echo out; echo err >&2; exit 7") == (
        7,
        "out\n",
        "err\n",
    )
    assert chosen.run("--rm", "-i", "busybox", "cat", input="in")[:2] == (0, "in")
    assert chosen.run("--rm", "busybox", "sh", "-c", "kill -9 $$; sleep 1")[0] in (0, 137)


def test_the_command_finds_what_was_asked_for(chosen: Chosen) -> None:
    words = [
        "-e",
        "A=b c",
        "-w",
        "/tmp",
        "-u",
        "user",
        "-h",
        "name",
        "--read-only",
        "--tmpfs",
        "/scratch",
        "--rm",
    ]
    text = 'echo "$A|$PWD|$(id -un):$(id -G)|$HOME|$(hostname)"; touch /x 2>/dev/null || echo ro; '
    text += "touch /scratch/x && echo rw"
    code, out, err = chosen.run(*words, "busybox", "sh", "-c", text)
    assert (code, out) == (0, "b c|/tmp|user:1000 2000|/home|name\nro\nrw\n"), err


def test_a_container_has_walls(chosen: Chosen) -> None:
    text = "ls /proc | grep -c '^[0-9]'; cat /proc/kcore 2>/dev/null | wc -c; "
    text += "mount -t tmpfs x /tmp 2>/dev/null || echo no"
    code, out, _ = chosen.run("--rm", "busybox", "sh", "-c", text)
    assert int(out.split()[0]) <= 4 and out.split()[1:] == ["0", "no"] and code == 0
    assert chosen.run("--rm", "busybox", "grep", "Seccomp:", "/proc/self/status")[1] == "Seccomp:\t2\n"


@pytest.mark.parametrize(("command", "code"), [("nosuch", 127), ("/etc/passwd", 126), ("/no/such", 127)])
def test_a_command_that_cannot_be_executed_says_why(chosen: Chosen, command: str, code: int) -> None:
    got, out, err = chosen.run("--rm", "busybox", command)
    assert (got, out) == (code, "") and command in err and len(err.splitlines()) >= 1
    assert chosen.tiffin.ok("ps", "-aq") == ""


def test_exec_runs_in_the_container_and_ends_as_its_command_does(chosen: Chosen) -> None:
    chosen.start("--name", "host", "-e", "A=b", "busybox", "sleep", "1000")
    try:
        assert (
            chosen.tiffin.ok(
                "exec", "host", "sh", "-c", "echo $A; hostname; grep -c sleep /proc/1/cmdline"
            ).split()[0]
            == "b"
        )
        assert chosen.tiffin("exec", "host", "sh", "-c", "exit 9").returncode == 9
        assert chosen.tiffin("exec", "-i", "host", "cat", input="in").stdout == "in"
        assert chosen.tiffin.ok("exec", "-u", "user", "host", "id", "-un") == "user"
        assert chosen.tiffin("exec", "-t", "host", "tty").stdout.startswith("/dev/pts/")
        assert chosen.tiffin("exec", "host", "nosuch").returncode == 127
    finally:
        chosen.tiffin.ok("rm", "-f", "host")


def test_stop_kill_start_and_the_exit_code_that_is_kept(chosen: Chosen) -> None:
    text = 'trap "echo term; exit 5" TERM; while :; do sleep 0.05; done'
    chosen.start("--name", "trap", "busybox", "sh", "-c", text)
    chosen.tiffin.ok("exec", "trap", "true")
    await_trap(int(chosen.tiffin.ok("inspect", "-f", "{{.State.Pid}}", "trap")))
    chosen.tiffin.ok("stop", "trap")
    assert chosen.tiffin.ok("wait", "trap") == "5"
    chosen.tiffin.ok("start", "trap")
    chosen.tiffin.ok("kill", "trap")
    assert chosen.tiffin.ok("wait", "trap") == "137"
    chosen.tiffin.ok("rm", "trap")


def test_limits_and_volumes_hold(chosen: Chosen, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("text")
    text = "cat /v/file; touch /v/x 2>/dev/null || echo ro; ulimit -Sn"
    words = ["--rm", "-v", f"{tmp_path}:/v:ro", "--ulimit", "nofile=77:88", "--pids-limit", "50", "-m", "64m"]
    assert chosen.run(*words, "busybox", "sh", "-c", text)[1] == "textro\n77\n"


def test_a_terminal_is_the_containers_own(chosen: Chosen) -> None:
    assert chosen.run("--rm", "-t", "busybox", "sh", "-c", "tty; test -c /dev/console && echo console")[1].split() == [
        "/dev/pts/0", "console",
    ]  # fmt: skip


def test_inspect_names_the_runtime(chosen: Chosen) -> None:
    chosen.tiffin.ok("create", "--name", "named", "--runtime", chosen.name, "busybox", "true")
    found = json.loads(chosen.tiffin.ok("inspect", "named"))
    assert found[0]["HostConfig"]["Runtime"] == chosen.name
    chosen.tiffin.ok("rm", "named")


def test_a_killed_supervisor_leaves_what_rm_takes_down(chosen: Chosen) -> None:
    name = chosen.start("busybox", "sleep", "1000")
    with open(f"/proc/{json.loads(chosen.tiffin.ok('inspect', name))[0]['State']['Pid']}/status") as status:
        parent = next(int(line.split()[1]) for line in status if line.startswith("PPid:"))
    os.kill(parent, 9)
    chosen.tiffin.ok("rm", "-f", name)
    assert chosen.tiffin.ok("ps", "-aq") == ""


def test_an_unknown_runtime_is_refused(shared: Tiffin) -> None:
    line = shared.fails("create", "--runtime", "no-such-runtime", "busybox", code=125)
    assert "unknown or invalid runtime name: no-such-runtime" in line
    assert "--init" in shared.fails("run", "--runtime", sys.executable, "--init", "busybox", code=125)
