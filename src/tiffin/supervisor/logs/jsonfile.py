"""Docker's json-file: one JSON object a line.

    {"log":"text\\n","stream":"stdout","time":"2024-01-02T03:04:05.678901234Z"}

A line longer than 16 KiB comes in several objects, all but the last without the newline, as Docker cuts them. Labels
and variables that the log options chose stand as "attrs" before the time. Lines that came together have one time; all
the encoding and decoding is done on whole blocks of them in C, which is what keeps up with `yes`.
"""

import os

from tiffin import jsontext as json
from tiffin.supervisor.logs.files import PIECE, LineLog, timestamp
from tiffin.typed import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tiffin.containers.record import LogConfig

_OPEN = b'{"log":"'
_STREAM = b'","stream":"'
_END = b'"}\n'
_BLOCK = 256 * 1024


class Entry(NamedTuple):
    """One or more lines of one stream that came at the same time, or a piece of a long line. `time` is RFC 3339 with
    nanoseconds, in UTC, so that texts compare as times."""

    stream: str
    time: str
    data: bytes


class JsonLog(LineLog):
    """Appends to a json-file log."""

    def __init__(self, directory: str, config: "LogConfig") -> None:
        attributes = json.dumps(config.attributes, separators=(",", ":"), ensure_ascii=False)
        self._attributes = f'"attrs":{attributes},' if config.attributes else ""
        super().__init__(directory, config)

    def encode(self, stream: str, data: bytes, when: int) -> bytes:
        """Without a final newline the last object has none either."""
        close = f'","stream":"{stream}",{self._attributes}"time":"{timestamp(when)}"}}\n'
        text = data.decode("utf-8", "replace")
        # One C pass for the whole batch, when no "\n" in the encoded text can be anything but a line's end and no
        # line is over long.
        if "\\" not in text and not _has_long_line(data):
            ended = text.endswith("\n")
            body = json.quoted(text[:-1] if ended else text)[1:-1]
            lines = body.replace("\\n", f'\\n{close}{{"log":"')
            return f'{{"log":"{lines}{chr(92) + "n" if ended else ""}{close}'.encode()
        return "".join(f'{{"log":{json.quoted(piece)}{close[1:]}' for piece in _pieces(data)).encode()

    def repair(self, fd: int, size: int) -> int:
        return size if os.pread(fd, 1, size - 1) == b"\n" else size + os.write(fd, b"\n")


def _has_long_line(data: bytes) -> bool:
    at = 0
    while len(data) - at >= PIECE:
        newline = data.rfind(b"\n", at, at + PIECE)
        if newline < 0:
            return True
        at = newline + 1
    return False


def _pieces(data: bytes) -> "Iterator[str]":
    """Line by line, and long lines piece by piece; all but a last unfinished one with their newline."""
    for line in data.splitlines(keepends=True) if b"\r" not in data else _lines(data):
        for start in range(0, len(line), PIECE):
            if line[start:] != b"\n" or start == 0:
                end = start + PIECE + (line[start + PIECE :] == b"\n")
                yield line[start:end].decode("utf-8", "replace")


def _lines(data: bytes) -> "Iterator[bytes]":
    *whole, rest = data.split(b"\n")
    for line in whole:
        yield line + b"\n"
    if rest:
        yield rest


def decode(block: bytes) -> "tuple[list[Entry], bytes]":
    """The entries of the whole lines in `block`, and what follows them. What is no entry of ours is left out: the rest
    of a line that a crash cut."""
    end = block.rfind(b"\n") + 1
    entries: list[Entry] = []
    at = 0
    while at < end:
        at = _decode_run(block, at, end, entries)
    return entries, block[end:]


def _decode_run(block: bytes, at: int, end: int, entries: "list[Entry]") -> int:
    """Decode the lines from `at` that end alike, which is at the same time of the same stream; where they end.

    In a JSON string every quotation mark has a backslash before it, so that `","stream":"` is no log's text.
    """
    line_end = block.find(b"\n", at, end) + 1
    text_end = block.find(_STREAM, at, line_end)
    if not block.startswith(_OPEN, at) or text_end < 0 or not block.endswith(_END, at, line_end):
        return line_end
    suffix = block[text_end:line_end]
    last, window = text_end, 2 * (line_end - at)
    while (found := block.rfind(suffix, last + 1, min(end, last + window + len(suffix)))) >= 0:
        last, window = found, window * 4
    text = block[at + len(_OPEN) : last].replace(suffix + _OPEN, b"")
    if b"\n" in text:  # lines of another stream at the very same time lie between
        text, last = block[at + len(_OPEN) : text_end], text_end
    try:
        about = json.loads(b'{"log":"' + suffix)
        entries.append(Entry(about["stream"], about["time"], _unescape(text)))
    except (ValueError, TypeError, KeyError, AttributeError):
        pass
    return last + len(suffix)


def _unescape(text: bytes) -> bytes:
    plain = text.replace(b"\\n", b"\n")
    if b"\\" not in plain:
        return plain
    return str(json.loads(b'"' + text + b'"')).encode("utf-8", "replace")


def time_after(block: bytes) -> tuple[int, str]:
    """Where the first line that begins in `block` lies, and its time; (-1, "") when there is none."""
    at = block.find(b"\n") + 1
    while at:
        line_end = block.find(b"\n", at) + 1
        if not line_end:
            break
        found, _ = decode(block[at:line_end])
        if found:
            return at, found[0].time
        at = line_end
    return -1, ""


def last_lines(fd: int, end: int, count: int) -> tuple[bytes, int]:
    """The last `count` whole lines of the file before `end`, read backwards, and how many they are."""
    data, start = b"", end
    while start > 0 and data.count(b"\n") <= count:
        size = min(_BLOCK, start)
        start -= size
        data = os.pread(fd, size, start) + data
    lines = (
        data[: data.rfind(b"\n") + 1].splitlines(keepends=True) if b"\r" not in data else list(_lines(data))
    )
    lines = lines[-count:] if count else []
    return b"".join(lines), len(lines)
