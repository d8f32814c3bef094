"""A layer on its way in: from bytes that nobody vouches for to a stored blob and an unpacked tree, in one
pass.

    source ─ read ─ hash, write blob ─│─ decompress ─ hash (DiffID) ─│┬ unpack into staging
                                                                     └ compress, write blob (a source that is
                                                                       plain)

Each part between two bars, and each of the two on the right, runs in a thread of its own, which spends its time in C.
Nothing gets a name before both digests have been compared.
"""

import hashlib
from contextlib import nullcontext

from tiffin.errors import Corrupt
from tiffin.images.compressor import Compressor
from tiffin.images.records import LayerBlob
from tiffin.layer.apply import apply_layer
from tiffin.layer.compress import compression_of, open_decompressed
from tiffin.layer.readahead import ReadAhead
from tiffin.oci.descriptor import LAYER_GZIP, LAYER_ZSTD
from tiffin.typed import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from tiffin.content.store import BlobWriter, ContentStore
    from tiffin.layer.tarstream import Readable
    from tiffin.snapshot.store import SnapshotStore, StagedLayer

_PIECE = 1 << 20
_STEP = 1 << 18
_KEPT = {
    "gzip": LAYER_GZIP,
    "zstd": LAYER_ZSTD,
}  # compressions that a layer's blob may have; else gzip is made


class Expected(NamedTuple):
    """What a layer has to turn out to be; "" and -1 where nothing was stated."""

    diff_id: str = ""
    blob: str = ""
    media_type: str = ""
    blob_size: int = -1


class Unpacked(NamedTuple):
    """A layer that is verified and whole, its blob stored, its tree still staged."""

    layer: LayerBlob
    staged: "StagedLayer"
    size: int


def unpack_layer(
    content: "ContentStore",
    snapshots: "SnapshotStore",
    source: "Readable",
    expected: Expected,
    blob: "BlobWriter | None" = None,
) -> Unpacked:
    """Store and unpack one layer read from `source` to its end. Usable in any thread; the caller commits
    `staged`, or leaves its context, in the store's own thread. `blob` is where its bytes go, a new blob of the store
    when None; it is committed here, and left by who made it. Raises Corrupt when a digest differs."""
    staged = snapshots.stage_layer()
    try:
        with nullcontext(blob) if blob is not None else content.writer() as blob:
            return _unpack(staged, source, expected, blob)
    except BaseException:
        staged.__exit__(None, None, None)
        raise


def _unpack(staged: "StagedLayer", source: "Readable", expected: Expected, blob: "BlobWriter") -> Unpacked:
    source = _Peekable(source)
    kind = compression_of(source.peek(512))
    plain = hashlib.sha256()
    if expected.blob or kind in _KEPT:
        with _Ahead(_Tee(source, blob)) as tee, open_decompressed(tee, digest=plain) as tar:
            size = apply_layer(tar, staged.fd).size
    else:
        with open_decompressed(source, digest=plain) as tar, Compressor(blob) as compressor:
            size = apply_layer(_Tee(tar, compressor), staged.fd).size
    layer = _commit(blob, f"sha256:{plain.hexdigest()}", expected, kind)
    return Unpacked(layer, staged, size)


def verify_layer(source: "Readable", expected: Expected, blob: "BlobWriter") -> LayerBlob:
    """Store a layer whose tree is here already: the blob must unpack to the same. As `unpack_layer` otherwise."""
    source = _Peekable(source)
    kind = compression_of(source.peek(512))
    plain = hashlib.sha256()
    with _Ahead(_Tee(source, blob)) as tee, open_decompressed(tee, ahead=False) as tar:
        while data := tar.read(_PIECE):
            plain.update(data)
    return _commit(blob, f"sha256:{plain.hexdigest()}", expected, kind)


def _commit(blob: "BlobWriter", diff_id: str, expected: Expected, kind: str) -> LayerBlob:
    if expected.diff_id and diff_id != expected.diff_id:
        raise Corrupt(f"layer {expected.diff_id} does not match its diff_id: it unpacks to {diff_id}")
    digest, blob_size = blob.commit(expected.blob, expected.blob_size)
    return LayerBlob(diff_id, digest, expected.media_type or _KEPT.get(kind, LAYER_GZIP), blob_size)


class _Peekable:
    """A stream whose beginning can be looked at first."""

    def __init__(self, stream: "Readable") -> None:
        self._stream = stream
        self._kept = b""

    def peek(self, size: int) -> bytes:
        while len(self._kept) < size and (data := self._stream.read(size - len(self._kept))):
            self._kept += data
        return self._kept

    def read(self, size: int, /) -> bytes:
        if not self._kept:
            return self._stream.read(size)
        data, self._kept = self._kept[:size], self._kept[size:]
        return data


class _Tee:
    """A stream; all that is read from it is written elsewhere too."""

    def __init__(self, stream: "Readable", out: "BlobWriter | Compressor") -> None:
        self._read, self._write = stream.read, out.write

    def read(self, size: int, /) -> bytes:
        data = self._read(size)
        if data:
            self._write(data)
        return data


class _Ahead:
    """A stream that is read a few pieces ahead, in a thread. A context manager, which ends the thread."""

    def __init__(self, stream: _Tee) -> None:
        self._pieces = ReadAhead(iter(lambda: stream.read(_STEP), b""))
        self._rest = b""

    def read(self, size: int, /) -> bytes:
        data = self._rest or next(self._pieces, b"")
        self._rest = data[size:]
        return data[:size] if self._rest else data

    def __enter__(self) -> "_Ahead":
        return self

    def __exit__(self, *_: object) -> None:
        self._pieces.close()
