"""Reading a container's log back, over its rotated files, from either end, and as it grows."""

import json
import os
from collections.abc import Iterator

from tiffin.supervisor.log import NAME
from tiffin.typed import NamedTuple

_BLOCK = 256 * 1024
_LONGEST = 1 << 20  # no entry that we write comes near


class Entry(NamedTuple):
    """One line of the file. `time` is RFC 3339 with nanoseconds, in UTC, so that texts compare as times."""

    stream: str
    time: str
    data: bytes


class LogReader:
    """Entries oldest first. `read` gives what has not been given yet, so that calling it again after the log
    has grown follows it, across rotations. Close it."""

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._fd = -1
        self._older = self._rotated()
        self._rest = b""

    def _rotated(self) -> list[str]:
        names = []
        number = 1
        while os.path.exists(path := f"{self._directory}/{NAME}.{number}"):
            names.append(path)
            number += 1
        return names[::-1]

    def read(self) -> Iterator[Entry]:
        """Everything up to the end as it is now. A line that was cut short by a crash is left out."""
        for path in self._older:
            yield from self._whole_file(path)
        self._older = []
        if self._fd < 0:
            try:
                self._fd = os.open(f"{self._directory}/{NAME}", os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                return
        while True:
            yield from self._entries()
            newer = self._successor()
            if newer < 0:
                return
            yield from self._entries()  # what was written between the end above and the rotation
            os.close(self._fd)
            self._fd, self._rest = newer, b""

    def skip_to_tail(self, count: int) -> Iterator[Entry]:
        """Give the last `count` entries instead of everything; `read` goes on from there."""
        lines: list[bytes] = []
        for path in [f"{self._directory}/{NAME}", *self._older[::-1]]:
            try:
                fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                continue
            end = os.fstat(fd).st_size
            lines = _last_lines(fd, end, count - len(lines)) + lines
            if self._fd < 0:
                os.lseek(fd, _line_end(fd, end), os.SEEK_SET)
                self._fd = fd
            else:
                os.close(fd)
            if len(lines) >= count:
                break
        self._older = []
        for line in lines[len(lines) - count :] if count else ():
            yield from _parse(line)

    def close(self) -> None:
        """Idempotent."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _whole_file(self, path: str) -> Iterator[Entry]:
        try:
            self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return
        yield from self._entries()
        self.close()
        self._rest = b""

    def _entries(self) -> Iterator[Entry]:
        while data := os.read(self._fd, _BLOCK):
            *lines, self._rest = (self._rest + data).split(b"\n")
            if len(self._rest) > _LONGEST:
                self._rest = b""
            for line in lines:
                yield from _parse(line)

    def _successor(self) -> int:
        """The file that came after ours, opened; -1 while ours is the newest. When ours was dropped since, the
        oldest that there is."""
        ours = os.fstat(self._fd).st_ino
        while True:
            number = 0
            while (inode := self._inode(number)) not in (ours, 0):
                number += 1
            if inode == ours and number == 0:
                return -1
            if number == 0:
                return -1  # between two renames of a rotation: the next look finds it
            try:
                fd = os.open(self._name(number - 1), os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                continue
            # Still the neighbour once it is open? Else another rotation came between.
            if inode == 0 or self._inode(number) == ours:
                return fd
            os.close(fd)

    def _name(self, number: int) -> str:
        return f"{self._directory}/{NAME}" + (f".{number}" if number else "")

    def _inode(self, number: int) -> int:
        """0 when there is no such file."""
        try:
            return os.stat(self._name(number)).st_ino
        except FileNotFoundError:
            return 0


def _parse(line: bytes) -> Iterator[Entry]:
    try:
        document = json.loads(line)
        yield Entry(document["stream"], document["time"], document["log"].encode("utf-8", "replace"))
    except (ValueError, TypeError, KeyError, AttributeError):
        return  # the rest of a line that a crash cut


def _line_end(fd: int, end: int) -> int:
    """Where the last whole line at or before `end` ends."""
    while end > 0:
        start = max(0, end - _BLOCK)
        at = os.pread(fd, end - start, start).rfind(b"\n")
        if at >= 0:
            return start + at + 1
        end = start
    return 0


def _last_lines(fd: int, end: int, count: int) -> list[bytes]:
    """The last `count` whole lines before `end`, read backwards block by block."""
    end = _line_end(fd, end)
    data = b""
    start = end
    while start > 0 and data.count(b"\n") <= count:
        size = min(_BLOCK, start)
        start -= size
        data = os.pread(fd, size, start) + data
    lines = data.split(b"\n")[:-1]
    return lines[-count:] if count else []
