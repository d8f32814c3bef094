"""An image archive as a table of members, each readable any number of times and from any thread.

A plain tar in a regular file is read where it lies. What comes compressed, or from a pipe, is first copied to
one unnamed file in staging, which the kernel drops with its last descriptor. Member names and link targets
are keys of a table and nothing more: no path of the archive's ever reaches the filesystem (T11).
"""

import errno
import os
import posixpath
import stat

from tiffin.errors import Corrupt, EngineError, LimitExceeded, NoSpace
from tiffin.layer.compress import compression_of, open_decompressed
from tiffin.layer.limits import DEFAULT_LIMITS
from tiffin.layer.tarstream import Kind, TarReader
from tiffin.oci.descriptor import DOCUMENT_MAX, decode_json
from tiffin.oci.reference import shown
from tiffin.typed import TYPE_CHECKING, Any, BinaryIO, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    from tiffin.layer.tarstream import Entry
    from tiffin.state import Layout

_LIMITS = DEFAULT_LIMITS._replace(entries=100_000, depth=64)
_LINKS_MAX = 8


class Section(NamedTuple):
    """Bytes of an open file: `size` of them at `offset`."""

    fd: int
    offset: int
    size: int


class SectionReader:
    """Reads a section from its start, by position: readers of one file do not disturb each other. `tell` is
    called with the bytes read so far before each step, and may raise to end the reading."""

    def __init__(self, section: Section, tell: "Callable[[int], None] | None" = None) -> None:
        self._section = section
        self._done = 0
        self._tell = tell

    def read(self, size: int, /) -> bytes:
        """At most `size` bytes, b"" at the end. Corrupt when the file ends before the section does."""
        if self._tell is not None:
            self._tell(self._done)
        fd, offset, total = self._section
        wanted = min(size, total - self._done)
        data = os.pread(fd, wanted, offset + self._done) if wanted else b""
        if wanted and not data:
            raise Corrupt("the archive is truncated: get it again")
        self._done += len(data)
        return data


class Archive:
    """An open archive. A context manager; sections of it are valid within."""

    def __init__(self, stream: BinaryIO, layout: "Layout") -> None:
        """Reads the whole of `stream`, which stays the caller's. Raises Corrupt, LimitExceeded, NoSpace."""
        self._members: dict[str, Section] = {}
        self._links: dict[str, str] = {}
        self._spool = -1
        if _plain_file(stream):
            self._scan_in_place(stream)
            return
        self._spool = os.open(layout.staging, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            self._copy(stream)
        except OSError as error:
            self._close()
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise NoSpace(
                    f"no space left to copy the archive to {layout.staging}; free some and try again"
                ) from error
            raise EngineError(f"cannot copy the archive to {layout.staging}: {error}") from error
        except BaseException:
            self._close()
            raise

    def __enter__(self) -> "Archive":
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def _close(self) -> None:
        if self._spool >= 0:
            os.close(self._spool)
            self._spool = -1

    def _scan_in_place(self, stream: BinaryIO) -> None:
        fd, start = stream.fileno(), stream.tell()
        reader = TarReader(_From(fd, start), _LIMITS)
        for entry in reader:
            self._note(entry, Section(fd, start + reader.position, entry.size))

    def _copy(self, stream: BinaryIO) -> None:
        with open_decompressed(stream, _LIMITS) as plain:
            reader, end = TarReader(plain, _LIMITS), 0
            for entry in reader:
                self._note(entry, Section(self._spool, end, entry.size))
                if entry.kind is Kind.FILE:
                    for piece in reader.chunks():
                        end += _write(self._spool, piece)

    def _note(self, entry: "Entry", section: Section) -> None:
        name = posixpath.normpath(entry.name)
        self._members.pop(name, None)
        self._links.pop(name, None)
        if entry.kind is Kind.FILE:
            if entry.sparse is not None and section.fd != self._spool:
                raise Corrupt(
                    f"the archive holds {shown(name)!r} as a sparse file: write it with another tar"
                )
            if name.endswith(".json") and entry.size > DOCUMENT_MAX:
                raise LimitExceeded(f"{shown(name)} in the archive has more than {DOCUMENT_MAX} bytes")
            self._members[name] = section
        elif entry.kind is Kind.SYMLINK:
            self._links[name] = posixpath.normpath(posixpath.join(posixpath.dirname(name), entry.linkname))
        elif entry.kind is Kind.HARDLINK:
            self._links[name] = posixpath.normpath(entry.linkname)

    def __contains__(self, name: str) -> bool:
        return name in self._members or name in self._links

    def section(self, name: object) -> Section:
        """The bytes of a member; a link is followed to another member of this archive. Raises Corrupt."""
        target = name
        for _ in range(_LINKS_MAX):
            if not isinstance(target, str):
                break
            if target in self._members:
                return self._members[target]
            target = self._links.get(target)
        raise Corrupt(
            f"the archive has no file {shown(str(name))!r}: it is truncated, or not an image archive"
        )

    def read(self, name: object, limit: int = DOCUMENT_MAX) -> bytes:
        """All bytes of a small member. Raises Corrupt, LimitExceeded."""
        section = self.section(name)
        if section.size > limit:
            raise LimitExceeded(f"{shown(str(name))} in the archive has more than {limit} bytes")
        reader, parts = SectionReader(section), []
        while data := reader.read(limit):
            parts.append(data)
        return b"".join(parts)

    def read_json(self, name: str) -> Any:
        """The value of a JSON member. Raises Corrupt, LimitExceeded."""
        return decode_json(self.read(name), f"{name} in the archive")


class _From:
    """Reads a file by position, from `offset` to its end."""

    def __init__(self, fd: int, offset: int) -> None:
        self._fd, self._offset = fd, offset

    def read(self, size: int, /) -> bytes:
        data = os.pread(self._fd, size, self._offset)
        self._offset += len(data)
        return data


def _plain_file(stream: BinaryIO) -> bool:
    """Whether the stream is an uncompressed tar in a regular file."""
    try:
        fd = stream.fileno()
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            return False
    except (OSError, ValueError):
        return False
    return compression_of(os.pread(fd, 512, stream.tell())) == "tar"


def _write(fd: int, piece: bytes | memoryview) -> int:
    view = memoryview(piece)
    while view:
        view = view[os.write(fd, view) :]
    return len(piece)
