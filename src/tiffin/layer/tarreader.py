"""A streaming tar reader for input that nobody vouches for: ustar, GNU and PAX, sparse files, any length.

Memory is bounded whatever the stream says: one piece of it (1 MiB), one extended header and one sparse map.
Where readers in the field differ, this one does what Go's archive/tar does, since that is what wrote and read
the images of Docker, containerd and Podman: global PAX headers are skipped, `size` of a kind without data is
ignored, an archive may end at any header boundary without its two zero blocks, what follows those is ignored.
"""

from __future__ import annotations

import os

from tiffin.errors import Corrupt, LimitExceeded
from tiffin.layer import pax, sparse
from tiffin.layer.entry import Entry, Kind
from tiffin.layer.limits import DEFAULT_LIMITS, Limits
from tiffin.layer.tarheader import BLOCK, MAX_ID, MAX_TIME, ZEROS, checksum_matches, number
from tiffin.typed import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

_PIECE = 1 << 20
_HOLE = bytes(1 << 16)
_MAX_EXTENSIONS = 16  # extended headers in a row that describe one member
_KINDS = {kind.value: kind for kind in Kind} | {b"\0": Kind.FILE, b"7": Kind.FILE, b"S": Kind.FILE}


class Readable(Protocol):
    """All that is asked of a stream: `read(n)` gives at most n bytes, b"" only at its end."""

    def read(self, size: int, /) -> bytes: ...


class TarReader:
    """Iterate to get entries; after each, `read_into` or `chunks` gives its data, and what is not asked for
    is skipped. One pass, one thread. Raises Corrupt for a malformed or truncated stream, LimitExceeded for a
    bound. The stream stays the caller's; `drain` reads it to its end, for callers that verify a digest.
    """

    def __init__(self, stream: Readable, limits: Limits = DEFAULT_LIMITS) -> None:
        self._read = stream.read
        self._limits = limits
        self._piece = b""
        self._position = 0  # in the piece
        self._received = 0  # of the stream, to the piece's end
        self._data_left = 0  # stored bytes of the current entry not yet taken
        self._padding = 0
        self._entry: Entry | None = None
        self.entries = 0
        self.apparent_bytes = 0  # of all files so far, holes included

    # -- the stream ------------------------------------------------------------------------------------------

    def _fill(self) -> bool:
        """Replace the used-up piece by the next; False at the end of the stream."""
        self._piece = self._read(_PIECE)
        self._position = 0
        self._received += len(self._piece)
        if self._received > self._limits.bytes:
            raise LimitExceeded(f"tar: more than {self._limits.bytes} bytes")
        return bool(self._piece)

    def _take(self, count: int) -> bytes:
        """Exactly `count` bytes; fewer only when the stream ends."""
        end = self._position + count
        if end <= len(self._piece):
            taken = self._piece[self._position : end]
            self._position = end
            return taken
        parts = [self._piece[self._position :]]
        missing = count - len(parts[0])
        while missing and self._fill():
            parts.append(self._piece[:missing])
            self._position = len(parts[-1])
            missing -= self._position
        if missing:
            self._position = len(self._piece)
        return b"".join(parts)

    def _take_block(self) -> bytes:
        block = self._take(BLOCK)
        if len(block) < BLOCK:
            raise Corrupt("tar: truncated: ends inside a header")
        return block

    def _pieces(self, count: int) -> Iterator[memoryview]:
        """The next `count` bytes of the stream, as views into its pieces. Corrupt when it ends before."""
        while count:
            if self._position == len(self._piece) and not self._fill():
                name = self._entry.name if self._entry else "a header"
                raise Corrupt(f"tar: truncated: ends inside {name!r}, {count} bytes short")
            view = memoryview(self._piece)[self._position : self._position + count]
            self._position += len(view)
            count -= len(view)
            yield view

    def _skip(self, count: int) -> None:
        if self._position + count <= len(self._piece):
            self._position += count
            return
        for _ in self._pieces(count):
            pass

    def drain(self) -> None:
        """Read the stream to its end, so that whoever hashes it has seen all of it."""
        while self._fill():
            pass

    @property
    def position(self) -> int:
        """Bytes of the stream taken so far: where the current entry's data begins, before any of it is
        read."""
        return self._received - len(self._piece) + self._position

    # -- headers ---------------------------------------------------------------------------------------------

    def __iter__(self) -> Iterator[Entry]:
        while (entry := self._next()) is not None:
            self._entry = entry
            yield entry
            self._skip(self._data_left + self._padding)
            self._data_left = self._padding = 0

    def _next_header(self) -> bytes | None:
        """The next header block, its checksum proven; None at the archive's end."""
        header = self._take(BLOCK)
        if not header:
            return None
        if len(header) < BLOCK:
            raise Corrupt("tar: truncated: ends inside a header")
        if header == ZEROS:
            second = self._take(BLOCK)
            if second and second != ZEROS[: len(second)]:
                raise Corrupt("tar: data after a lone zero block")
            return None
        if not checksum_matches(header):
            raise Corrupt("tar: header checksum does not match (not a tar, or damaged)")
        return header

    def _next(self) -> Entry | None:
        records: dict[bytes, bytes] = {}
        long_name = long_link = None
        for extensions in range(_MAX_EXTENSIONS + 1):
            header = self._next_header()
            if header is None:
                if extensions:
                    raise Corrupt("tar: truncated: an extended header without its member")
                return None
            flag = header[156:157]
            if flag in b"xX":
                records = pax.parse_records(self._extension(header))
            elif flag == b"L":
                long_name = self._extension(header).partition(b"\0")[0]
            elif flag == b"K":
                long_link = self._extension(header).partition(b"\0")[0]
            elif flag == b"g":
                self._extension(header)
            elif flag == b"V":  # GNU volume label: names the archive, not a file
                self._skip(_padded(_size(header)))
            else:
                return self._member(header, records, long_name, long_link)
        raise LimitExceeded(f"tar: more than {_MAX_EXTENSIONS} extended headers for one member")

    def _extension(self, header: bytes) -> bytes:
        size = _size(header)
        if size > self._limits.pax_bytes:
            raise LimitExceeded(f"tar: extended header of {size} bytes, at most {self._limits.pax_bytes}")
        data = self._take(_padded(size))
        if len(data) < _padded(size):
            raise Corrupt("tar: truncated: ends inside an extended header")
        return data[:size]

    def _member(
        self, header: bytes, records: dict[bytes, bytes], long_name: bytes | None, long_link: bytes | None
    ) -> Entry:
        flag = header[156:157]
        kind = _KINDS.get(flag)
        if kind is None:
            raise Corrupt(f"tar: unknown member type {flag!r}")
        self.entries += 1
        if self.entries > self._limits.entries:
            raise LimitExceeded(f"tar: more than {self._limits.entries} entries")
        name = header[:100].partition(b"\0")[0]
        magic = header[257:263]
        if magic == b"ustar\0" and header[345]:
            name = header[345:500].partition(b"\0")[0] + b"/" + name
        name = records.get(b"path") or long_name or name
        entry = Entry(
            self._text(name, "name"),
            kind,
            number(header[100:108], "mode") & 0o7777,
            _owner(header[108:116], records.get(b"uid"), "uid"),
            _owner(header[116:124], records.get(b"gid"), "gid"),
        )
        if mtime := records.get(b"mtime"):
            entry.mtime_ns = pax.time_ns(mtime)
        else:
            seconds = number(header[136:148], "mtime")
            if abs(seconds) > MAX_TIME:
                raise Corrupt(f"tar: mtime of {entry.name!r} is out of range")
            entry.mtime_ns = seconds * 10**9
        if records:
            entry.xattrs = pax.xattrs_of(records)
        if kind is Kind.SYMLINK or kind is Kind.HARDLINK:
            link = records.get(b"linkpath") or long_link or header[157:257].partition(b"\0")[0]
            entry.linkname = self._text(link, "link target")
        elif kind is Kind.CHAR or kind is Kind.BLOCK:
            entry.major = number(header[329:337], "device major")
            entry.minor = number(header[337:345], "device minor")
        elif kind is Kind.FILE:
            self._file(entry, header, records)
            if flag in b"\x000" and entry.name.endswith("/"):  # how tars before ustar say it
                entry.kind, entry.size = Kind.DIRECTORY, 0
        return entry

    def _text(self, raw: bytes, what: str) -> str:
        if len(raw) > self._limits.name_bytes:
            raise LimitExceeded(f"tar: {what} of {len(raw)} bytes, at most {self._limits.name_bytes}")
        if b"\0" in raw:
            raise Corrupt(f"tar: {what} holds a NUL: {raw[:80]!r}")
        return os.fsdecode(raw)

    def _file(self, entry: Entry, header: bytes, records: dict[bytes, bytes]) -> None:
        """Size and sparse map of a regular file."""
        if size := records.get(b"size"):
            stored = pax.decimal(size, "size")
        else:
            stored = _size(header)
        self._entry = entry
        self._padding = -stored % BLOCK
        entry.size = stored
        if header[156:157] == b"S":
            extents, entry.size = sparse.gnu_extents(header, self._take_block, self._limits)
            entry.sparse = sparse.check_extents(extents, entry.size, stored, self._limits)
        elif any(key.startswith(b"GNU.sparse.") for key in records):
            stored = self._pax_sparse(entry, stored, records)
        self._data_left = stored
        self.apparent_bytes += entry.size
        if self.apparent_bytes > self._limits.bytes:
            raise LimitExceeded(
                f"tar: files of more than {self._limits.bytes} bytes together, at {entry.name!r}"
            )

    def _pax_sparse(self, entry: Entry, stored: int, records: dict[bytes, bytes]) -> int:
        """Fill in a sparse file of format 0.0, 0.1 or 1.0; the bytes of data that follow."""
        real = records.get(b"GNU.sparse.realsize") or records.get(b"GNU.sparse.size")
        if real is None:
            raise Corrupt(f"tar: sparse file {entry.name!r} without its size")
        if name := records.get(b"GNU.sparse.name"):
            entry.name = self._text(name, "name")
        entry.size = pax.decimal(real, "sparse size")
        if records.get(b"GNU.sparse.major") == b"1":
            extents, consumed = sparse.stream_extents(self._take_block, self._limits)
            stored -= consumed
        else:
            extents = sparse.map_extents(records.get(b"GNU.sparse.map", b""))
        if stored < 0:
            raise Corrupt(f"tar: sparse map of {entry.name!r} is longer than its member")
        entry.sparse = sparse.check_extents(extents, entry.size, stored, self._limits)
        return stored

    # -- data ------------------------------------------------------------------------------------------------

    def _data(self, count: int) -> Iterator[memoryview]:
        for piece in self._pieces(count):
            self._data_left -= len(piece)
            yield piece

    def chunks(self) -> Iterator[memoryview | bytes]:
        """The data of the entry just given, holes as zeros; nothing the second time."""
        entry = self._entry
        if entry is None or entry.sparse is None:
            yield from self._data(self._data_left)
            return
        position, extents, entry.sparse = 0, entry.sparse, None
        for offset, length in extents:
            yield from _zeros(offset - position)
            yield from self._data(length)
            position = offset + length
        yield from _zeros(entry.size - position)

    def read_into(self, fd: int) -> None:
        """Write the data of the entry just given to an empty file at its start, leaving holes as holes."""
        entry = self._entry
        if entry is None or entry.sparse is None:
            for piece in self._data(self._data_left):
                _write_all(fd, piece)
            return
        for offset, length in entry.sparse:
            os.lseek(fd, offset, os.SEEK_SET)
            for piece in self._data(length):
                _write_all(fd, piece)
        os.ftruncate(fd, entry.size)


def _write_all(fd: int, data: memoryview) -> None:
    written = os.write(fd, data)
    while written < len(data):
        written += os.write(fd, data[written:])


def _zeros(count: int) -> Iterator[bytes]:
    while count > 0:
        yield _HOLE[:count]
        count -= len(_HOLE)


def _padded(size: int) -> int:
    return size + -size % BLOCK


def _size(header: bytes) -> int:
    size = number(header[124:136], "size")
    if size < 0:
        raise Corrupt("tar: negative size")
    return size


def _owner(field: bytes, record: bytes | None, what: str) -> int:
    value = pax.decimal(record, what) if record else number(field, what)
    if not 0 <= value <= MAX_ID:
        raise Corrupt(f"tar: {what} {value} is out of range")
    return value
