"""One file or tree as a tar stream that is made while it is read: for copies out of trees that others change meanwhile.

Each thing is opened as a bare reference first (O_PATH, no link followed), looked at, and only then read through that
very reference: a fifo, device or link that is swapped in is never opened. What vanishes meanwhile is left out.
"""

from __future__ import annotations

import os
import stat

from tiffin.errors import Conflict
from tiffin.layer.diff import KINDS
from tiffin.layer.entry import Entry, Kind
from tiffin.layer.failures import writing_failed
from tiffin.layer.names import shown
from tiffin.layer.tarwriter import TarWriter
from tiffin.layer.walk import walk
from tiffin.layer.xattrs import is_kept
from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_REFERENCE = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_BATCH = 1 << 16


class TreeArchive:
    """The stream: `read` as a binary file's, `close` when done with it (`on_close` is called once, also by the end of
    a `with`). Raises Conflict for what is replaced or shrinks while it is read, EngineError, PermissionDenied."""

    def __init__(self, pieces: Iterator[bytes], on_close: Callable[[], None] | None = None) -> None:
        self._pieces = pieces
        self._on_close = on_close
        self._piece = memoryview(b"")

    def read(self, size: int = -1, /) -> bytes:
        """Up to `size` bytes; b"" at the end."""
        if size < 0:
            rest = b"".join([self._piece, *self._pieces])
            self._piece = memoryview(b"")
            return rest
        if not self._piece:
            self._piece = memoryview(next(self._pieces, b""))
        taken, self._piece = self._piece[:size], self._piece[size:]
        return bytes(taken)

    def __iter__(self) -> Iterator[bytes]:
        while piece := self.read(_BATCH):
            yield piece

    def close(self) -> None:
        """Idempotent."""
        on_close, self._on_close = self._on_close, None
        if on_close is not None:
            self._pieces = iter(())
            on_close()

    def __enter__(self) -> TreeArchive:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Collected:
    """What a TarWriter wrote since it was last asked for."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def write(self, data: bytes) -> None:
        if data:
            self._parts.append(data)

    def take(self) -> Iterator[bytes]:
        parts, self._parts = self._parts, []
        yield from parts


def file_pieces(fd: int, name: str) -> Iterator[bytes]:
    """The stream of one thing that is no directory, referred to by `fd` (O_PATH), called `name`."""
    packer = _Packer()
    try:
        yield from packer.add(fd, os.fstat(fd), name)
        yield from packer.finish()
    except OSError as error:
        raise writing_failed(error, f"cannot read {shown(name)}") from error


def directory_pieces(fd: int, name: str) -> Iterator[bytes]:
    """The stream of the directory `fd` and all below it, the directory itself called `name` ("." for its content
    alone, to be merged into another)."""
    packer, current = _Packer(), name
    try:
        yield from packer.add(fd, os.fstat(fd), name)
        for node in walk(fd):
            current = f"{name}/{node.path}"
            try:
                reference = os.open(node.name, _REFERENCE, dir_fd=node.parent_fd)
            except FileNotFoundError:
                continue
            try:
                status = os.fstat(reference)
                if stat.S_ISDIR(status.st_mode) != stat.S_ISDIR(node.status.st_mode):
                    raise Conflict(
                        f"{shown(current)} was replaced while it was read: pause its writer, try again"
                    )
                yield from packer.add(reference, status, current)
            finally:
                os.close(reference)
        yield from packer.finish()
    except (NotADirectoryError, FileNotFoundError) as error:
        raise Conflict(
            f"{shown(current)} was replaced while it was read: pause its writer, try again"
        ) from error
    except OSError as error:
        raise writing_failed(error, f"cannot read {shown(current)}") from error


class _Packer:
    """References into a tar, piece by piece; the names of one inode as hard links."""

    def __init__(self) -> None:
        self._out = _Collected()
        self._writer = TarWriter(self._out)
        self._inodes: dict[tuple[int, int], str] = {}

    def add(self, fd: int, status: os.stat_result, name: str) -> Iterator[bytes]:
        kind = KINDS.get(stat.S_IFMT(status.st_mode))
        if kind is None:  # a socket
            return
        entry = Entry(
            name,
            kind,
            stat.S_IMODE(status.st_mode),
            status.st_uid,
            status.st_gid,
            mtime_ns=status.st_mtime_ns,
        )
        if status.st_nlink > 1 and kind is not Kind.DIRECTORY:
            first = self._inodes.setdefault((status.st_dev, status.st_ino), name)
            if first is not name:
                entry.kind, entry.linkname = Kind.HARDLINK, first
                self._writer.add(entry)
                return
        if kind is Kind.FILE:
            yield from self._file(fd, entry)
            return
        if kind is Kind.SYMLINK:
            entry.linkname = os.readlink("", dir_fd=fd)
        elif kind is Kind.DIRECTORY:
            entry.xattrs = _attributes(fd)
        elif kind is not Kind.FIFO:
            entry.major, entry.minor = os.major(status.st_rdev), os.minor(status.st_rdev)
        self._writer.add(entry)
        yield from self._out.take()

    def _file(self, reference: int, entry: Entry) -> Iterator[bytes]:
        fd = os.open(
            f"/proc/self/fd/{reference}", _READ
        )  # the inode that was looked at, whatever its name is by now
        try:
            entry.size = os.fstat(fd).st_size
            entry.xattrs = _attributes(reference)
            for _ in self._writer.pieces(entry, fd):
                yield from self._out.take()
        finally:
            os.close(fd)

    def finish(self) -> Iterator[bytes]:
        self._writer.finish()
        yield from self._out.take()


def _attributes(fd: int) -> dict[str, bytes]:
    path = f"/proc/self/fd/{fd}"
    try:
        return {name: os.getxattr(path, name) for name in os.listxattr(path) if is_kept(name)}
    except OSError:  # a filesystem without any, or one was taken away meanwhile
        return {}
