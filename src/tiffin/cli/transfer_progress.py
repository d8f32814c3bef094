"""What a pull, push or load shows while it works: Docker's plain lines, or a live line a layer on a terminal."""

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tiffin.cli.output import escape, size
from tiffin.typed import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from typing import TextIO

    from rich.console import Console, RenderableType
    from rich.text import Text

    from tiffin.images.transfer import Report, TransferEvent

_BAR = 24  # columns, where there is room
_REST = 62  # columns of a line beside the bar
_WINDOW = 5.0  # seconds over which a rate is measured
_SAMPLE = 0.1  # seconds between two samples of it
_REFRESH = 8  # a second
# Statuses after which nothing more is to come of a layer. The ones that go on name where: "Mounted from x".
_FINAL = (
    "Pull complete",
    "Already exists",
    "Pushed",
    "Layer already exists",
    "Mounted from",
    "Loaded",
    "Skipped",
)


@contextmanager
def choose(quiet: bool, stream: "TextIO") -> "Iterator[Report]":
    """The report for one transfer, callable from any thread: live on a terminal that can do it, plain lines
    elsewhere, nothing when `quiet`. Writes to `stream` alone."""
    if quiet:
        yield _silent
    elif stream.isatty() and os.environ.get("TERM") not in ("dumb", ""):
        from rich.console import Console

        with LiveTransfers(Console(file=stream, highlight=False)).shown() as report:
            yield report
    else:
        yield PlainTransfers(stream)


def _silent(event: "TransferEvent", /) -> None:
    """Tells nobody."""


class PlainTransfers:
    """One line for each change of a layer's status. As Docker has it where there is no terminal, what only counts
    bytes is left out."""

    def __init__(self, stream: "TextIO") -> None:
        self._stream = stream
        self._last: dict[str, str] = {}
        self._lock = threading.Lock()

    def __call__(self, event: "TransferEvent", /) -> None:
        if event.current >= 0:
            return
        with self._lock:
            if event.id and self._last.get(event.id) == event.status:
                return
            self._last[event.id] = event.status
            self._stream.write(f"{_line(event.id, event.status)}\n")
            self._stream.flush()


class Meter:
    """Bytes per second over the last few seconds."""

    def __init__(self) -> None:
        self._samples: list[tuple[float, int]] = []

    def add(self, now: float, count: int) -> None:
        """`count` bytes have been moved at `now`; a count that goes back begins anew (a transfer was repeated)."""
        samples = self._samples
        if samples and count < samples[-1][1]:
            samples.clear()
        if len(samples) > 1 and now - samples[-2][0] < _SAMPLE:
            samples.pop()
        samples.append((now, count))
        while len(samples) > 2 and samples[0][0] < now - _WINDOW:
            samples.pop(0)

    def rate(self) -> float:
        """0 while unknown."""
        if len(self._samples) < 2:
            return 0.0
        (began, first), (now, last) = self._samples[0], self._samples[-1]
        return (last - first) / (now - began) if now > began else 0.0


class _Row(NamedTuple):
    """A layer, or with `id` "" a line of the whole."""

    event: "TransferEvent"
    meter: Meter


class LiveTransfers:
    """A terminal's view: what was told, in the order in which it began, a layer's line in place."""

    def __init__(self, console: "Console") -> None:
        self._console = console
        self._rows: list[_Row] = []
        self._places: dict[str, int] = {}
        self._lock = threading.RLock()  # starting the display renders it
        self._start: Callable[[], None] | None = None
        self._ended = False

    @contextmanager
    def shown(self) -> "Iterator[Report]":
        """On the screen from the first event until the context ends; its last state stays there."""
        from rich.live import Live

        live = Live(console=self._console, get_renderable=self.render, refresh_per_second=_REFRESH)
        self._start = live.start
        try:
            yield self
        finally:
            with self._lock:
                self._ended = True
                last = self._take_last_lines()
            live.stop()
            for line in last:  # left to the terminal to wrap: who copies a digest wants it whole
                self._console.print(line, soft_wrap=True, markup=False, emoji=False)

    def _take_last_lines(self) -> list[str]:
        """Remove the lines of the whole that follow the last layer."""
        place = max(self._places.values(), default=-1) + 1
        last = [_line("", row.event.status) for row in self._rows[place:]]
        del self._rows[place:]
        return last

    def __call__(self, event: "TransferEvent", /) -> None:
        with self._lock:
            place = self._places.get(event.id) if event.id else None
            if place is None:
                if event.id:
                    self._places[event.id] = len(self._rows)
                row = _Row(event, Meter())
                self._rows.append(row)
            else:
                before = self._rows[place]
                meter = before.meter if before.event.status == event.status else Meter()
                row = self._rows[place] = _Row(event, meter)
            if event.current >= 0:
                row.meter.add(time.monotonic(), event.current)
            if self._start is not None:
                start, self._start = self._start, None
                start()

    def render(self) -> "RenderableType":
        """The lines as they stand. While it goes on and there are more than the terminal is high, what has ended is
        counted and not shown."""
        from rich.console import Group
        from rich.text import Text

        with self._lock:
            rows = list(self._rows)
        room = max(4, self._console.size.height - 2)
        hidden = 0
        if not self._ended and len(rows) > room:
            active = [row for row in rows if not _is_final(row.event)]
            hidden = len(rows) - len(active)
            rows = active[-room:] if len(active) > room else active
        lines = [Text(f"{hidden} complete", style="dim")] if hidden else []
        bar = max(4, min(_BAR, self._console.size.width - _REST))
        return Group(*lines, *(_styled(row, bar) for row in rows))


def _styled(row: _Row, bar: int) -> "Text":
    """A layer has one line; what is said of the whole is not cut off."""
    from rich.text import Text

    event = row.event
    text = _line(event.id, event.status)
    if not event.id:
        return Text(text, overflow="fold")
    if event.current >= 0:
        text = f"{text:<27} {_measure(event, row.meter.rate(), bar)}"
    return Text(text, style="green" if _is_final(event) else "", no_wrap=True, overflow="ellipsis")


def _measure(event: "TransferEvent", rate: float, width: int) -> str:
    """`[=====>   ]  12MB/40MB  9.1MB/s  3s`; without a total, what has been moved and how fast."""
    speed = f"{size(int(rate))}/s" if rate > 0 else ""
    if event.total <= 0:
        return f"{size(event.current)}  {speed}".rstrip()
    share = min(1.0, event.current / event.total)
    filled = int(share * width)
    bar = "=" * filled + (">" if filled < width else "")
    left = f"{_left((event.total - event.current) / rate)}" if rate > 0 and share < 1 else ""
    return f"[{bar:<{width}}]  {size(event.current)}/{size(event.total)}  {speed}  {left}".rstrip()


def _left(seconds: float) -> str:
    whole = max(1, round(seconds))
    if whole >= 3600:
        return f"{whole // 3600}h{whole % 3600 // 60:02}m"
    return f"{whole // 60}m{whole % 60:02}s" if whole >= 60 else f"{whole}s"


def _line(identifier: str, status: str) -> str:
    """One line, whatever a registry put into it."""
    text = escape(f"{identifier}: {status}" if identifier else status)
    return text.replace("\n", "\\x0a").replace("\t", "\\x09")


def _is_final(event: "TransferEvent") -> bool:
    return not event.id or event.status.startswith(_FINAL)
