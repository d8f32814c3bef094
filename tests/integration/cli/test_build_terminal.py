"""A build as a user sees it: the live view, its end by a key, the shell where a step failed, the logs afterwards."""

import base64
import json
import os
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.command import Tiffin
from tests.terminal import Terminal

pytestmark = pytest.mark.root
NONE = ("--network", "none")
TERM = {"TERM": "xterm", "NO_COLOR": "", "BUILDKIT_PROGRESS": ""}
TWO = """FROM busybox AS a
RUN echo first; sleep 1000
FROM busybox AS b
RUN echo second; sleep 1000
FROM busybox
COPY --from=a / /a
COPY --from=b / /b
"""
SHOWN, HIDDEN = "\x1b[?25h", "\x1b[?25l"


@pytest.fixture
def context(tmp_path: Path, shared: Tiffin) -> Iterator[Path]:
    tmp_path.chmod(0o755)
    yield tmp_path
    assert os.listdir(shared.root / "staging") == []


def build(shared: Tiffin, context: Path, text: str, *words: str, **options: object) -> Terminal:
    (context / "Dockerfile").write_text(text)
    env = {**TERM, **options.pop("env", {})}  # type: ignore[dict-item]
    return Terminal(shared.argv("build", *NONE, *words, context), env=env, **options)  # type: ignore[arg-type]


def frames(at: Terminal) -> list[list[str]]:
    """Every state of the view, without what drives the terminal."""
    texts = re.split(r"\x1b\[1A\x1b\[2K|\r\x1b\[2K", at.shown)
    return [re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", text).splitlines() for text in texts]


def all_undone(shared: Tiffin) -> None:
    """Wait until the workers have undone their steps, after the others have gone."""
    deadline = time.monotonic() + 30
    while os.listdir(shared.root / "staging"):
        assert time.monotonic() < deadline
        time.sleep(0.02)


# ---- the live view


def test_steps_in_parallel_are_seen_at_once_and_control_c_leaves_the_screen_whole(
    shared: Tiffin, context: Path
) -> None:
    with build(shared, context, TWO, "--no-cache") as at:
        at.until(lambda: any({"first", "second"} <= {line.strip() for line in frame} for frame in frames(at)))
        at.expect(r"\[\+\] building")
        assert HIDDEN in at.shown
        at.type("\x03")
        assert at.wait() == 130
        assert at.restored
        assert at.shown.rindex(SHOWN) > at.shown.rindex(HIDDEN)
        assert "Traceback" not in at.shown
    assert shared.ok("builder", "history", "--format", "{{.Status}}").splitlines()[0] == "Canceled"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_the_build_and_leaves_the_screen_whole(
    shared: Tiffin, context: Path, number: signal.Signals
) -> None:
    with build(shared, context, "FROM busybox\nRUN echo run''ning; sleep 1000\n", "--no-cache") as at:
        at.expect("running")
        at.signal(number)
        assert at.wait() == -number
        assert at.shown.rindex(SHOWN) > at.shown.rindex(HIDDEN)
        at.until(lambda: os.listdir(shared.root / "staging") == [])  # the build's own process undoes its step


def test_a_build_does_not_outlive_the_program_that_shows_it(shared: Tiffin, context: Path) -> None:
    with build(shared, context, "FROM busybox\nRUN echo run''ning; sleep 1000\n", "--no-cache") as at:
        at.expect("running")
        at.signal(signal.SIGKILL)
        assert at.wait() == -signal.SIGKILL
    all_undone(shared)


def test_the_view_takes_the_size_of_the_window_and_changes_with_it(shared: Tiffin, context: Path) -> None:
    text = "FROM busybox\nRUN printf 'long%.0s' $(seq 40); sleep 1000\n"
    env = {"COLUMNS": "70", "LINES": "7"}  # of another window
    with build(shared, context, text, "--no-cache", rows=24, columns=50, env=env) as at:
        at.expect("longlong.*…")
        at.until(lambda: any(any("longlonglong" in line for line in frame) for frame in frames(at)))
        assert max(len(line) for frame in frames(at) for line in frame) <= 50
        at.resize(24, 100)
        at.until(lambda: max(len(line) for frame in frames(at) for line in frame) > 90)
        assert max(len(line) for frame in frames(at) for line in frame) <= 100
        at.type("\x03")
        at.wait()


def test_colours_are_left_out_where_they_are_not_wanted(shared: Tiffin, context: Path) -> None:
    text = "FROM busybox\nRUN echo colourful\n"
    with build(shared, context, text) as at:
        assert at.wait() == 0
        assert re.search(r"\x1b\[3[0-9]m", at.shown)
    with build(shared, context, text, env={"NO_COLOR": "1"}) as at:
        assert at.wait() == 0
        assert not re.search(r"\x1b\[[34][0-9]m", at.shown)
        assert "RUN echo colourful" in at.shown


def test_a_dumb_terminal_gets_plain_lines(shared: Tiffin, context: Path) -> None:
    with build(shared, context, "FROM busybox\nRUN echo plain\n", "--no-cache", env={"TERM": "dumb"}) as at:
        assert at.wait() == 0
        assert "#2 plain" in at.shown and "\x1b" not in at.shown


# ---- other ways to show it


def test_raw_json_is_all_there_is_on_standard_error(shared: Tiffin, context: Path) -> None:
    (context / "Dockerfile").write_text("FROM busybox\nRUN echo json; exit 3\n")
    done = shared("build", *NONE, context, env={**os.environ, "BUILDKIT_PROGRESS": "rawjson"})
    assert done.returncode == 1
    *lines, last = done.stderr.splitlines()
    assert last.startswith("tiffin: Dockerfile:2: RUN: ")
    told = [json.loads(line) for line in lines]
    assert {key for line in told for key in line} == {"vertexes", "logs"}
    vertexes = {vertex["name"]: vertex for line in told for vertex in line.get("vertexes", [])}
    base, run = vertexes["[1/2] FROM busybox"], vertexes["[2/2] RUN echo json; exit 3"]
    assert run["inputs"] == [base["digest"]]
    assert "returned a non-zero code: 3" in run["error"] and run["completed"] >= run["started"]
    assert [base64.b64decode(log["data"]) for line in told for log in line.get("logs", [])] == [b"json\n"]
    again = shared.ok("builder", "logs", "--progress", "rawjson")
    assert [json.loads(line).keys() for line in again.splitlines()] == [line.keys() for line in told]


def test_quiet_prints_the_id_alone_and_none_prints_nothing(shared: Tiffin, context: Path) -> None:
    (context / "Dockerfile").write_text("FROM busybox\nLABEL a=b\n")
    image = shared.ok("build", "-q", context)
    assert image.startswith("sha256:")
    done = shared("build", "--progress", "quiet", context)
    assert (done.stdout.strip(), done.stderr) == (image, "")
    done = shared("build", "--progress", "none", context)
    assert (done.stdout, done.stderr) == ("", "")
    assert "standard error is not a terminal" in shared.fails("build", "--progress", "tty", context)
    shared.fails("build", "--progress", "nice", context, code=125)


def test_a_failure_shows_the_end_of_the_log_the_place_and_the_file(shared: Tiffin, context: Path) -> None:
    (context / "Dockerfile").write_text(
        "FROM busybox\nENV A=1\nRUN seq() { echo a; }; seq; echo '\033[2J'; exit 7\n"
    )
    done = shared("build", *NONE, context)
    assert done.returncode == 1
    lines = done.stderr.splitlines()
    at = lines.index("------")
    build_id = shared.ok("builder", "history", "-q").splitlines()[0]
    log = f"{shared.root}/builds/{build_id}/3.log"
    step = next(word for word in lines[-2].split() if word.isdecimal())
    assert lines[at + 2 : at + 4] == ["a", "\\x1b[2J"]
    assert lines[at + 5] == "Dockerfile:3" and lines[at + 9].startswith("   3 | >>> RUN seq()")
    assert (
        lines[-2]
        == f"the whole log: tiffin builder logs {build_id} {step} ({log.replace('3.log', step + '.log')})"
    )
    assert shared.ok("builder", "logs", build_id, step) == "a\n\\x1b[2J"
    assert shared.ok("builder", "logs", "--raw", build_id, step) == "a\n\x1b[2J"
    assert f"#{step} \\x1b[2J" in shared.ok("builder", "logs").splitlines()
    assert "--raw is for the output of one step" in shared.fails("builder", "logs", "--raw")
    assert "invalid step 'x'" in shared.fails("builder", "logs", build_id, "x")
    assert "No such build: nope" in shared.fails("builder", "logs", "nope")


def test_of_several_platforms_the_log_is_that_of_the_step_that_failed(shared: Tiffin, context: Path) -> None:
    (context / "Dockerfile").write_text(
        "FROM --platform=$BUILDPLATFORM busybox\nARG TARGETARCH\n"
        "RUN echo for $TARGETARCH; [ $TARGETARCH = amd64 ]\n"
    )
    done = shared("build", *NONE, "--platform", "linux/amd64,linux/arm64", context)
    assert done.returncode == 1
    (told,) = re.findall(r"the whole log: tiffin (builder logs \S+ \d+) ", done.stderr)
    assert shared.ok(*told.split()) == "for arm64"


# ---- the shell where a step failed

FAILING = """FROM busybox
RUN echo 'app:x:1234:2345::/home:/bin/sh' >> /etc/passwd; mkdir /made; chmod 777 /made
USER 1234:2345
WORKDIR /made
ENV COLOUR=blue
RUN --mount=type=secret,id=token,uid=1234 --mount=type=cache,target=/cache,uid=1234 \\
    --mount=type=bind,target=/context --mount=type=tmpfs,target=/scratch touch /made/left; exit 3
"""


@pytest.mark.parametrize("how", ["tty", "plain"])
def test_the_shell_is_in_the_failed_step_s_state_and_leaves_nothing(
    shared: Tiffin, context: Path, how: str
) -> None:
    (context / "secret").write_text("hush")
    words = (
        "--shell-on-fail",
        "--progress",
        how,
        "--secret",
        f"id=token,src={context}/secret",
        "-t",
        "never",
    )
    with build(shared, context, FAILING, *words, rows=30, columns=90) as at:
        at.expect(r"failed with exit code 3; this is a shell")
        at.expect(r"\$ ")
        assert at.raw
        at.type("echo $(id -u):$(id -g) $PWD $COLOUR $(ls) $(cat /run/secrets/token) $(ls /context) end\r")
        at.expect("1234:2345 /made blue left hush Dockerfile secret end")
        at.type("echo $(stty size) $TERM; touch /cache/x /scratch/y /made/z && echo o''k\r")
        at.expect("30 90 xterm\r\nok\r\n")
        at.resize(40, 120)
        at.type("stty size\r")
        at.expect("40 120")
        at.type("sh -c \"echo wai''ting; exec sleep 1000\"\r")
        at.expect("waiting\r\n")
        at.type("\x03")  # goes to the shell and its command, not to the build
        at.expect(r"\$ ")
        at.type("exit 0\r")
        assert at.wait() == 1
        assert at.restored
        assert ">>> RUN --mount" in at.shown and "returned a non-zero code: 3" in at.shown
    assert "never" not in shared.ok("images", "--format", "{{.Repository}}").split()


def test_the_shell_has_the_step_s_network_script_and_files_of_stages(shared: Tiffin, context: Path) -> None:
    text = """FROM busybox AS tools
RUN echo of-the-stage > /tool
FROM busybox
RUN --mount=from=tools,source=/tool,target=/tool --network=default <<EOF
cat /tool /etc/hosts > /seen
exit 6
EOF
"""
    with build(shared, context, text, "--network", "bridge", "--shell-on-fail") as at:
        at.expect("failed with exit code 6")
        at.expect("# ")
        at.type("cat /tool /etc/hosts | cmp - /seen && grep -c eth0: /proc/net/dev; echo en''d\r")
        at.expect("\n1\r\nend")
        at.type("exit\r")
        assert at.wait() == 1


def test_another_shell_may_be_named_and_one_that_is_not_there_is_said(shared: Tiffin, context: Path) -> None:
    text = "FROM busybox\nRUN exit 4\n"
    with build(shared, context, text, "--shell-on-fail=/bin/cat") as at:
        at.expect("this is a shell")
        at.until(lambda: at.raw)
        at.type("hello\r")
        at.expect("hello\r\nhello\r\n")
        at.type("\x04")
        assert at.wait() == 1
    with build(shared, context, text, "--shell-on-fail=/bin/none") as at:
        at.expect("WARNING: no shell in the failed step: .*/bin/none")
        assert at.wait() == 1
        assert at.restored


def test_a_command_that_is_not_there_opens_the_shell_too(shared: Tiffin, context: Path) -> None:
    with build(shared, context, 'FROM busybox\nRUN ["/bin/nothing"]\n', "--shell-on-fail") as at:
        at.expect("failed with exit code 127")
        at.expect("# ")
        at.type("exit\r")
        assert at.wait() == 1
        assert "/bin/nothing" in at.shown.splitlines()[-1]


def test_other_steps_have_ended_when_the_shell_opens(shared: Tiffin, context: Path) -> None:
    mount = "--mount=type=cache,target=/c,id=others-have-ended"
    text = TWO.replace("RUN echo first;", f"RUN {mount} touch /c/up; echo first;")
    text = text.replace("RUN echo second; sleep 1000", f"RUN {mount} until [ -e /c/up ]; do :; done; exit 5")
    with build(shared, context, text, "--shell-on-fail", "--no-cache") as at:
        at.expect("failed with exit code 5")
        at.expect("# ")
        assert len([name for name in os.listdir(shared.root / "staging") if name.startswith("build-")]) == 1
        at.type("exit\r")
        assert at.wait() == 1


@pytest.mark.parametrize("how", ["tty", "plain"])
def test_a_window_that_closes_ends_shell_and_build(shared: Tiffin, context: Path, how: str) -> None:
    with build(shared, context, "FROM busybox\nRUN exit 4\n", "--shell-on-fail", "--progress", how) as at:
        at.expect("# ")
        process = at.process
        at.hang_up()
        assert process.wait(30) != 0
    all_undone(shared)


def test_without_a_terminal_the_shell_is_refused(shared: Tiffin, context: Path) -> None:
    (context / "Dockerfile").write_text("FROM busybox\n")
    line = shared.fails("build", "--shell-on-fail", context)
    assert line.startswith("tiffin: --shell-on-fail needs a terminal, as standard input and standard error; ")
