"""What a build shows: plain lines, the live view, BuildKit's JSON, and which of them."""

import base64
import io
import json

import pytest
from rich.console import Console

from tiffin.build import StepError
from tiffin.build.progress import (
    Event,
    Fetching,
    Notice,
    StepCached,
    StepDone,
    StepFailed,
    StepLog,
    StepStarted,
    StepTransfer,
)
from tiffin.cli.build_live import TAIL_LINES, LiveProgress, Tail, plain
from tiffin.cli.build_progress import PlainProgress, failure, mode
from tiffin.cli.build_rawjson import RawJsonProgress
from tiffin.errors import InvalidArgument

NAME = "r.io/base:1"


def fetching(status: str, layer: str = "", current: int = -1, total: int = -1) -> Event:
    return Fetching(NAME, status, layer, current, total)


def shown_by(show: LiveProgress, width: int = 80, height: int = 24) -> list[str]:
    """The lines of the view as a terminal of that size has them."""
    show._console.size = (width, height)
    with show._console.capture() as capture:
        show._console.print(show.render())
    return capture.get().splitlines()


@pytest.fixture
def live() -> LiveProgress:
    return LiveProgress(Console(file=io.StringIO(), width=80, height=24))


def test_without_a_terminal_each_step_is_a_line_and_bytes_are_none() -> None:
    out = io.StringIO()
    show = PlainProgress(out)
    show(fetching("Pulling from base", "1"))
    show(fetching("Downloading", "abc", 5, 10))
    show(fetching("Pull\x1b complete", "abc"))
    show(fetching("Status: done"))
    assert out.getvalue().splitlines() == [
        "r.io/base:1: 1: Pulling from base",
        "r.io/base:1: abc: Pull\\x1b complete",
        "r.io/base:1: Status: done",
    ]


def test_on_a_terminal_all_layers_are_one_line_until_they_are_here(live: LiveProgress) -> None:
    live(fetching("Downloading", "abc", 500_000, 1_000_000))
    live(fetching("Downloading", "def", 1_000_000, 2_000_000))
    assert shown_by(live)[1].split() == ["fetching", NAME, "1.5MB/3MB"]
    live(fetching("Status: done"))
    assert len(shown_by(live)) == 1


def test_steps_that_run_at_once_are_shown_with_their_times_and_the_ends_of_their_logs(
    live: LiveProgress,
) -> None:
    live(StepStarted(1, "[a 1/2] RUN one"))
    live(StepStarted(2, "[b 1/2] RUN two"))
    for number in range(20):
        live(StepLog(1, 1, b"line %d\n" % number))
    live(StepLog(2, 2, b"half a li"))
    live(StepLog(2, 2, b"ne"))
    lines = shown_by(live)
    assert lines[0].startswith("[+] building ") and lines[0].endswith("s (0/2)")
    assert [line.strip() for line in lines[2 : 2 + TAIL_LINES]] == [f"line {n}" for n in range(14, 20)]
    assert "RUN two" in lines[8] and "s  [b" in lines[8]
    assert lines[9].strip() == "half a line"
    live(StepDone(1, 2.34))
    live(StepFailed(2, 0.5, "no"))
    lines = shown_by(live)
    assert lines[0].endswith("(2/2)")
    assert [line.split()[0] for line in lines[1:]] == ["2.3s", "ERROR"]


def test_steps_from_the_cache_that_stand_together_are_one_line(live: LiveProgress) -> None:
    live(StepCached(1, "[1/6] FROM base"))
    live(StepCached(2, "[2/6] RUN a"))
    assert [line.strip() for line in shown_by(live)[1:]] == ["CACHED  [1/6] FROM base", "CACHED  [2/6] RUN a"]
    live(StepCached(3, "[3/6] RUN b"))
    assert [line.strip() for line in shown_by(live)[1:]] == ["CACHED  3 steps, to [3/6] RUN b"]


def test_a_download_of_a_step_is_shown_below_it(live: LiveProgress) -> None:
    live(StepStarted(1, "[1/2] ADD http://x/y"))
    live(StepTransfer(1, "y", 1_000_000, 4_000_000))
    assert shown_by(live)[2].split() == ["y", "1MB/4MB"]


@pytest.mark.parametrize(("width", "height"), [(20, 5), (80, 10), (200, 100), (1, 1)])
def test_the_view_fits_into_every_terminal(live: LiveProgress, width: int, height: int) -> None:
    for step in range(1, 30):
        live(StepStarted(step, f"[{step}/30] RUN " + "x" * 300))
        live(StepLog(step, 1, b"y" * 500 + b"\nz\n"))
        if step % 2:
            live(StepDone(step, 1.0))
    lines = shown_by(live, width, height)
    assert len(lines) <= max(height - 1, 3)
    assert all(len(line) <= width for line in lines)


def test_what_a_command_writes_cannot_drive_the_terminal_of_the_live_view(live: LiveProgress) -> None:
    live(StepStarted(1, "RUN \x1b[2J"))
    live(StepLog(1, 1, b"\x1b[2J\x1b]0;title\x07clean\x1b[31m red\x1b[0m\x08\r\n"))
    text = "\n".join(shown_by(live))
    assert "clean red\\x08" in text
    assert "\x1b" not in text and "title" not in text


@pytest.mark.parametrize(
    ("written", "left"),
    [
        (b"10%\r20%\r30%", "30%"),
        (b"done\r", "done"),
        (b"\x1b[1;32mok\x1b[m", "ok"),
        (b"\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link"),
        (b"\x1bP1$r\x1b\\a", "a"),
        (b"\x1b(Bx\x1b7y", "xy"),
        (b"\x9b2J\xff", "\ufffd2J\ufffd"),
        (b"a\tb", "a       b"),
        (b"\x00", "\\x00"),
        (b"\x1b]unended", ""),
        (b"\x1b", ""),
    ],
)
def test_escapes_are_stripped(written: bytes, left: str) -> None:
    assert plain(written) == left


def test_a_line_without_an_end_takes_no_memory() -> None:
    tail = Tail()
    for _ in range(100):
        tail.feed(b"x" * 10_000)
    assert len(tail._rest) <= 4096
    tail.feed("é\n".encode()[:1])
    tail.feed("é\n".encode()[1:])
    assert tail.lines()[-1].endswith("xé")


def test_raw_json_is_what_buildkit_says(live: LiveProgress) -> None:
    out = io.StringIO()
    show = RawJsonProgress(out)
    show.at = 1_700_000_000_123_456_789
    show(StepStarted(1, "RUN a", "sha256:a", ("sha256:b",)))
    show(StepLog(1, 2, b"\x1b\xff"))
    show(StepTransfer(1, "y", 5, 10))
    show(StepTransfer(1, "y", 10, 10))
    show(StepFailed(1, 1.0, "broken"))
    show(StepCached(2, "RUN b", "sha256:c"))
    show(Notice("mind"))
    show(fetching("Downloading", "abc", 5, 10))
    show(fetching("Pull complete", "abc"))
    show(fetching("Status: done"))
    now = "2023-11-14T22:13:20.123456789Z"
    vertex = {"digest": "sha256:a", "inputs": ["sha256:b"], "name": "RUN a", "started": now}
    transfer = {"id": "y", "vertex": "sha256:a", "started": now, "timestamp": now, "total": 10}
    lines = [json.loads(line) for line in out.getvalue().splitlines()]
    assert lines[:7] == [
        {"vertexes": [vertex]},
        {
            "logs": [
                {
                    "vertex": "sha256:a",
                    "stream": 2,
                    "data": base64.b64encode(b"\x1b\xff").decode(),
                    "timestamp": now,
                }
            ]
        },
        {"statuses": [{**transfer, "current": 5}]},
        {"statuses": [{**transfer, "current": 10, "completed": now}]},
        {"vertexes": [{**vertex, "completed": now, "error": "broken"}]},
        {
            "vertexes": [
                {"digest": "sha256:c", "name": "RUN b", "started": now, "completed": now, "cached": True}
            ]
        },
        {"warnings": [{"level": 1, "short": base64.b64encode(b"mind").decode()}]},
    ]
    image = lines[7]["vertexes"][0]
    assert image["name"] == f"[internal] load {NAME}"
    layers = [line["statuses"][0] for line in lines[8:10]]
    assert [(layer["id"], layer["current"], "completed" in layer) for layer in layers] == [
        ("abc", 5, False),
        ("abc", 10, True),
    ]
    assert lines[10]["vertexes"][0]["completed"] == now


def test_the_way_to_show_it_is_the_option_s_then_the_environment_s(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BUILDKIT_PROGRESS", raising=False)
    out = io.StringIO()
    assert mode("", quiet=False, stream=out) == "plain"
    assert mode("auto", quiet=True, stream=out) == "quiet"
    monkeypatch.setenv("BUILDKIT_PROGRESS", "rawjson")
    assert mode("", quiet=False, stream=out) == "rawjson"
    assert mode("plain", quiet=False, stream=out) == "plain"
    monkeypatch.setenv("BUILDKIT_PROGRESS", "tty")
    assert mode("", quiet=False, stream=out) == "plain"
    with pytest.raises(InvalidArgument, match="--progress=tty: standard error is not a terminal"):
        mode("tty", quiet=False, stream=out)
    with pytest.raises(InvalidArgument, match="--progress=plain and --quiet"):
        mode("plain", quiet=True, stream=out)
    monkeypatch.setenv("BUILDKIT_PROGRESS", "nice")
    with pytest.raises(InvalidArgument, match="invalid progress 'nice' in BUILDKIT_PROGRESS"):
        mode("", quiet=False, stream=out)


def test_a_failed_step_is_told_with_the_end_of_its_log_its_place_and_its_file() -> None:
    error = StepError(
        "it broke",
        file="Dockerfile",
        line=2,
        instruction="RUN",
        log="a\r\nb\x1b\nc\n",
        status=1,
        step=2,
        title="RUN x",
    )
    error.excerpt = "Dockerfile:2\n 2 | >>> RUN \x1b"
    error.build, error.log_path = "abc", "/builds/abc/2.log"
    assert list(failure(error, 2)) == [
        "------",
        " > RUN x:",
        "b\\x1b",
        "c",
        "------",
        "Dockerfile:2",
        " 2 | >>> RUN \\x1b",
        "the whole log: tiffin builder logs abc 2 (/builds/abc/2.log)",
    ]
