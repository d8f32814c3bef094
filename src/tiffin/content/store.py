"""What a store of blobs promises.

    with content.writer() as blob:            # nothing is visible yet; left without commit, nothing remains
        blob.write(chunk)
        digest, size = blob.commit(expected)  # synced, verified, then visible under its digest, all at once

    with content.open(digest) as file:
        file.read()

A blob that exists is whole and has been verified. Committing one that exists already succeeds and keeps the
first. Safe beside other threads (one writer each) and other processes. A blob that no row of the store of
record names may be collected unless its maker holds `Store.adding()` until it is named.
"""

from collections.abc import Iterator
from types import TracebackType

from tiffin.typed import BinaryIO, Protocol


class BlobWriter(Protocol):
    """One blob on its way in. A context manager; leaving it without commit discards what was written."""

    def write(self, data: bytes | bytearray | memoryview) -> int:
        """Append; raises NoSpace."""

    def commit(self, expected_digest: str = "", expected_size: int = -1) -> tuple[str, int]:
        """Make the blob durable and visible; its digest and size. Raises Corrupt, and keeps nothing, when it
        is not what was expected. To be called once."""

    def __enter__(self) -> "BlobWriter": ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class ResumableWriter(BlobWriter, Protocol):
    """A blob whose beginning may be here from an earlier attempt, `kept` bytes of it. These are to be read and written
    first, which hashes them; left without commit, what was written waits for the next attempt."""

    kept: int

    def __enter__(self) -> "ResumableWriter": ...

    def read_kept(self, size: int) -> bytes:
        """At most `size` bytes of the beginning, from where `write` stands; b"" after it."""

    def restart(self) -> None:
        """Begin anew, with nothing."""

    def discard(self) -> None:
        """Leave nothing behind: what came was wrong."""


class ContentStore(Protocol):
    """Blobs by digest. Every digest given is checked before it becomes part of a path (InvalidArgument)."""

    def exists(self, digest: str) -> bool:
        """Whether the blob is here."""

    def size(self, digest: str) -> int:
        """Its bytes; raises NotFound."""

    def open(self, digest: str) -> BinaryIO:
        """Its bytes from the start; the caller closes. Raises NotFound."""

    def read_bytes(self, digest: str, limit: int) -> bytes:
        """All of a small blob, hashed again. Raises NotFound, LimitExceeded, Corrupt."""

    def writer(self) -> BlobWriter:
        """Begin a blob."""

    def resume(self, digest: str) -> ResumableWriter:
        """Begin, or go on with, the blob `digest`. One holder at a time; others wait."""

    def put_bytes(self, data: bytes) -> str:
        """Store `data`; its digest. Idempotent."""

    def adopt(self, path: str, digest: str) -> None:
        """Make the file at `path` this blob: on the store's filesystem, whole, its digest verified by the caller, not
        to be written to any more. It keeps its old name too. Durable. Idempotent; raises NoSpace, EngineError."""

    def delete(self, digest: str) -> None:
        """Remove the blob. Idempotent; a reader that has it open keeps it."""

    def digests(self) -> Iterator[str]:
        """Every blob that is here, in no order."""
