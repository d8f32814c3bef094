"""Layer streams in and out of gzip and zstd, recognised by their first bytes and never by their names.

Reading is bounded in memory whatever the stream says: at most 1 MiB comes out of a step, and zstd may ask for
a window of at most 128 MiB. Truncation, a wrong checksum and trailing garbage are Corrupt; a stream that
grows beyond `Limits.ratio` past `Limits.ratio_floor` is LimitExceeded (T8).
"""

from __future__ import annotations

import io

from tiffin.errors import Corrupt, LimitExceeded, Unsupported
from tiffin.layer.limits import DEFAULT_LIMITS, Limits
from tiffin.layer.readahead import ReadAhead
from tiffin.layer.tarheader import BLOCK, ZEROS, checksum_matches
from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Protocol, Self

    from typing_extensions import Buffer

    from tiffin.layer.tarreader import Readable
    from tiffin.layer.tarwriter import Writable

    class Digest(Protocol):
        """A hashlib object."""

        def update(self, data: Buffer, /) -> None: ...

    class _Decompressor(Protocol):
        """As in the standard library's bz2 and lzma."""

        @property
        def eof(self) -> bool: ...
        @property
        def needs_input(self) -> bool: ...
        @property
        def unused_data(self) -> bytes: ...
        def decompress(self, data: bytes, max_length: int = -1) -> bytes: ...

    class _Compressor(Protocol):
        def compress(self, data: bytes | bytearray | memoryview, /) -> bytes: ...
        def flush(self) -> bytes: ...


_READ = 1 << 18  # compressed bytes a step
_PIECE = 1 << 20  # decompressed bytes a step, at most
_ZSTD_WINDOW = 128 << 20
_ZSTD_BLOCK = 1 << 17  # RFC 8878: no block holds more, before or after decompression
_GZIP, _ZSTD, _XZ, _BZIP2 = b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"\xfd7zXZ\x00", b"BZh"


class Compressed:
    """The raw stream, with a place to put back what was read too far. Counts what it hands out."""

    def __init__(self, raw: Readable) -> None:
        self._raw = raw
        self._kept = b""
        self._position = 0  # in what is kept: slicing it for each small piece would cost quadratically
        self.consumed = 0

    def peek(self, count: int) -> bytes:
        """The next `count` bytes, fewer only at the end, left where they are."""
        while len(self._kept) - self._position < count and (more := self._raw.read(_READ)):
            self._kept = self._kept[self._position :] + more
            self._position = 0
        return self._kept[self._position : self._position + count]

    def some(self) -> bytes:
        """Whatever comes next; b"" at the end."""
        if self._position < len(self._kept):
            data, self._kept, self._position = self._kept[self._position :], b"", 0
        else:
            data = self._raw.read(_READ)
        self.consumed += len(data)
        return data

    def exactly(self, count: int) -> bytes:
        """Exactly `count` bytes; Corrupt when the stream ends before."""
        data = self.peek(count)
        if len(data) < count:
            raise Corrupt("compressed stream is truncated: get it again")
        self._position += count
        self.consumed += count
        return data

    def put_back(self, data: bytes) -> None:
        """Give back the end of what was taken."""
        self._kept, self._position = data + self._kept[self._position :], 0
        self.consumed -= len(data)


def compression_of(prefix: bytes) -> str:
    """The format that a stream starting so is in: "gzip", "zstd", "xz", "bzip2", "tar" (plain, or empty).

    Wants the first 512 bytes. Corrupt when it is none of them.
    """
    if prefix.startswith(_GZIP):
        return "gzip"
    if prefix.startswith(_ZSTD) or _is_skippable(prefix):
        return "zstd"
    if prefix.startswith(_XZ):
        return "xz"
    if prefix.startswith(_BZIP2):
        return "bzip2"
    if not prefix or prefix == ZEROS or (len(prefix) == BLOCK and checksum_matches(prefix)):
        return "tar"
    raise Corrupt("neither a tar nor gzip, zstd, xz or bzip2 around one: not a layer or archive")


def open_decompressed(
    raw: Readable,
    limits: Limits = DEFAULT_LIMITS,
    *,
    digest: Digest | None = None,
    ahead: bool = True,
) -> Decompressed:
    """Read `raw` (a tar, plain or compressed) as the tar inside; recognises the format at once, so reads a
    little.

    `digest` is fed every decompressed byte; it is complete once `read` has given b"". With `ahead`, a thread
    decompresses and hashes while the caller works; both are left to C, so that two processors are used. Close
    the result (it is a context manager) to end that thread. `raw` stays the caller's, and is read to its end.
    """
    source = Compressed(raw)
    kind = compression_of(source.peek(BLOCK))
    pieces = _bounded(_DECOMPRESSORS[kind](source), source, limits)
    if digest is not None:
        pieces = _hashed(pieces, digest)
    return Decompressed(ReadAhead(pieces) if ahead and (kind != "tar" or digest is not None) else pieces)


class Decompressed(io.RawIOBase):
    """The decompressed stream: a raw binary file, whose `read(n)` may give fewer than n bytes before the
    end."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._rest = b""

    def read(self, size: int = -1, /) -> bytes:
        """At most `size` bytes, b"" at the end; all that is left for a negative size."""
        if size < 0:
            return self.readall()
        if not self._rest:
            self._rest = next(self._pieces, b"")
        if len(self._rest) <= size:  # the whole piece, without a copy
            data, self._rest = self._rest, b""
            return data
        data, self._rest = self._rest[:size], self._rest[size:]
        return data

    def readall(self) -> bytes:
        return b"".join(iter(lambda: self.read(_PIECE), b""))

    def readinto(self, buffer: Buffer, /) -> int:
        view = memoryview(buffer).cast("B")
        data = self.read(len(view))
        view[: len(data)] = data
        return len(data)

    def readable(self) -> bool:
        return True

    def close(self) -> None:
        """End the thread, if there is one. Idempotent."""
        if isinstance(self._pieces, ReadAhead):
            self._pieces.close()
        super().close()


def _bounded(pieces: Iterator[bytes], source: Compressed, limits: Limits) -> Iterator[bytes]:
    produced = 0
    for piece in pieces:
        produced += len(piece)
        check_growth(produced, source.consumed, limits)
        yield piece


def check_growth(produced: int, consumed: int, limits: Limits = DEFAULT_LIMITS) -> None:
    """Raise LimitExceeded when `consumed` compressed bytes make more bytes than anybody is to unpack."""
    if produced > limits.bytes:
        raise LimitExceeded(f"decompresses to more than {limits.bytes} bytes")
    if produced > limits.ratio_floor and produced > limits.ratio * consumed:
        raise LimitExceeded(f"decompresses to more than {limits.ratio} times its size, past {produced} bytes")


def _hashed(pieces: Iterator[bytes], digest: Digest) -> Iterator[bytes]:
    for piece in pieces:
        digest.update(piece)
        yield piece


def _plain(source: Compressed) -> Iterator[bytes]:
    return iter(source.some, b"")


def _expect_zeros(source: Compressed, what: str) -> None:
    """What may follow the last member: nothing, or the zeros that tapes pad with."""
    while data := source.some():
        if data.count(0) != len(data):
            raise Corrupt(f"{what}: garbage after the end of the stream")


def _gunzip(source: Compressed) -> Iterator[bytes]:
    """RFC 1952, any number of members; each one's CRC and length are verified."""
    from isal.igzip_lib import DECOMP_GZIP, IgzipDecompressor, IsalError

    failure: type[Exception] = IsalError  # type: ignore[assignment] # its stub calls the class an instance

    while True:
        member = IgzipDecompressor(flag=DECOMP_GZIP)
        data = source.some()
        while True:
            try:
                piece = member.decompress(data, _PIECE)
            except (failure, ValueError) as error:
                raise Corrupt(f"gzip: damaged stream ({error}): get it again") from error
            if piece:
                yield piece
            if member.eof:
                source.put_back(member.unused_data)
                break
            data = source.some() if member.needs_input else b""
            if member.needs_input and not data:
                raise Corrupt("gzip: truncated stream: get it again")
        if not source.peek(2).startswith(_GZIP):
            _expect_zeros(source, "gzip")
            return


def _is_skippable(prefix: bytes) -> bool:
    return len(prefix) >= 4 and prefix[1:4] == b"\x2a\x4d\x18" and prefix[0] & 0xF0 == 0x50


def _unzstd(source: Compressed) -> Iterator[bytes]:
    """RFC 8878, any number of frames. We walk frames and blocks ourselves: it is how to know that the stream
    is whole, and to hand the library no more blocks at once than come out as one piece."""
    import zstandard

    decompressor = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW)
    while prefix := source.peek(18):
        if _is_skippable(prefix):
            _skip_exactly(source, int.from_bytes(source.exactly(8)[4:], "little"))
            continue
        if not prefix.startswith(_ZSTD):
            _expect_zeros(source, "zstd")
            return
        try:
            parameters = zstandard.get_frame_parameters(prefix)
            if parameters.window_size > _ZSTD_WINDOW:
                raise LimitExceeded(
                    f"zstd: wants a window of {parameters.window_size} bytes, at most {_ZSTD_WINDOW}"
                )
            header = source.exactly(zstandard.frame_header_size(prefix))
            frame = decompressor.decompressobj()
            frame.decompress(header)
            for blocks in _zstd_blocks(source, parameters.has_checksum):
                if piece := frame.decompress(blocks):
                    yield piece
        except zstandard.ZstdError as error:
            raise Corrupt(f"zstd: damaged stream ({error}): get it again") from error
        if not frame.eof:
            raise Corrupt("zstd: frame does not end where its last block does: get it again")


def _zstd_blocks(source: Compressed, has_checksum: bool) -> Iterator[bytes]:
    """The blocks of one frame, and its checksum, as stored, in bundles that decompress to at most one
    piece."""
    bundle: list[bytes] = []
    last = False
    while not last:
        head = source.exactly(3)
        word = int.from_bytes(head, "little")
        last, kind, size = bool(word & 1), word >> 1 & 3, word >> 3
        if kind == 3 or size > _ZSTD_BLOCK:
            raise Corrupt("zstd: malformed block: get it again")
        bundle += (head, source.exactly(1 if kind == 1 else size))  # kind 1 is one byte, repeated
        if len(bundle) >= 2 * _PIECE // _ZSTD_BLOCK and not last:
            yield b"".join(bundle)
            bundle.clear()
    yield b"".join(bundle) + (source.exactly(4) if has_checksum else b"")


def _skip_exactly(source: Compressed, count: int) -> None:
    while count:
        count -= len(source.exactly(min(count, _READ)))


def _unxz(source: Compressed) -> Iterator[bytes]:
    try:
        import lzma
    except ImportError as error:
        raise Unsupported(
            "this Python was built without lzma: recompress the archive as gzip or zstd"
        ) from error
    yield from _stdlib(
        source, "xz", _XZ, lambda: lzma.LZMADecompressor(memlimit=_ZSTD_WINDOW), lzma.LZMAError
    )


def _unbzip2(source: Compressed) -> Iterator[bytes]:
    try:
        import bz2
    except ImportError as error:
        raise Unsupported(
            "this Python was built without bz2: recompress the archive as gzip or zstd"
        ) from error
    yield from _stdlib(source, "bzip2", _BZIP2, bz2.BZ2Decompressor, OSError)


def _stdlib(
    source: Compressed, what: str, magic: bytes, make: Callable[[], _Decompressor], failure: type[Exception]
) -> Iterator[bytes]:
    """Any number of streams in a format whose decompressor has the standard library's interface."""
    while True:
        stream = make()
        data = source.some()
        while True:
            try:
                piece = stream.decompress(data, _PIECE)
            except (failure, ValueError) as error:
                raise Corrupt(f"{what}: damaged stream ({error}): get it again") from error
            if piece:
                yield piece
            if stream.eof:
                source.put_back(stream.unused_data)
                break
            data = source.some() if stream.needs_input else b""
            if stream.needs_input and not data:
                raise Corrupt(f"{what}: truncated stream: get it again")
        if not source.peek(len(magic)).startswith(magic):
            _expect_zeros(source, what)
            return


_DECOMPRESSORS: dict[str, Callable[[Compressed], Iterator[bytes]]] = {
    "tar": _plain,
    "gzip": _gunzip,
    "zstd": _unzstd,
    "xz": _unxz,
    "bzip2": _unbzip2,
}


class Compressing:
    """A writable stream that compresses into `raw`. `close` writes the trailer (`raw` stays open); leaving it
    as a context manager closes it, except on an exception: what was written is then useless, and stays
    without its end.
    """

    def __init__(self, raw: Writable, compressor: _Compressor) -> None:
        self._raw = raw
        self._compressor: _Compressor | None = compressor

    def write(self, data: bytes | bytearray | memoryview, /) -> int:
        """Take all of `data`; its length in bytes."""
        if self._compressor is None:
            raise ValueError("write to a closed stream")
        if out := self._compressor.compress(data):
            self._raw.write(out)
        return len(data)

    def close(self) -> None:
        """Write what is pending and the trailer. Idempotent."""
        compressor, self._compressor = self._compressor, None
        if compressor is not None:
            self._raw.write(compressor.flush())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self.close()
        self._compressor = None


def gzip_writer(raw: Writable, level: int = 1) -> Compressing:
    """Compress to gzip by ISA-L: no name and no time in the header; `level` is 0 to 3. The same bytes in give
    the same bytes out on one machine; processors of another generation may compress differently."""
    from isal.isal_zlib import compressobj

    return Compressing(raw, compressobj(level, wbits=31))


def zlib_writer(raw: Writable, level: int) -> Compressing:
    """Compress to gzip by zlib: no name and no time in the header; `level` is 0 to 9. Slower than `gzip_writer`, and
    smaller from 4 on."""
    from zlib import compressobj

    return Compressing(raw, compressobj(level, wbits=31))


def zstd_writer(raw: Writable, level: int = 3) -> Compressing:
    """Compress to one zstd frame with a checksum; `level` is 1 to 22."""
    import zstandard

    return Compressing(raw, zstandard.ZstdCompressor(level=level, write_checksum=True).compressobj())
