"""What people read: tables, sizes, ages, errors, and text from elsewhere made harmless for a terminal."""

import sys
import time

from tiffin.typed import Any, Iterable, Sequence

_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")
_AGES = ((31536000 * 2, 31536000, "years"), (5184000, 2592000, "months"), (1209600, 604800, "weeks"),
         (172800, 86400, "days"), (7200, 3600, "hours"))  # fmt: skip

_COLUMN_MIN, _COLUMN_GAP = 10, 3


class UsageError(Exception):
    """The words of a command are wrong; carries the command line's text and exit code."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def escape(text: str) -> str:
    """`text` with every control character but a newline or tab shown as \\xNN: names, labels and errors may carry
    sequences that drive a terminal or a CI log."""
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() or c in "\n\t" else f"\\x{ord(c):02x}" if ord(c) < 256 else f"\\u{ord(c):04x}"
        for c in text
    )


def size(count: int) -> str:
    """Bytes as Docker prints them: decimal units, three significant digits (1.24MB)."""
    value = float(count)
    for unit in _UNITS:
        if value < 1000 or unit == _UNITS[-1]:
            break
        value /= 1000
    return f"{value:.3g}{unit}" if value < 1000 else f"{value:.0f}{unit}"


def age(seconds: float) -> str:
    """How long, in Docker's words: "About a minute", "3 hours", "2 weeks"."""
    for bound, unit, name in _AGES:
        if seconds >= bound:
            return f"{int(seconds // unit)} {name}"
    if seconds >= 5400 or seconds >= 3600:
        return "About an hour"
    if seconds >= 120:
        return f"{int(seconds // 60)} minutes"
    if seconds >= 60:
        return "About a minute"
    if seconds < 1:
        return "Less than a second"
    return f"{int(seconds)} second" + ("" if int(seconds) == 1 else "s")


def since(nanoseconds: int) -> str:
    """`age` of a moment in nanoseconds since the epoch, with "ago"."""
    return f"{age(max(0.0, time.time() - nanoseconds / 1e9))} ago"


def clock(nanoseconds: int) -> str:
    """A moment as Docker prints it: 2023-11-14 22:13:20 +0000 UTC."""
    return time.strftime("%Y-%m-%d %H:%M:%S %z %Z", time.localtime(nanoseconds // 1_000_000_000))


def check_filters(filters: Iterable[str]) -> None:
    """Raises UsageError, with Docker's code, for a `--filter` that is no pair."""
    for text in filters:
        if "=" not in text:
            raise UsageError(
                f'invalid argument "{text}" for "-f, --filter" flag: bad format of filter (expected name=value)',
                125,
            )


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print columns as Docker does. What is in a cell begins neither a column nor a line of its own."""
    sys.stdout.write(table_text(headings, rows))


def table_text(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """What `table` prints."""
    lines = ["\t".join(headings), *("\t".join(map(one_line, row)) for row in rows)]
    return aligned("\n".join(lines) + "\n")


def one_line(text: str) -> str:
    """`escape` for text that must stay on its line. What a build server obeys anywhere in a line is broken, too."""
    if text.isprintable() and "##" not in text:
        return text  # as nearly every cell is
    shown = escape(text).replace("\n", "\\n").replace("\t", " ")
    return shown.replace("##vso[", "#\\x23vso[") if "##vso[" in shown else shown


def aligned(text: str) -> str:
    """Lines of cells, which tabs end, in columns: ten characters wide at least, three more than the widest cell. Spaces
    at a line's end are dropped."""
    rows = [line.split("\t") for line in text.split("\n")]
    widths: dict[int, int] = {}
    for row in rows:
        for at, cell in enumerate(row[:-1]):
            widths[at] = max(widths.get(at, _COLUMN_MIN), len(cell) + _COLUMN_GAP)
    return "\n".join(
        ("".join(cell.ljust(widths[at]) for at, cell in enumerate(row[:-1])) + row[-1]).rstrip(" ")
        for row in rows
    )


def lines(values: Iterable[str]) -> None:
    """One value a line."""
    text = "".join(f"{escape(value)}\n" for value in values)
    sys.stdout.write(text)


def print_error(text: str, stream: Any = None) -> None:
    """One line on standard error, with control characters made harmless (names come from images)."""
    print(f"tiffin: {one_line(text)}", file=stream or sys.stderr)


def print_warning(text: str) -> None:
    """A line on standard error that is no failure."""
    print(f"WARNING: {one_line(text)}", file=sys.stderr)
