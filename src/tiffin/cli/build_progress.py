"""What a build shows while it runs, and of a step that failed."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from tiffin.build import StepError
from tiffin.build.progress import (
    Event,
    Fetching,
    Notice,
    Progress,
    Sending,
    StepCached,
    StepDone,
    StepFailed,
    StepLog,
    StepReason,
    StepShell,
    StepStarted,
    StepTransfer,
    StepWaiting,
    silent,
)
from tiffin.cli.output import escape, one_line
from tiffin.errors import DockerfileError, InvalidArgument
from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import TextIO

    from tiffin.cli.build_live import LiveProgress

MODES = ("auto", "plain", "tty", "quiet", "none", "rawjson")
_VARIABLE = "BUILDKIT_PROGRESS"
WAITS = "waits for another build that executes it"
_LOG_LINES = {"plain": 10, "tty": 40, "quiet": 40, "none": 40}


class PlainProgress:
    """One line an event; output of steps is prefixed with the step's number, whole lines only."""

    def __init__(self, stream: "TextIO") -> None:
        self._stream = stream
        self._rest: dict[int, bytes] = {}

    def __call__(self, event: Event, /) -> None:
        if isinstance(event, StepLog):
            lines = (self._rest.pop(event.step, b"") + event.data).split(b"\n")
            self._rest[event.step] = lines.pop()
            for line in lines:
                self._print(event.step, line.decode(errors="replace").rstrip("\r"))
            return
        if isinstance(event, StepTransfer):
            return
        if isinstance(event, Notice):
            self._stream.write(f"WARNING: {escape(event.text)}\n")
            return
        if isinstance(event, Fetching | Sending):
            if event.current < 0:
                self._stream.write(f"{escape(_transferred(event))}\n")
                self._stream.flush()
            return
        if isinstance(event, StepReason):
            for reason in event.reasons:
                self._print(event.step, f"ran because {reason}")
            return
        if rest := self._rest.pop(event.step, b""):
            self._print(event.step, rest.decode(errors="replace"))
        self._print(event.step, describe(event))

    def _print(self, step: int, text: str) -> None:
        self._stream.write(f"#{step} {escape(text)}\n")
        self._stream.flush()


def _transferred(event: Fetching | Sending) -> str:
    return f"{event[0]}: {event.id}: {event.status}" if event.id else f"{event[0]}: {event.status}"


def describe(event: StepStarted | StepCached | StepWaiting | StepDone | StepFailed | StepShell) -> str:
    """The line of a step's event."""
    if isinstance(event, StepWaiting):
        return f"{event.name} {WAITS}"
    if isinstance(event, StepStarted):
        return event.name
    if isinstance(event, StepCached):
        return f"{event.name} CACHED"
    if isinstance(event, StepDone):
        return f"DONE {event.seconds:.1f}s"
    if isinstance(event, StepShell):
        return f"exit code {event.status}: a shell in the step's state"
    return f"ERROR after {event.seconds:.1f}s: {event.error}"


def mode(wanted: str, *, quiet: bool, stream: "TextIO") -> str:
    """The one of `MODES` but auto that is to be: of --progress, or, when that is not given, of the environment. Raises
    InvalidArgument."""
    named = wanted or os.environ.get(_VARIABLE) or "auto"
    if named not in MODES:
        raise InvalidArgument(f"invalid progress {named!r} in {_VARIABLE}; use one of {', '.join(MODES)}")
    if quiet:
        if wanted not in ("", "auto", "quiet"):
            raise InvalidArgument(f"--progress={wanted} and --quiet cannot both be; give one of them")
        return "quiet"
    if named == "auto":
        return "tty" if stream.isatty() and os.environ.get("TERM") not in ("dumb", "") else "plain"
    if named == "tty" and not stream.isatty():
        if wanted:
            raise InvalidArgument("--progress=tty: standard error is not a terminal; use plain")
        return "plain"
    return named


@contextmanager
def progress(how: str, stream: "TextIO") -> Iterator[Progress]:
    """What tells of a build on `stream` in one of the ways of `mode`, and of the step should one fail: its end of the
    log, its place in the Dockerfile, and where the whole log is."""
    with _failure_told(how, stream):
        if how == "tty":
            with live(stream) as shown:
                yield shown
        elif how == "rawjson":
            from tiffin.cli.build_rawjson import RawJsonProgress

            yield RawJsonProgress(stream)
        else:
            yield PlainProgress(stream) if how == "plain" else silent


@contextmanager
def live(stream: "TextIO") -> Iterator["LiveProgress"]:
    """The live view, until the context ends or a signal ends the program: the screen is whole after both."""
    from rich.console import Console

    from tiffin.cli.build_live import LiveProgress

    # An exported COLUMNS is what some window once had; the terminal knows.
    environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
    shown = LiveProgress(Console(file=stream, highlight=False, _environ=environment))
    with _ended_by_signals(), shown.shown():
        yield shown


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """SIGTERM and SIGHUP as exceptions, so that what is to be given back is; then they do what they did."""
    import signal

    class Ended(BaseException):
        pass

    arrived: list[int] = []

    def note(number: int, _: object) -> None:
        arrived.append(number)
        raise Ended

    before = {number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    except Ended:
        pass
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if arrived:
        os.kill(os.getpid(), arrived[0])


@contextmanager
def _failure_told(how: str, stream: "TextIO") -> Iterator[None]:
    try:
        yield
    except DockerfileError as error:
        if how in _LOG_LINES:
            stream.write("".join(f"{line}\n" for line in failure(error, _LOG_LINES[how])))
            stream.flush()
        raise


def failure(error: DockerfileError, lines: int) -> Iterator[str]:
    """What is to be read of an error of a build beside its own line: at most `lines` of the step's output."""
    if isinstance(error, StepError):
        yield "------"
        yield f" > {one_line(error.title)}:"
        text = error.log.replace("\r\n", "\n").rstrip("\n")
        yield from (escape(line) for line in text.split("\n")[-lines:] if text)
        yield "------"
    if error.excerpt:
        yield from (escape(line) for line in error.excerpt.split("\n"))
    if isinstance(error, StepError) and error.log_path:
        yield f"the whole log: tiffin builder logs {error.build} {error.step} ({error.log_path})"
