"""One layer out of a registry, from its first byte to a verified tree: unpacked while it arrives, continued where an
earlier attempt broke off, shared with whoever fetches it at the same moment.

    registry ─ read ─┬ hash, append to staging/partial-<hex>
                     └ decompress ─ hash (DiffID) ─ unpack into staging
"""

import hashlib
import time

from tiffin.errors import (
    Corrupt,
    NoSpace,
    NotFound,
    PermissionDenied,
    TiffinError,
    TransferError,
    Unauthorized,
)
from tiffin.images.records import LayerBlob
from tiffin.images.transfer import TransferEvent
from tiffin.images.turn import take_turn
from tiffin.images.unpack import Expected, unpack_layer, verify_layer
from tiffin.oci.descriptor import FOREIGN_LAYERS
from tiffin.typed import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from threading import Event
    from types import TracebackType

    from tiffin.content.store import BlobWriter, ContentStore, ResumableWriter
    from tiffin.images.turn import Turn
    from tiffin.layer.tarstream import Readable
    from tiffin.oci.descriptor import Descriptor
    from tiffin.snapshot.store import SnapshotStore, StagedLayer


class Stopped(TiffinError):
    """Another layer of the same image failed, or the user lost patience; that error is the one to report."""


_REPORT_EVERY = 0.1  # seconds between two events of one layer's bytes
_PIECE = 1 << 18
# Failures that say nothing against the bytes that have come: they are kept for the next attempt.
_INNOCENT = (Stopped, TransferError, Unauthorized, PermissionDenied, NotFound)


class BlobStream(Protocol):
    """A blob on its way from a registry, from `offset` on (0 where the registry cannot begin in the middle). A context
    manager."""

    @property
    def offset(self) -> int: ...

    def read(self, size: int, /) -> bytes:
        """At most `size` bytes, b"" at the end. Raises TransferError, Corrupt."""

    def abort(self) -> None:
        """From another thread: let a `read` that waits raise TransferError."""

    def __enter__(self) -> "BlobStream": ...

    def __exit__(
        self,
        kind: "type[BaseException] | None",
        error: BaseException | None,
        trace: "TracebackType | None",
        /,
    ) -> None: ...


class Source(Protocol):
    """What layers are fetched from: a repository of a registry."""

    def open_blob(
        self, descriptor: "Descriptor", offset: int = 0, *, urls: "Sequence[str]" = ()
    ) -> BlobStream: ...


class Wanted(NamedTuple):
    """A layer to have. `unpacked`: its tree is here, from another blob; this one is only to be kept and verified."""

    descriptor: "Descriptor"
    diff_id: str
    unpacked: bool = False

    @property
    def short(self) -> str:
        """As events name it."""
        return self.descriptor.digest[7:19]


class Fetched(NamedTuple):
    """A layer that is verified. `staged` is its tree, to be committed; None when it is in place already. `turn` is to
    be proven then, and closed in any case."""

    layer: LayerBlob
    staged: "StagedLayer | None"
    size: int
    turn: "Turn"


class Fetcher:
    """Fetches layers of one image from one source; usable from several threads. `keep` says whether blobs stay once
    they are unpacked; `stop` ends every transfer."""

    def __init__(
        self,
        content: "ContentStore",
        snapshots: "SnapshotStore",
        staging: str,
        source: Source,
        *,
        keep: bool,
        stop: "Event",
        report: "Callable[[TransferEvent], None]",
    ) -> None:
        self._content, self._snapshots, self._staging = content, snapshots, staging
        self._source, self._keep, self._stop, self._report = source, keep, stop, report
        self._streams: list[BlobStream] = []

    def stop(self) -> None:
        """End what is being fetched, also what waits for bytes."""
        self._stop.set()
        for stream in list(self._streams):
            stream.abort()

    def fetch(self, wanted: Wanted) -> Fetched:
        """Have the layer. Raises Corrupt, NotFound, TransferError, NoSpace and what else its parts raise."""
        digest = wanted.descriptor.digest
        turn = take_turn(self._staging, digest, lambda: self._tell(wanted, "Waiting"), self._stop)
        if turn is None:
            raise Stopped("stopped")
        try:
            if turn.proven and self._is_here(wanted, turn.proven):
                return Fetched(_layer(wanted), None, 0, turn)
            if self._content.exists(digest):
                with self._content.open(digest) as file:
                    return self._unpack(
                        wanted, _Guarded(file.read, self._stop), _Unkept(wanted, stored=True), turn
                    )
            if not self._keep:
                with _Download(self, wanted, None) as download:
                    return self._unpack(wanted, download, _Unkept(wanted), turn)
            return self._resume(wanted, turn)
        except BaseException:
            turn.close()
            raise

    def _is_here(self, wanted: Wanted, proven: str) -> bool:
        """Whether the one who fetched the blob before us has left all that we want."""
        if proven != wanted.diff_id:
            raise Corrupt(
                f"layer {wanted.diff_id} does not match its diff_id: blob {wanted.descriptor.digest} is {proven}"
            )
        if self._keep and not self._content.exists(wanted.descriptor.digest):
            return False
        try:
            self._snapshots.layer_path(wanted.diff_id)
        except TiffinError:
            return False
        return True

    def _resume(self, wanted: Wanted, turn: "Turn") -> Fetched:
        """From a kept beginning, if there is one; when that turns out to be damaged, once more from the start."""
        with self._content.resume(wanted.descriptor.digest) as blob:
            if blob.kept > wanted.descriptor.size:
                blob.restart()
            again = blob.kept > 0
            while True:
                try:
                    return self._transfer(wanted, blob, turn)
                except _INNOCENT:
                    raise
                except TiffinError as error:
                    if isinstance(error, NoSpace) or not again:
                        blob.discard()
                        raise
                blob.restart()
                again = False

    def _transfer(self, wanted: Wanted, blob: "ResumableWriter", turn: "Turn") -> Fetched:
        with _Download(self, wanted, blob) as download:
            return self._unpack(wanted, download, blob, turn)

    def _unpack(self, wanted: Wanted, source: "Readable", blob: "BlobWriter", turn: "Turn") -> Fetched:
        entry = wanted.descriptor
        expected = Expected(wanted.diff_id, entry.digest, entry.media_type, entry.size)
        if wanted.unpacked:
            return Fetched(verify_layer(source, expected, blob), None, 0, turn)
        unpacked = unpack_layer(self._content, self._snapshots, source, expected, blob)
        return Fetched(unpacked.layer, unpacked.staged, unpacked.size, turn)

    def open(self, wanted: Wanted, offset: int) -> BlobStream:
        """The layer's bytes from the registry."""
        entry = wanted.descriptor
        urls = [url for url in entry.urls if url.startswith("https://")]
        foreign = entry.media_type in FOREIGN_LAYERS
        stream = self._source.open_blob(entry, offset, urls=urls if foreign else ())
        self._streams.append(stream)
        return stream

    def close(self, stream: BlobStream) -> None:
        """Done with what `open` gave."""
        self._streams.remove(stream)
        stream.__exit__(None, None, None)

    def check(self) -> None:
        """Raise when the transfers are to end."""
        if self._stop.is_set():
            raise Stopped("stopped")

    def _tell(self, wanted: Wanted, status: str, current: int = -1) -> None:
        total = wanted.descriptor.size if current >= 0 else -1
        self._report(TransferEvent(status, wanted.short, current, total))

    def downloading(self, wanted: Wanted, current: int) -> None:
        """So many bytes have come."""
        self._tell(wanted, "Downloading", current)

    def downloaded(self, wanted: Wanted) -> None:
        """All of them have."""
        self._tell(wanted, "Download complete")
        self._tell(wanted, "Extracting", wanted.descriptor.size)


class _Download:
    """A layer's bytes in order: what is kept of it, then what the registry sends. The connection is made when the first
    byte is wanted."""

    def __init__(self, fetcher: Fetcher, wanted: Wanted, kept: "ResumableWriter | None") -> None:
        self._fetcher, self._wanted, self._kept = fetcher, wanted, kept
        self._stream: BlobStream | None = None
        self._done = 0
        self._next_report = 0.0

    def __enter__(self) -> "_Download":
        return self

    def __exit__(
        self,
        kind: "type[BaseException] | None",
        error: BaseException | None,
        trace: "TracebackType | None",
    ) -> None:
        if self._stream is not None:
            self._fetcher.close(self._stream)

    def read(self, size: int, /) -> bytes:
        self._fetcher.check()
        data = self._kept.read_kept(size) if self._kept is not None and self._stream is None else b""
        if not data and (self._stream is not None or self._done < self._wanted.descriptor.size):
            data = self._receive(size)
        self._done += len(data)
        if data:
            now = time.monotonic()
            if now >= self._next_report:
                self._next_report = now + _REPORT_EVERY
                self._fetcher.downloading(self._wanted, self._done)
        elif self._next_report >= 0:
            self._next_report = -1.0
            self._fetcher.downloaded(self._wanted)
        return data

    def _receive(self, size: int) -> bytes:
        if self._stream is None:
            self._stream = self._fetcher.open(self._wanted, self._done)
            self._fetcher.check()  # who ends the transfers may have missed this one
            if self._stream.offset > self._done:
                raise Corrupt(f"blob {self._wanted.descriptor.digest} was sent from the wrong offset")
            skip = self._done - self._stream.offset
            while skip:  # it cannot begin in the middle: these bytes are here already
                self._fetcher.check()
                data = self._stream.read(min(skip, _PIECE))
                if not data:
                    break
                skip -= len(data)
        return self._stream.read(size)


class _Guarded:
    """A stream that ends by an exception once `stop` is set."""

    def __init__(self, read: "Callable[[int], bytes]", stop: "Event") -> None:
        self._read, self._stop = read, stop

    def read(self, size: int, /) -> bytes:
        if self._stop.is_set():
            raise Stopped("stopped")
        return self._read(size)


class _Unkept:
    """A writer that verifies and keeps nothing; with `stored`, for a blob that is in the store already and has been
    verified, not even that."""

    def __init__(self, wanted: Wanted, *, stored: bool = False) -> None:
        self._wanted, self._stored = wanted, stored
        self._hash, self._size = hashlib.sha256(), 0

    def write(self, data: bytes | bytearray | memoryview) -> int:
        if not self._stored:
            self._hash.update(data)
            self._size += len(data)
        return len(data)

    def commit(self, expected_digest: str = "", expected_size: int = -1) -> tuple[str, int]:
        if self._stored:
            return self._wanted.descriptor.digest, self._wanted.descriptor.size
        digest = "sha256:" + self._hash.hexdigest()
        if digest != expected_digest:
            raise Corrupt(f"blob {expected_digest} does not match its digest: its bytes hash to {digest}")
        if expected_size >= 0 and self._size != expected_size:
            raise Corrupt(f"blob {digest} has {self._size} bytes where {expected_size} were stated")
        return digest, self._size

    def __enter__(self) -> "_Unkept":
        return self

    def __exit__(self, *_: object) -> None:
        return None


def _layer(wanted: Wanted) -> LayerBlob:
    entry = wanted.descriptor
    return LayerBlob(wanted.diff_id, entry.digest, entry.media_type, entry.size)
