"""`tiffin stats`."""

import os
import sys
import time

from tiffin.cli import output
from tiffin.cli.formatting import OPTION_HELP, Listing
from tiffin.typed import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tiffin.cli.main import Session
    from tiffin.cli.parser import CommandParser, Namespace
    from tiffin.engine.stats import Sample

DESCRIPTION = """\
Show what containers use, again each second until ctrl-c: those that run, or those named. CPU % is of one CPU, so that
two busy ones are 200%; memory is without file pages that could go at once."""
EXAMPLES = """\
tiffin stats
# once, for a program
tiffin stats --no-stream --format json web
tiffin stats --no-stream --format 'table {{.Name}}\\t{{.CPUPerc}}\\t{{.MemUsage}}'
"""
_HEADINGS = {
    "Container": "CONTAINER",
    "ID": "CONTAINER ID",
    "Name": "NAME",
    "CPUPerc": "CPU %",
    "MemUsage": "MEM USAGE / LIMIT",
    "MemPerc": "MEM %",
    "NetIO": "NET I/O",
    "BlockIO": "BLOCK I/O",
    "PIDs": "PIDS",
}
_COLUMNS = ("ID", "Name", "CPUPerc", "MemUsage", "MemPerc", "NetIO", "BlockIO", "PIDs")
_INTERVAL = 1.0
_FIRST = 0.5  # between the two looks that the first CPU % needs
_BINARY = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
_HOME, _CLEAR_LINE, _CLEAR_BELOW = "\x1b[H", "\x1b[K", "\x1b[J"


def arguments(parser: "CommandParser") -> None:
    parser.switch("-a", "--all", help="those that do not run, too")
    parser.switch("--no-stream", help="show it once")
    parser.switch("--no-trunc", help="whole IDs")
    parser.add_argument("--format", metavar="FORMAT", help=OPTION_HELP)
    parser.add_argument("containers", nargs="*", metavar="CONTAINER")


def run(args: "Namespace", session: "Session") -> int:
    from tiffin.errors import NotFound

    listing = Listing(args.format, _HEADINGS, _COLUMNS)
    live = not args.no_stream and sys.stdout.isatty()
    before = _look(args, session)
    time.sleep(_FIRST)
    if live:
        sys.stdout.write(_HOME + _CLEAR_BELOW)
    while True:
        try:
            now = _look(args, session)
        except NotFound:
            return 0  # one that was named has been removed
        known = {sample.id: sample for sample in before}
        text = listing.text(_row(sample, known.get(sample.id), full=args.no_trunc) for sample in now)
        sys.stdout.write(_in_place(text) if live else text)
        sys.stdout.flush()
        if args.no_stream:
            return 0
        before = now
        time.sleep(_INTERVAL)


def _in_place(text: str) -> str:
    """The text over what was on the screen: line by line, so that nothing flickers; no more than fits, so that nothing
    scrolls."""
    columns, rows = os.get_terminal_size(1)
    shown = [line[: columns or None] for line in text.splitlines()[: rows - 1 if rows else None]]
    return _HOME + "".join(f"{line}{_CLEAR_LINE}\n" for line in shown) + _CLEAR_BELOW


def _look(args: "Namespace", session: "Session") -> "Sequence[Sample]":
    return session.engine.containers.all_stats(args.containers, show_all=args.all)


def _row(sample: "Sample", before: "Sample | None", *, full: bool) -> dict[str, Any]:
    from tiffin.engine.stats import usage

    used = usage(sample, before)
    return {
        "Container": sample.id if full else sample.id[:12],
        "ID": sample.id if full else sample.id[:12],
        "Name": sample.name,
        "CPUPerc": f"{used.cpu:.2f}%",
        "MemUsage": f"{binary(used.memory)} / {binary(used.memory_limit)}",
        "MemPerc": f"{used.memory_percent:.2f}%",
        "NetIO": f"{output.size(used.received)} / {output.size(used.sent)}",
        "BlockIO": f"{output.size(used.read)} / {output.size(used.written)}",
        "PIDs": str(used.pids),
    }


def binary(count: int) -> str:
    """Bytes as Docker prints memory: binary units, four significant digits (1.234MiB)."""
    value = float(count)
    for unit in _BINARY:
        if value < 1024 or unit == _BINARY[-1]:
            break
        value /= 1024
    return f"{value:.4g}{unit}"
