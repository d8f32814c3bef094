"""What a build shows while it runs: plain lines, or a live view on a terminal."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

from tiffin.build import StepError
from tiffin.build.progress import (
    Event,
    Fetching,
    Notice,
    Progress,
    StepCached,
    StepDone,
    StepFailed,
    StepLog,
    StepStarted,
    silent,
)
from tiffin.cli.output import escape, size
from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import TextIO

    from rich.console import RenderableType
    from rich.live import Live

_TAIL_LINES = 6
_LOG_LINES = 40


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
        if isinstance(event, Notice):
            self._stream.write(f"WARNING: {escape(event.text)}\n")
            return
        if isinstance(event, Fetching):
            if event.current < 0:
                self._stream.write(f"{escape(_fetched(event))}\n")
                self._stream.flush()
            return
        if rest := self._rest.pop(event.step, b""):
            self._print(event.step, rest.decode(errors="replace"))
        self._print(event.step, describe(event))

    def _print(self, step: int, text: str) -> None:
        self._stream.write(f"#{step} {escape(text)}\n")
        self._stream.flush()


def _fetched(event: Fetching) -> str:
    return f"{event.image}: {event.id}: {event.status}" if event.id else f"{event.image}: {event.status}"


def describe(event: StepStarted | StepCached | StepDone | StepFailed) -> str:
    """The line of a step's event."""
    if isinstance(event, StepStarted):
        return event.name
    if isinstance(event, StepCached):
        return f"{event.name} CACHED"
    if isinstance(event, StepDone):
        return f"DONE {event.seconds:.1f}s"
    return f"ERROR after {event.seconds:.1f}s: {event.error}"


class LiveProgress:
    """A terminal's view: a line a step with its time, the last lines of what runs below it."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.live import Live

        self._steps: dict[int, str] = {}
        self._began: dict[int, float] = {}
        self._state: dict[int, str] = {}
        self._tails: dict[int, list[str]] = {}
        self._bytes: dict[str, dict[str, tuple[int, int]]] = {}  # of base images, by layer: come, and all
        self._live: Live = Live(
            console=Console(stderr=True), get_renderable=self._render, refresh_per_second=8, transient=False
        )

    @property
    def live(self) -> "Live":
        return self._live

    def __call__(self, event: Event, /) -> None:
        if isinstance(event, StepStarted | StepCached):
            self._steps[event.step] = escape(event.name)
            self._began[event.step] = time.monotonic()
            self._state[event.step] = "CACHED" if isinstance(event, StepCached) else ""
        elif isinstance(event, StepLog):
            tail = self._tails.setdefault(event.step, [""])
            first, *more = escape(event.data.decode(errors="replace").replace("\r\n", "\n")).split("\n")
            tail[-1] += first
            tail.extend(more)
            del tail[: -_TAIL_LINES - 1]
        elif isinstance(event, StepDone):
            self._state[event.step] = f"{event.seconds:.1f}s"
            self._tails.pop(event.step, None)
        elif isinstance(event, StepFailed):
            self._state[event.step] = f"ERROR {event.seconds:.1f}s"
        elif isinstance(event, Notice):
            self._live.console.print(f"WARNING: {escape(event.text)}", markup=False)
        elif isinstance(event, Fetching):
            layers = self._bytes.setdefault(event.image, {})
            if event.current >= 0:
                layers[event.id] = (event.current, max(event.total, 0))
            elif event.status.startswith("Status: "):
                del self._bytes[event.image]

    def _render(self) -> "RenderableType":
        from rich.text import Text

        text = Text()
        for image, layers in list(self._bytes.items()):
            come, whole = (sum(pair[n] for pair in list(layers.values())) for n in (0, 1))
            text.append(f"{'':>8}  fetching {escape(image)} {size(come)}/{size(whole)}\n", style="bold")
        for step, name in sorted(self._steps.items()):
            state = self._state[step]
            style = {"CACHED": "cyan", "": "bold"}.get(state, "red" if state.startswith("ERROR") else "green")
            shown = state or f"{time.monotonic() - self._began[step]:.1f}s"
            text.append(f"{shown:>8}  {name}\n", style=style)
            for line in self._tails.get(step, [])[-_TAIL_LINES:]:
                if line:
                    text.append(f"          {line}\n", style="dim")
        return text


@contextmanager
def _log_of_a_failure(stream: "TextIO") -> Iterator[None]:
    try:
        yield
    except StepError as error:
        lines = error.log.replace("\r\n", "\n").rstrip("\n").split("\n")[-_LOG_LINES:]
        stream.write("".join(f"{escape(line)}\n" for line in lines if error.log))
        stream.flush()
        raise


@contextmanager
def choose(wanted: str, *, quiet: bool, stream: "TextIO") -> Iterator[Progress]:
    """The progress for --progress and -q: live on a terminal, plain elsewhere. Where a step's output was not shown,
    or only its last lines for a while, the end of it is written to `stream` should the step fail."""
    if quiet:
        with _log_of_a_failure(stream):
            yield silent
    elif wanted == "tty" or (wanted == "auto" and stream.isatty() and os.environ.get("TERM") != "dumb"):
        live = LiveProgress()
        with _log_of_a_failure(stream), live.live:
            yield live
    else:
        yield PlainProgress(stream)
