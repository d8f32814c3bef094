"""A blob that may take more than one process to arrive.

What has come stays in `staging/partial-<hex>`, in order, until the blob is whole. Nobody vouches for it meanwhile: who
continues reads it again from its start and hashes it on the way, so that whatever happened to the file in between is
found out (T16).

    kept = blob.kept                     # bytes of an earlier attempt
    blob.write(blob.read_kept(1 << 20))  # these first: hashed, and not written again
    blob.write(piece)                    # then what comes after them
    blob.commit(digest, size)
"""

import fcntl
import os
from types import TracebackType

from tiffin.content.local import disk_full, place_blob
from tiffin.errors import Corrupt
from tiffin.oci.digest import check_digest

PREFIX = "partial-"
_WORTHWHILE = 1 << 16  # bytes below which it is simpler to begin anew


class PartialBlob:
    """A BlobWriter that remembers. Locked by who holds it; a context manager. Left without commit, what was written
    stays for the next attempt, unless there is little of it or `discard` was called."""

    def __init__(self, staging: str, blobs: str, digest: str) -> None:
        import hashlib

        self._blobs = blobs
        self._path = f"{staging}/{PREFIX}{check_digest(digest)[7:]}"
        with disk_full("staging"):
            self._fd = _open_locked(self._path)
        self._hash = hashlib.sha256()
        self.kept = os.fstat(self._fd).st_size
        self._position = 0
        self._discarded = False

    def read_kept(self, size: int) -> bytes:
        """At most `size` bytes of what an earlier attempt left, from where `write` stands; b"" after them."""
        wanted = min(size, self.kept - self._position)
        return os.pread(self._fd, wanted, self._position) if wanted > 0 else b""

    def write(self, data: bytes | bytearray | memoryview) -> int:
        """Hash the next bytes, and append them unless they are kept already."""
        self._hash.update(data)
        view = memoryview(data)[max(0, self.kept - self._position) :]
        with disk_full("the blob"):
            while view:
                view = view[os.write(self._fd, view) :]
        self._position += len(data)
        return len(data)

    def restart(self) -> None:
        """Forget everything that has been written or was kept."""
        import hashlib

        os.ftruncate(self._fd, 0)
        self._hash, self._position, self.kept = hashlib.sha256(), 0, 0

    def discard(self) -> None:
        """Keep nothing for another attempt: what came was wrong."""
        self._discarded = True

    def commit(self, expected_digest: str = "", expected_size: int = -1) -> tuple[str, int]:
        """As BlobWriter.commit; what is not as expected is discarded."""
        digest = "sha256:" + self._hash.hexdigest()
        if expected_digest and digest != expected_digest:
            self._discarded = True
            raise Corrupt(f"blob {expected_digest} does not match its digest: its bytes hash to {digest}")
        if expected_size >= 0 and self._position != expected_size:
            self._discarded = True
            raise Corrupt(f"blob {digest} has {self._position} bytes where {expected_size} were stated")
        if place_blob(self._fd, self._path, self._blobs, digest):
            self._path = ""
        return digest, self._position

    def __enter__(self) -> "PartialBlob":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._fd < 0:
            return
        if self._path and (kind is None or self._discarded or os.fstat(self._fd).st_size < _WORTHWHILE):
            try:
                os.unlink(self._path)
            except FileNotFoundError:
                pass
        os.close(self._fd)
        self._fd = -1


def _open_locked(path: str) -> int:
    """The file at `path`, made if need be, under our lock; never one that a collector has just taken away."""
    while True:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            if os.fstat(fd).st_nlink:
                return fd
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)
