"""Containers at a terminal: run, exec, start and attach through a real pty, as a user sits before them."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.command import Tiffin
from tests.docs import run_page
from tests.terminal import Terminal

pytestmark = pytest.mark.root
NONE = ("--network", "none")
PROMPT = "# "
LEAVE = "\x10\x11"


@pytest.fixture
def box(shared: Tiffin) -> Iterator[str]:
    """A shell in a container, waiting at its terminal with nobody attached."""
    name = shared.ok("run", "-dit", *NONE, "-e", "PS1=box# ", "busybox", "sh")
    yield name
    shared.ok("rm", "-f", name)


def running(tiffin: Tiffin, name: str) -> bool:
    return bool(json.loads(tiffin.ok("inspect", name))[0]["State"]["Running"])


def shell(tiffin: Tiffin, *words: str, **options: object) -> Terminal:
    return Terminal(tiffin.argv("run", "-it", "--rm", *NONE, *words, "busybox", "sh"), **options)  # type: ignore[arg-type]


# ---- a shell feels local


def test_the_line_is_raw_while_it_runs_and_as_it_was_afterwards(shared: Tiffin) -> None:
    with shell(shared) as at:
        at.expect(PROMPT)
        assert at.raw
        at.type("exit 7\r")
        assert at.wait() == 7
        assert at.restored
    assert shared.ok("ps", "-aq") == ""


def test_the_size_is_right_at_the_first_prompt_and_follows_the_window(shared: Tiffin, box: str) -> None:
    size = ("sh", "-c", "stty size; read x; stty size; read x; exit 4")
    for words in (("run", "-it", "--rm", *NONE, "busybox"), ("exec", "-it", box)):
        with Terminal(shared.argv(*words, *size), rows=33, columns=99) as at:
            at.expect("33 99")
            at.resize(50, 120)
            at.type("\r")
            at.expect("(50 120|33 99)")
            at.type("\r")
            assert at.wait() == 4


def test_a_program_is_told_when_the_window_changes(shared: Tiffin, box: str) -> None:
    watch = ("sh", "-c", "trap 'stty size' WINCH; echo ready; while :; do sleep 0.05; done")
    for words in (("run", "-it", "--rm", *NONE, "busybox"), ("exec", "-it", box)):
        with Terminal(shared.argv(*words, *watch)) as at:
            at.expect("ready")
            at.resize(41, 132)
            at.expect("41 132")
            at.resize(20, 60)
            at.expect("20 60")
            at.type("\x03")
            assert at.wait() == 130
            assert at.restored


def test_attach_brings_the_size_of_its_window(shared: Tiffin, box: str) -> None:
    with Terminal(shared.argv("attach", box), rows=44, columns=111) as at:
        at.type("stty size\r")
        at.expect("44 111")
        at.type(LEAVE)
        at.wait()


def test_a_terminal_without_a_size_is_one_too(shared: Tiffin) -> None:
    with shell(shared, rows=0, columns=0) as at:
        at.expect(PROMPT)
        at.type("stty -a | head -n 1; tty\r")
        at.expect(r"speed 38400 baud;\s.*(rows 0; columns 0;)?\s+/dev/pts/0")
        at.type("exit\r")
        assert at.wait() == 0


def test_a_terminal_has_a_type_unless_another_is_given(shared: Tiffin, box: str) -> None:
    with Terminal(shared.argv("exec", "-it", "-e", "TERM=vt100", box, "sh", "-c", "echo is $TERM")) as at:
        at.expect("is vt100")
    with Terminal(shared.argv("exec", "-it", box, "sh", "-c", "echo is $TERM"), env={"TERM": "dumb"}) as at:
        at.expect("is xterm")


def test_keys_that_raise_signals_reach_the_foreground_program_alone(shared: Tiffin) -> None:
    with shell(shared) as at:
        at.expect(PROMPT)
        at.type("sleep 1000\r")
        at.expect("sleep 1000\r\n")
        at.until(lambda: "sleep 1000" in shared.ok("top", shared.ok("ps", "-q")))
        at.type("\x03")
        at.expect(PROMPT)
        at.type("echo status $?\r")
        at.expect("status 130")
        at.type("sleep 1001\r")
        at.until(lambda: "sleep 1001" in shared.ok("top", shared.ok("ps", "-q")))
        at.type("\x1a")
        at.expect("Stopped")
        assert not at.stopped
        at.type("fg\r")
        at.expect("fg\r\n.*sleep 1001")
        # The shell names the job before it puts it in the foreground; a key until then is the shell's own.
        at.until(
            lambda: re.search(
                r"S\+ +sleep 1001", shared.ok("top", shared.ok("ps", "-q"), "-eo", "pid,stat,args")
            )
        )
        at.type("\x03")
        at.expect(PROMPT)
        at.type("exit 3\r")
        assert at.wait() == 3


def test_a_full_screen_editor_works_and_leaves_the_screen(shared: Tiffin, box: str) -> None:
    with Terminal(shared.argv("exec", "-it", box, "vi", "/tmp/note")) as at:
        at.expect(r"/tmp/note.* 1/1|\x1b\[24;1H")
        at.type("ione line")
        at.expect("one line")
        at.type("\x1b")
        at.expect("- /tmp/note")
        at.type(":wq\r")
        assert at.wait() == 0
        assert at.restored
    assert shared.ok("exec", box, "cat", "/tmp/note") == "one line"


def test_end_of_file_is_a_key_and_ends_the_shell(shared: Tiffin) -> None:
    with shell(shared) as at:
        at.expect(PROMPT)
        at.type("\x04")
        assert at.wait() == 0


def test_a_flood_passes_whole_while_the_window_changes(shared: Tiffin) -> None:
    flood = ("sh", "-c", "stty -onlcr; seq 1 200000; stty size")
    with Terminal(shared.argv("run", "-it", "--rm", *NONE, "busybox", *flood)) as at:
        at.expect("\n100\n")
        for rows in range(25, 65):
            at.resize(rows, 100)
            at.expect("0\n")
        assert at.wait(60) == 0
        lines = at.shown.split("\n")
        first = next(i for i, line in enumerate(lines) if line.strip().endswith("1"))
        assert lines[first + 1 : first + 200000] == [str(number) for number in range(2, 200001)]
        assert lines[first + 200000].strip() == "64 100"


def test_a_flood_is_left_with_the_keys_even_when_nobody_reads_it(shared: Tiffin) -> None:
    words = ("run", "-dit", *NONE, "busybox", "sh", "-c", "read x; yes")
    name = shared.ok(*words)
    with Terminal(shared.argv("attach", name)) as at:
        at.until(lambda: at.raw)
        at.type("\r")
        at.expect("y\r\ny")
        at.until_full()
        at.type(LEAVE)
        deadline = time.monotonic() + 30
        while not at.restored:  # with nothing read meanwhile
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert at.wait() == 0
    assert running(shared, name)
    shared.ok("rm", "-f", name)


# ---- leaving


def test_run_and_start_are_left_without_a_word(shared: Tiffin) -> None:
    with Terminal(shared.argv("run", "-it", *NONE, "--name", "left", "busybox", "sh")) as at:
        at.expect(PROMPT)
        at.type("\x10")
        at.type("\x11")
        assert at.wait() == 0
        assert at.restored
        assert "escape" not in at.shown
    assert running(shared, "left")
    shared.ok("stop", "-t", "0", "left")
    with Terminal(shared.argv("start", "-ai", "left")) as at:
        at.expect(PROMPT)
        at.type(LEAVE)
        assert at.wait() == 0
        assert "escape" not in at.shown
    assert running(shared, "left")
    shared.ok("rm", "-f", "left")


def test_attach_and_exec_are_left_with_dockers_words(shared: Tiffin, box: str) -> None:
    for words in (("attach", box), ("exec", "-it", box, "sh")):
        with Terminal(shared.argv(*words)) as at:
            at.until(lambda: at.raw)
            at.type("\r")
            at.expect(PROMPT)
            at.type(LEAVE)
            assert at.wait() == 0
            assert at.shown.endswith("read escape sequence\r\n")
            assert at.restored
    assert running(shared, box)


def test_the_beginning_of_the_keys_is_passed_on_when_no_end_follows(shared: Tiffin, box: str) -> None:
    show = ("sh", "-c", "stty raw -echo; echo ready; dd bs=1 count=4 2>/dev/null | od -An -tx1")
    with Terminal(shared.argv("exec", "-it", box, *show)) as at:
        at.expect("ready")
        for key in "\x10x\x10y":
            at.type(key)
        at.expect("10 78 10 79")
        assert at.wait() == 0


def test_keys_can_be_chosen_for_one_command_and_for_all(shared: Tiffin, box: str, tmp_path: Path) -> None:
    settings = tmp_path / "config.toml"
    settings.write_text('[containers]\ndetach-keys = "ctrl-x,x"\n')
    (tmp_path / "config.json").write_text('{"detachKeys": "DEL"}')
    docker = {"DOCKER_CONFIG": str(tmp_path)}
    for words, environment, keys in (
        (("--detach-keys", "ctrl-@,a"), {}, "\0a"),
        ((), {"TIFFIN_CONFIG": str(settings), **docker}, "\x18x"),
        ((), docker, "\x7f"),
        (("--detach-keys=q",), {"TIFFIN_CONFIG": str(settings)}, "q"),
    ):
        with Terminal(shared.argv("attach", *words, box), env=environment) as at:
            at.until(lambda: at.raw)
            at.type(keys)
            assert at.wait() == 0
            assert "read escape sequence" in at.shown


@pytest.mark.parametrize("keys", ["ctrl-", "ctrl-A", "ab", "a,", "ctrl-p;q", "del"])
def test_keys_that_are_none_are_refused_before_anything_is_made(shared: Tiffin, box: str, keys: str) -> None:
    text = f"Invalid detach keys ({keys}) provided"
    assert text in shared.fails("run", "--rm", *NONE, "--detach-keys", keys, "busybox", "true", code=125)
    assert text in shared.fails("exec", "--detach-keys", keys, box, "true")
    assert text in shared.fails("attach", "--no-stdin", "--detach-keys", keys, box)
    assert shared.ok("ps", "-aq", "--no-trunc") == box


def test_keys_in_the_settings_that_are_none_are_refused_where_they_are_needed(
    shared: Tiffin, box: str, tmp_path: Path
) -> None:
    (tmp_path / "c.toml").write_text('[containers]\ndetach-keys = "no"\n')
    environment = {**os.environ, "TIFFIN_CONFIG": str(tmp_path / "c.toml")}
    assert shared.ok("exec", box, "echo", "fine", env=environment) == "fine"
    with Terminal(shared.argv("attach", box), env=environment) as at:
        at.expect(r"Invalid detach keys \(no\) provided")
        assert at.wait() == 1
        assert at.restored


# ---- every end gives the terminal back


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT])
@pytest.mark.parametrize("verb", ["attach", "exec"])
def test_a_signal_to_the_client_leaves_the_terminal_as_it_was(
    shared: Tiffin, box: str, verb: str, number: int
) -> None:
    words = ("attach", box) if verb == "attach" else ("exec", "-it", box, "sh")
    with Terminal(shared.argv(*words)) as at:
        at.until(lambda: at.raw)
        at.type("\r")
        at.expect(PROMPT)
        at.signal(number)
        assert at.wait() == (130 if number == signal.SIGINT else -number)
        assert at.restored
    assert running(shared, box)


def test_runs_signals_are_the_containers_also_at_a_terminal(shared: Tiffin) -> None:
    script = 'for s in HUP INT TERM USR1 ALRM; do trap "echo got $s" $s; done; echo ready; while :; do sleep 0.05; done'
    words = ("run", "-it", *NONE, "--name", "signalled", "busybox", "sh", "-c", script)
    with Terminal(shared.argv(*words)) as at:
        at.expect("ready")
        for name in ("INT", "TERM", "USR1", "ALRM"):
            at.signal(signal.Signals[f"SIG{name}"])
            at.expect(f"got {name}")
            assert at.raw
        at.signal(signal.SIGHUP)
        assert at.wait() == -signal.SIGHUP
        assert at.restored
    deadline = time.monotonic() + 20
    while "got HUP" not in shared.ok("logs", "signalled"):  # the shell looks between two of its commands
        assert time.monotonic() < deadline
        time.sleep(0.05)
    shared.ok("rm", "-f", "signalled")


def test_a_suspended_client_lends_the_terminal_back_and_goes_on_raw(shared: Tiffin) -> None:
    environment = {"PS1": "host> ", "HISTFILE": ""}
    with Terminal(["bash", "--norc", "--noprofile", "-i"], env=environment) as at:
        at.expect("host> ")
        run = shared.argv("run", "-it", "--rm", *NONE, "-e", "PS1=box> ", "busybox", "sh")
        at.type(f"{shlex.join(run)}\r")
        at.expect("\nbox> ")
        (client,) = Path(f"/proc/{at.process.pid}/task/{at.process.pid}/children").read_text().split()
        os.kill(int(client), signal.SIGTSTP)
        at.expect("Stopped")
        at.expect("host> ")
        at.type("stty -a\r")
        at.expect(r"[^-]icanon")
        at.resize(30, 90)
        at.type("fg\r")
        at.expect("tiffin.*\n")
        at.until(lambda: at.raw)
        at.type("stty size\r")
        at.expect("30 90")
        at.type("exit 5\r")
        at.expect("host> ")
        at.type("exit $?\r")
        assert at.wait() == 5


def test_a_client_that_was_stopped_finds_its_way_back_to_raw_mode(shared: Tiffin) -> None:
    with shell(shared) as at:
        at.expect(PROMPT)
        at.signal(signal.SIGSTOP)
        at.until(lambda: at.stopped)
        subprocess.run(["stty", "sane"], stdin=at.end, check=True)  # what a shell does meanwhile
        at.signal(signal.SIGCONT)
        at.until(lambda: at.raw)
        at.type("exit\r")
        assert at.wait() == 0


@pytest.mark.parametrize("verb", ["run", "attach", "exec"])
def test_a_closed_window_ends_the_client_and_not_the_container(shared: Tiffin, box: str, verb: str) -> None:
    words = {
        "run": ("run", "-it", *NONE, "--name", "hung", "busybox", "sh"),
        "attach": ("attach", box),
        "exec": ("exec", "-it", box, "sh"),
    }[verb]
    with Terminal(shared.argv(*words)) as at:
        at.until(lambda: at.raw)
        at.type("\r")
        at.expect(PROMPT)
        at.hang_up()
        assert at.process.wait(20) != 0
    assert running(shared, "hung" if verb == "run" else box)
    if verb == "run":
        shared.ok("rm", "-f", "hung")


def test_a_start_that_fails_leaves_the_terminal_as_it_was(shared: Tiffin, box: str) -> None:
    for words, code in (
        (("run", "-it", "--rm", *NONE, "busybox", "nope"), 127),
        (("exec", "-it", box, "/etc/passwd"), 126),
        (("exec", "-it", "nobody", "sh"), 1),
    ):
        with Terminal(shared.argv(*words)) as at:
            assert at.wait() == code
            assert at.restored
            assert at.shown.startswith("tiffin: ")


def test_a_crash_of_the_client_leaves_the_terminal_as_it_was(shared: Tiffin, box: str) -> None:
    program = (
        "import sys; from tiffin.cli.main import script; from tiffin.engine import relay\n"
        "def crash(*_): raise RuntimeError('crashed')\n"
        "relay._Relay._resize = crash\n"
        "script()"
    )
    words = shared.argv("attach", box)
    with Terminal([sys.executable, "-c", program, *words[3:]]) as at:
        at.expect("internal error: RuntimeError: crashed")
        assert at.wait() == 1
        assert at.restored


def test_a_supervisor_that_is_killed_leaves_the_terminal_as_it_was(shared: Tiffin) -> None:
    with Terminal(shared.argv("run", "-it", *NONE, "--name", "orphan", "busybox", "sh")) as at:
        at.expect(PROMPT)
        os.kill(_supervisor(shared, "orphan"), signal.SIGKILL)
        at.expect("the container's supervisor is gone")
        assert at.wait() == 125
        assert at.restored
    shared.ok("rm", "-f", "orphan")


def _supervisor(tiffin: Tiffin, name: str) -> int:
    from tiffin.containers import Containers
    from tiffin.engine import Engine

    with Engine(str(tiffin.root), str(tiffin.run_directory)) as engine, engine._workspace.store() as store:
        return Containers(store).find(name).supervisor


# ---- who is attached to what


def test_two_at_one_terminal_see_and_type_the_same(shared: Tiffin, box: str) -> None:
    with Terminal(shared.argv("attach", box)) as one, Terminal(shared.argv("attach", box)) as two:
        for at in (one, two):
            at.until(lambda: at.raw)  # noqa: B023 - called at once
        one.type("echo from-$((1))\r")
        one.expect("from-1\r")
        two.expect("from-1\r")
        two.type("echo from-$((2))\r")
        one.expect("from-2\r")
        one.type(LEAVE)
        assert one.wait() == 0
        two.type("exit 6\r")
        assert two.wait() == 6


def test_attach_without_stdin_types_nothing_and_stays_cooked(shared: Tiffin, box: str) -> None:
    with (
        Terminal(shared.argv("attach", "--no-stdin", box)) as at,
        Terminal(shared.argv("attach", box)) as other,
    ):
        other.until(lambda: other.raw)
        deadline = time.monotonic() + 30
        while "seen" not in at.shown:  # nothing else tells when a client that types nothing is there
            assert time.monotonic() < deadline
            other.type("echo seen\r")
            other.expect("seen")
            at.read_for(0.2)
        assert not at.raw
        at.type("\x03")
        assert at.wait() == 130
    assert running(shared, box)


def test_attach_does_not_pass_signals_on_when_told_so(shared: Tiffin) -> None:
    script = "trap 'echo caught' TERM; while :; do echo on; sleep 0.05; done"
    name = shared.ok("run", "-d", *NONE, "busybox", "sh", "-c", script)
    for proxy in (True, False):
        process = shared.start("attach", f"--sig-proxy={str(proxy).lower()}", name)
        assert process.stdout is not None
        assert process.stdout.readline() == "on\n"
        process.send_signal(signal.SIGTERM)
        if proxy:
            while process.stdout.readline() != "caught\n":
                assert process.poll() is None
            process.kill()
        process.communicate(timeout=20)
        assert process.returncode == (-9 if proxy else -15)
    shared.ok("rm", "-f", name)


def test_a_terminal_is_needed_where_one_is_asked_for(shared: Tiffin, box: str) -> None:
    for words in (("run", "-it", "busybox", "sh"), ("exec", "-it", box, "sh"), ("attach", box)):
        assert "the input device is not a TTY" in shared.fails(*words)
    assert shared.ok("ps", "-aq", "--no-trunc") == box


def await_that(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_the_page_runs_from_top_to_bottom(tiffin: Tiffin, tmp_path: Path) -> None:
    told = run_page("terminal.md", tiffin, tmp_path)
    for expected in ("beside it", "a line", "this", "3\n2\n1\ndone", "for later"):
        assert expected in told
    assert "not this" not in told
