"""A deterministic tar writer: the same entries and data give the same bytes, on every machine and Python.

ustar headers, and PAX records only for what ustar cannot say: names beyond 100 bytes, ids beyond 2^21-1,
sizes beyond 8 GiB, times with nanoseconds or before 1970, extended attributes. No user names, no global
header, no access times. Sparse files are written whole, as Docker's layers are.
"""

from __future__ import annotations

import os
from functools import lru_cache

from tiffin.errors import Conflict
from tiffin.layer import pax
from tiffin.layer.entry import Entry, Kind
from tiffin.layer.tarheader import BLOCK, ZEROS, build_header
from tiffin.typed import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

_PIECE = 1 << 20
_BATCH = 1 << 18


@lru_cache(maxsize=64)
def _extension_header(size: int) -> bytes:
    """The header of a PAX extended header of `size` bytes: most are as long as one time."""
    return build_header(b"PaxHeaders.0", b"x", mode=0o644, size=size)


class Writable(Protocol):
    """All that is asked of the output: `write` takes everything that it is given."""

    def write(self, data: bytes, /) -> object: ...


class TarWriter:
    """Write entries in the order given; `finish` ends the archive and writes what is still held back. The output
    stays the caller's."""

    def __init__(self, out: Writable) -> None:
        self._out = out.write
        self._pending: list[bytes] = []  # headers and small files go out together
        self._pending_bytes = 0
        self.entries = 0

    def add(self, entry: Entry, data: int | bytes | None = None) -> None:
        """Write one entry. A FILE's data is a descriptor (read from where it stands) or bytes; exactly
        `entry.size` bytes are taken. Conflict when the file has shrunk below that since it was measured."""
        self._write_header(entry)
        self.entries += 1
        if entry.kind is not Kind.FILE or not entry.size:
            return
        if isinstance(data, int):
            for _ in self._copied(data, entry):
                pass
        elif data is not None and len(data) == entry.size:
            self._write(data)
        else:
            raise ValueError("a file's data must be as long as its entry says")
        padding = -entry.size % BLOCK
        if padding:
            self._write(ZEROS[:padding])

    def finish(self) -> None:
        """Write the two zero blocks that end an archive."""
        self._write(ZEROS + ZEROS)
        self._flush()

    def _write(self, data: bytes) -> None:
        self._pending.append(data)
        self._pending_bytes += len(data)
        if self._pending_bytes >= _BATCH:
            self._flush()

    def _flush(self) -> None:
        self._out(b"".join(self._pending))
        self._pending.clear()
        self._pending_bytes = 0

    def pieces(self, entry: Entry, fd: int) -> Iterator[int]:
        """As `add` of a file, in pieces of at most a megabyte: each step writes one, and gives its size."""
        self._write_header(entry)
        self.entries += 1
        yield from self._copied(fd, entry)
        self._write(ZEROS[: -entry.size % BLOCK])

    def _copied(self, fd: int, entry: Entry) -> Iterator[int]:
        left = entry.size
        while left:
            piece = os.read(fd, min(left, _PIECE))
            if not piece:
                raise Conflict(
                    f"file {entry.name!r} shrank while it was read: stop or pause its writer, try again"
                )
            self._write(piece)
            left -= len(piece)
            yield len(piece)

    def _write_header(self, entry: Entry) -> None:
        name, link = os.fsencode(entry.name), os.fsencode(entry.linkname)
        if entry.kind is Kind.DIRECTORY and not name.endswith(b"/"):
            name += b"/"
        records = {pax.xattr_key(key): value for key, value in entry.xattrs.items()}
        if len(name) > 100:
            records[b"path"] = name
        if len(link) > 100:
            records[b"linkpath"] = link
        seconds, nanoseconds = divmod(entry.mtime_ns, 10**9)
        if nanoseconds or not 0 <= seconds < 8**11:
            records[b"mtime"] = pax.format_time(entry.mtime_ns)
        for key, value, bound in (
            (b"uid", entry.uid, 8**7),
            (b"gid", entry.gid, 8**7),
            (b"size", entry.size, 8**11),
        ):
            if value >= bound:
                records[key] = b"%d" % value
        if records:
            body = pax.format_records(records)
            self._write(_extension_header(len(body)))
            self._write(body + ZEROS[: -len(body) % BLOCK])
        self._write(
            build_header(
                name,
                entry.kind.value,
                mode=entry.mode,
                uid=entry.uid,
                gid=entry.gid,
                size=entry.size,
                mtime=seconds,
                linkname=link,
                major=entry.major,
                minor=entry.minor,
            )
        )
