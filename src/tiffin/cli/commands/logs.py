"""`tiffin logs`."""

import os
import re
import time

from tiffin.errors import InvalidArgument
from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from tiffin.cli.main import Session
    from tiffin.cli.parser import CommandParser, Namespace
    from tiffin.engine.options import LogLine

DESCRIPTION = "Show what a container wrote to its standard output and error, each on the same stream here."
EXAMPLES = """\
tiffin logs --tail 20 web
tiffin logs -f --since 10m web
"""
_UNITS = {"ns": 1, "us": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}


def arguments(parser: "CommandParser") -> None:
    add = parser.add_argument
    parser.switch("-f", "--follow", help="go on as it writes, until it ends")
    parser.switch("-t", "--timestamps", help="begin each line with its time")
    add("-n", "--tail", default="all", metavar="N", help="the last N lines only (default all)")
    add(
        "--since",
        default="",
        metavar="TIME",
        help="from a time on: 2026-01-31T12:00:00Z, seconds, or 10m ago",
    )
    add("--until", default="", metavar="TIME", help="up to a time")
    parser.switch("--details", help="show the labels and variables that --log-opt chose")
    add("container", metavar="CONTAINER")


def run(args: "Namespace", session: "Session") -> int:
    from tiffin.engine.options import LogQuery

    query = LogQuery(
        follow=args.follow,
        tail=_tail(args.tail),
        since=moment(args.since, "--since"),
        until=moment(args.until, "--until"),
    )
    containers = session.engine.containers
    details = _details(containers.log_attributes(args.container)) if args.details else b""
    stamps = _Stamps(details) if args.timestamps or args.details else None
    for entry in containers.log_entries(args.container, query):
        data = entry.data if stamps is None else stamps.put(entry, time=args.timestamps)
        _write(2 if entry.stream == "stderr" else 1, data)
    return 0


class _Stamps:
    """Puts the time and the details at the beginning of every line."""

    def __init__(self, details: bytes) -> None:
        self._details = details
        self._within = {"stdout": False, "stderr": False}  # the last piece ended in the middle of a line

    def put(self, entry: "LogLine", *, time: bool) -> bytes:
        mark = (entry.time.encode() + b" " if time else b"") + self._details
        data, ended = entry.data, entry.data.endswith(b"\n")
        text = (data[:-1] if ended else data).replace(b"\n", b"\n" + mark) + (b"\n" if ended else b"")
        if not self._within[entry.stream]:
            text = mark + text
        self._within[entry.stream] = not ended
        return text


def _details(attributes: dict[str, str]) -> bytes:
    """As Docker prints them: a=1,b=2 and a space."""
    return ",".join(f"{name}={value}" for name, value in sorted(attributes.items())).encode() + b" "


def _write(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def _tail(text: str) -> int:
    if text == "all":
        return -1
    if not (text.isascii() and text.lstrip("-").isdigit()):
        raise InvalidArgument(f'invalid argument "{text}" for "--tail": want a number or all')
    return max(int(text), -1)


def moment(text: str, option: str) -> int:
    """Nanoseconds since the epoch of an RFC 3339 time, a Unix time, or a duration before now; 0 for ""."""
    if not text:
        return 0
    if re.fullmatch(r"[0-9]+(\.[0-9]{1,9})?", text):
        return int(float(text) * 10**9)
    if re.fullmatch(r"([0-9]+(\.[0-9]+)?(ns|us|ms|s|m|h))+", text):
        pieces = re.findall(r"([0-9]+(?:\.[0-9]+)?)(ns|us|ms|s|m|h)", text)
        return time.time_ns() - sum(int(float(number) * _UNITS[unit]) for number, unit in pieces)
    import datetime

    try:
        when = datetime.datetime.fromisoformat(text)
    except ValueError as error:
        raise InvalidArgument(
            f'invalid argument "{text}" for "{option}": want a time or a duration'
        ) from error
    return int((when if when.tzinfo else when.astimezone()).timestamp() * 10**9)
