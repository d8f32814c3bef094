"""Reading a container's log back, over its rotated files, from either end, from a time on, and as it grows."""

import os
from collections.abc import Iterator

from tiffin.supervisor.logs import jsonfile
from tiffin.supervisor.logs.files import NAME
from tiffin.supervisor.logs.jsonfile import Entry
from tiffin.typed import Any

_BLOCK = 256 * 1024
_LONGEST = 4 << 20  # nothing that a writer writes at once comes near
_NEAR = 64 * 1024  # bytes that a search by time leaves to be read


def _form(driver: str) -> Any:
    """The module that knows how entries of a driver's files look."""
    if driver == "json-file":
        return jsonfile
    from tiffin.supervisor.logs import local

    return local


class LogReader:
    """Entries oldest first. `read` gives what has not been given yet, so that calling it again after the log
    has grown follows it, across rotations. Close it."""

    def __init__(self, directory: str, driver: str = "json-file") -> None:
        self._directory = directory
        self._form = _form(driver)
        self._fd = -1
        self._older = self._rotated()
        self._rest = b""

    def _rotated(self) -> list[str]:
        names = []
        number = 1
        while os.path.exists(path := self._name(number)):
            names.append(path)
            number += 1
        return names[::-1]

    def read(self) -> Iterator[Entry]:
        """Everything up to the end as it is now. An entry that was cut short by a crash is left out."""
        for path in self._older:
            yield from self._whole_file(path)
        self._older = []
        if self._fd < 0:
            try:
                self._fd = os.open(self._name(0), os.O_RDONLY | os.O_CLOEXEC)
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
        """Give the last `count` lines instead of everything; `read` goes on from there."""
        found: list[bytes] = []
        for path in [self._name(0), *self._older[::-1]]:
            try:
                fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                continue
            end = os.fstat(fd).st_size
            data, lines = self._form.last_lines(fd, end, count)
            found.insert(0, data)
            count -= lines
            if self._fd < 0:
                os.lseek(fd, self._end_of_entries(fd, end), os.SEEK_SET)
                self._fd = fd
            else:
                os.close(fd)
            if count <= 0:
                break
        self._older = []
        for data in found:
            yield from self._form.decode(data)[0]

    def skip_to_time(self, moment: str) -> None:
        """Leave out, as far as is quickly found, what came before `moment`: entries are in the order of their times,
        so that halving finds it in a few reads however large the log. What `read` gives may begin a little before."""
        while len(self._older) > 1 and self._begins_by(self._older[1], moment):
            self._older.pop(0)
        if self._older and self._begins_by(self._name(0), moment):
            self._older.pop(0)
        path = self._older.pop(0) if self._older else self._name(0)
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return
        os.lseek(fd, self._search(fd, moment), os.SEEK_SET)
        self._fd = fd
        self._older = []  # what came after this file is found as its successor

    def close(self) -> None:
        """Idempotent."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _begins_by(self, path: str, moment: str) -> bool:
        """Whether the file's first entry is no later than `moment`."""
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            found, _ = self._form.decode(os.pread(fd, _BLOCK, 0))
            return bool(found) and found[0].time <= moment
        finally:
            os.close(fd)

    def _search(self, fd: int, moment: str) -> int:
        """Where to begin reading: an entry's start with nothing of `moment` or later before it."""
        low, high = 0, os.fstat(fd).st_size
        while high - low > _NEAR:
            middle = (low + high) // 2
            at, time = self._form.time_after(os.pread(fd, _BLOCK, middle))
            if at < 0 or middle + at >= high or time >= moment:
                high = middle
            else:
                low = middle + at
        return low

    def _end_of_entries(self, fd: int, end: int) -> int:
        """Where the last whole entry at or before `end` ends."""
        start = max(0, end - _LONGEST)
        at = 0 if start == 0 else max(0, self._form.time_after(os.pread(fd, _LONGEST, start))[0])
        return end - len(self._form.decode(os.pread(fd, end - start - at, start + at))[1])

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
            entries, self._rest = self._form.decode(self._rest + data)
            if len(self._rest) > _LONGEST:
                self._rest = b""
            yield from entries

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
