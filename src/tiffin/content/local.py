"""Blobs as files: `oci/blobs/sha256/<hex>`, each written in staging, synced, then renamed."""

import errno
import os

from tiffin.errors import Corrupt, EngineError, LimitExceeded, NoSpace, NotFound
from tiffin.oci.digest import check_digest, is_digest, sha256
from tiffin.typed import TYPE_CHECKING, BinaryIO, Iterator

if TYPE_CHECKING:
    from types import TracebackType

    from tiffin.content.partial import PartialBlob
    from tiffin.state import Layout


class LocalContent:
    """A ContentStore in the engine's own OCI layout. Holds no open file; usable from any thread."""

    def __init__(self, layout: "Layout") -> None:
        self._blobs = f"{layout.oci}/blobs/sha256"
        self._staging = layout.staging

    def path(self, digest: str) -> str:
        """Where the blob lies, whether or not it is there."""
        return f"{self._blobs}/{check_digest(digest)[7:]}"

    def exists(self, digest: str) -> bool:
        return os.path.isfile(self.path(digest))

    def size(self, digest: str) -> int:
        try:
            return os.stat(self.path(digest)).st_size
        except FileNotFoundError as error:
            raise _missing(digest) from error

    def open(self, digest: str) -> BinaryIO:
        try:
            return open(self.path(digest), "rb", buffering=0)
        except FileNotFoundError as error:
            raise _missing(digest) from error

    def read_bytes(self, digest: str, limit: int) -> bytes:
        with self.open(digest) as file:
            data = file.read(limit + 1)
        if len(data) > limit:
            raise LimitExceeded(f"blob {digest} has more than {limit} bytes")
        if sha256(data) != digest[7:]:
            raise Corrupt(f"blob {digest} is damaged on disk; remove its image and load it again")
        return data

    def writer(self) -> "LocalWriter":
        return LocalWriter(self._staging, self._blobs)

    def resume(self, digest: str) -> "PartialBlob":
        from tiffin.content.partial import PartialBlob

        return PartialBlob(self._staging, self._blobs, digest)

    def put_bytes(self, data: bytes) -> str:
        digest = f"sha256:{sha256(data)}"
        if not self.exists(digest):
            with self.writer() as blob:
                blob.write(data)
                blob.commit(digest)
        return digest

    def adopt(self, path: str, digest: str) -> None:
        target = self.path(digest)
        with disk_full("the blob"):
            fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                os.fsync(fd)
            finally:
                os.close(fd)
            try:
                os.link(path, target, follow_symlinks=False)
            except FileExistsError:
                return
            sync_directory(self._blobs)

    def delete(self, digest: str) -> None:
        try:
            os.unlink(self.path(digest))
        except FileNotFoundError:
            pass

    def digests(self) -> Iterator[str]:
        for name in os.listdir(self._blobs):
            if is_digest(f"sha256:{name}"):
                yield f"sha256:{name}"


class LocalWriter:
    """A BlobWriter: one locked file in staging until `commit` renames it."""

    def __init__(self, staging: str, blobs: str) -> None:
        import fcntl
        import hashlib

        self._hash = hashlib.sha256()
        self._blobs = blobs
        self._size = 0
        self._path = f"{staging}/blob-{os.urandom(8).hex()}"
        with disk_full("staging"):
            self._fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._fd, fcntl.LOCK_EX)  # tells the collector that its maker lives

    def __enter__(self) -> "LocalWriter":
        return self

    def write(self, data: bytes | bytearray | memoryview) -> int:
        self._hash.update(data)
        view = memoryview(data)
        with disk_full("the blob"):
            while view:
                view = view[os.write(self._fd, view) :]
        self._size += len(data)
        return len(data)

    def commit(self, expected_digest: str = "", expected_size: int = -1) -> tuple[str, int]:
        digest = "sha256:" + self._hash.hexdigest()
        if expected_digest and digest != expected_digest:
            raise Corrupt(f"blob {expected_digest} does not match its digest: its bytes hash to {digest}")
        if expected_size >= 0 and self._size != expected_size:
            raise Corrupt(f"blob {digest} has {self._size} bytes where {expected_size} were stated")
        if place_blob(self._fd, self._path, self._blobs, digest):
            self._path = ""
        return digest, self._size

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: "TracebackType | None"
    ) -> None:
        if self._path:
            try:
                os.unlink(self._path)
            except FileNotFoundError:
                pass
        os.close(self._fd)


def place_blob(fd: int, path: str, blobs: str, digest: str) -> bool:
    """Sync the open file at `path` and rename it to the blob `digest`; False, and it stays where it was, when that
    blob is there already."""
    target = f"{blobs}/{digest[7:]}"
    if os.path.exists(target):
        return False
    with disk_full("the blob"):
        os.fsync(fd)
        os.rename(path, target)
        sync_directory(blobs)
    return True


def sync_directory(path: str) -> None:
    """Make the names in a directory durable."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


class disk_full:
    """Names the OSErrors of writing: a full disk is NoSpace, anything else EngineError."""

    def __init__(self, what: str) -> None:
        self._what = what

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: "TracebackType | None"
    ) -> None:
        if isinstance(error, OSError):
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise NoSpace(f"no space left to write {self._what}; free some and try again") from error
            raise EngineError(f"cannot write {self._what}: {error}") from error


def _missing(digest: str) -> NotFound:
    return NotFound(f"no blob {digest} in the store")
