"""A build on a terminal: a line a step with its time, the end of the output of those that run, what is transferred.

All of it is drawn anew, several times a second, at the terminal's size of that moment; a line is never longer than the
terminal is wide. Steps that were in the cache are one line as long as they stand together. When it is over, its last
state stays on the screen.
"""

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager

from tiffin.build.progress import (
    Event,
    Fetching,
    Notice,
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
)
from tiffin.cli.output import escape, one_line, size
from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.live import Live

TAIL_LINES = 6
_LINE_MAX = 4096  # bytes of a line that are looked at
_REFRESH = 8  # a second
# Control sequences, strings up to their end, and two-character escapes (ECMA-48, 5.4 and 5.6).
_ESCAPES = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b[\]PX^_].*?(?:\x07|\x1b\\|$)|\x1b[ -/]*[0-~]|\x1b|\x9b[0-?]*[ -/]*[@-~]"
)


class Tail:
    """The last lines of a step's output, made harmless: what drives a terminal is left out, and what a carriage return
    wrote over."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._rest = b""

    def feed(self, data: bytes) -> None:
        """The next piece, cut anywhere."""
        *whole, rest = (self._rest + data).split(b"\n")
        self._lines = [*self._lines, *(plain(line) for line in whole[-TAIL_LINES:])][-TAIL_LINES:]
        self._rest = rest[-_LINE_MAX:]

    def lines(self) -> list[str]:
        """At most `TAIL_LINES`; the line that is being written is the last."""
        return [*self._lines, *([plain(self._rest)] if self._rest else [])][-TAIL_LINES:]


def plain(line: bytes) -> str:
    """What is left to read of a line of output on a terminal."""
    text = _ESCAPES.sub("", line[-_LINE_MAX:].decode("utf-8", "replace"))
    return escape(text.rstrip("\r").rpartition("\r")[2].expandtabs())


class _Row:
    """A step on the screen. `state` is "" while it runs, `note` what there is to say of it meanwhile."""

    def __init__(self, step: int, name: str, state: str = "", note: str = "") -> None:
        self.step = step
        self.name = f"{one_line(name)}{note}"
        self.state = state
        self.began = time.monotonic()
        self.tail = Tail()
        self.transfers: dict[str, tuple[int, int]] = {}
        self.reasons: list[str] = []


class LiveProgress:
    """Progress on `console`."""

    def __init__(self, console: "Console") -> None:
        self._console = console
        self._rows: dict[int, _Row] = {}
        self._images: dict[str, dict[str, tuple[int, int]]] = {}  # transfers, by layer: come, and all
        self._live: Live | None = None
        self._began = time.monotonic()
        self._over = False

    @contextmanager
    def shown(self) -> Iterator["LiveProgress"]:
        """On the screen until the context ends."""
        self._start()
        try:
            yield self
        finally:
            self._over = True
            self._stop()

    def leave(self) -> None:
        """Leave the screen to somebody else, for good; what is there stays."""
        self._over = True
        self._stop()

    def _start(self) -> None:
        from rich.live import Live

        self._live = Live(console=self._console, get_renderable=self.render, refresh_per_second=_REFRESH)
        self._live.start()

    def _stop(self) -> None:
        live, self._live = self._live, None
        if live is not None:
            live.stop()

    def __call__(self, event: Event, /) -> None:
        if isinstance(event, StepStarted):
            self._rows[event.step] = _Row(event.step, event.name)
        elif isinstance(event, StepCached):
            self._rows[event.step] = _Row(event.step, event.name, "CACHED")
        elif isinstance(event, StepWaiting):
            self._rows[event.step] = _Row(event.step, event.name, note=" (another build executes it)")
        elif isinstance(event, StepLog):
            self._rows[event.step].tail.feed(event.data)
        elif isinstance(event, StepTransfer):
            self._rows[event.step].transfers[one_line(event.name)] = (event.current, event.total)
        elif isinstance(event, StepDone):
            self._rows[event.step].state = f"{event.seconds:.1f}s"
        elif isinstance(event, StepFailed):
            self._rows[event.step].state = f"ERROR {event.seconds:.1f}s"
        elif isinstance(event, StepShell):
            self.leave()
        elif isinstance(event, Notice):
            self._console.print(f"WARNING: {escape(event.text)}", markup=False, emoji=False, soft_wrap=True)
        elif isinstance(event, StepReason):
            self._rows[event.step].reasons = [one_line(reason) for reason in event.reasons]
        elif isinstance(event, Fetching | Sending):
            self._transfer(event)

    def _transfer(self, event: Fetching | Sending) -> None:
        what = f"{'fetching' if isinstance(event, Fetching) else 'sending'} {one_line(event[0])}"
        layers = self._images.setdefault(what, {})
        if event.current >= 0:
            layers[event.id] = (event.current, event.total)
        elif event.status.startswith("Status: ") or ": digest: " in event.status:
            del self._images[what]

    def render(self) -> "RenderableType":
        """The lines as they stand. While it goes on and there are more than the terminal is high, what is left out
        first are the steps that are over, the oldest before the others, then the outputs."""
        from rich.console import Group
        from rich.text import Text

        room = max(3, self._console.size.height - 1)
        rows = sorted(self._rows.copy().values(), key=lambda row: row.step)
        images = [_transfer(what, layers.copy()) for what, layers in self._images.copy().items()]
        ended = [line for group in _groups(rows) for line in group]
        tails = TAIL_LINES
        lines = self._lines(rows, ended, tails)
        if not self._over:
            room -= 1 + len(images)
            while len(lines) > room and tails > 0:
                tails -= 1
                lines = self._lines(rows, ended, tails)
            if len(lines) > room:
                hidden = len(lines) - room + 1
                lines = [(f"{'':>8}  {hidden} more lines", "dim"), *lines[hidden:]]
        head = [] if self._over else [(self._summary(rows), "bold")]
        every = [*head, *((text, "bold") for text in images), *lines]
        return Group(*(Text(text, style=style, no_wrap=True, overflow="ellipsis") for text, style in every))

    def _summary(self, rows: list[_Row]) -> str:
        done = sum(1 for row in rows if row.state)
        return f"[+] building {time.monotonic() - self._began:.1f}s ({done}/{len(rows)})"

    def _lines(self, rows: list[_Row], ended: list[tuple[str, str]], tails: int) -> list[tuple[str, str]]:
        """What is over above what runs, so that what changes is at the bottom."""
        lines = list(ended)
        for row in rows:
            if row.state:
                continue
            lines.append((f"{time.monotonic() - row.began:>7.1f}s  {row.name}", "bold"))
            lines += [(_transfer(name, {name: pair}), "") for name, pair in row.transfers.copy().items()]
            if tails:
                lines += [(f"{'':>10}{line}", "dim") for line in row.tail.lines()[-tails:]]
        return lines


def _groups(rows: list[_Row]) -> Iterator[list[tuple[str, str]]]:
    """The lines of the steps that are over; several from the cache that follow each other are one."""
    cached: list[_Row] = []
    for row in rows:
        if row.state == "CACHED":
            cached.append(row)
            continue
        yield _folded(cached)
        cached = []
        if row.state:
            style = "red" if row.state.startswith("ERROR") else "green"
            why = [(f"{'':>10}because {reason}", "yellow") for reason in row.reasons]
            yield [(f"{row.state:>8}  {row.name}", style), *why]
    yield _folded(cached)


def _folded(rows: list[_Row]) -> list[tuple[str, str]]:
    if len(rows) <= 2:
        return [(f"{'CACHED':>8}  {row.name}", "cyan") for row in rows]
    return [(f"{'CACHED':>8}  {len(rows)} steps, to {rows[-1].name}", "cyan")]


def _transfer(title: str, parts: dict[str, tuple[int, int]]) -> str:
    come = sum(max(current, 0) for current, _ in parts.values())
    whole = sum(max(total, 0) for _, total in parts.values())
    return f"{'':>8}  {title} {size(come)}" + (f"/{size(whole)}" if whole else "")
