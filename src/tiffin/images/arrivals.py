"""Blobs that arrive before anything names them: what a server takes from its peers until their manifest comes.

    staging/arrivals-<id>/          locked by the server for as long as it lives
        upload-<id>                 on its way in; may stop and go on
        <hex>                       whole, verified, synced; waits for its manifest

A push sends blobs first and says last what they are for, over many requests; holding `Store.adding()` meanwhile would
keep `rmi` and `prune` from freeing a byte for as long as a server runs. So blobs wait in one directory of staging
under one lock. `collect` leaves what is locked and sweeps what is not, so a server that was killed leaves nothing;
a manifest moves its blobs into the content store by a link, under `Store.adding()`, in the step that names them.
What no manifest asks for is dropped after some time (`expire`), or when the server ends.
"""

import hashlib
import os
import threading
import time

from tiffin.content.local import disk_full
from tiffin.errors import Corrupt, LimitExceeded, NotFound
from tiffin.kernel.paths import remove_tree
from tiffin.oci.digest import check_digest
from tiffin.typed import TYPE_CHECKING, Any, BinaryIO, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    from tiffin.content.store import ContentStore
    from tiffin.state import Store

WAITING_MAX = 4096  # whole blobs that wait at once
QUIET_SECONDS = 3600.0  # nothing arrived for so long: no push is under way
AGE_SECONDS = 24 * 3600.0

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Arrivals:
    """See the module. For any number of threads; `close` when none uses it any more."""

    def __init__(self, store: "Store", clock: "Callable[[], float]" = time.monotonic) -> None:
        import fcntl

        self._staging = store.layout.staging
        self._name = f"arrivals-{os.urandom(8).hex()}"
        self._path = f"{self._staging}/{self._name}"
        self._clock = clock
        self._lock = threading.Lock()
        self._waiting: dict[str, float] = {}
        self._active = clock()
        with (
            store.adding(),
            disk_full("the server's directory in staging"),
        ):  # no collector between the two steps
            os.mkdir(self._path, 0o700)
            self._fd = os.open(self._path, _DIRECTORY)
            fcntl.flock(self._fd, fcntl.LOCK_EX)

    def begin(self) -> "Arriving":
        """A blob on its way in."""
        return Arriving(self)

    def size(self, digest: str) -> int:
        """The bytes of a whole blob that waits here, -1 when there is none."""
        try:
            return os.stat(self._file(digest)).st_size
        except FileNotFoundError:
            return -1

    def open(self, digest: str) -> BinaryIO:
        """Its bytes; the caller closes. Raises NotFound."""
        try:
            return open(self._file(digest), "rb", buffering=0)
        except FileNotFoundError as error:
            raise NotFound(f"no blob {digest} in the store") from error

    def keep(self, digest: str, stored: str) -> bool:
        """See that a blob of the content store, which lies at `stored`, outlives its present images until a manifest
        to come: whoever was told that it is here will not send it. Costs a name, no bytes. Whether it is here, there
        or among what waits."""
        if self.size(digest) < 0:
            self._admit(digest)
            try:
                os.link(stored, self._file(digest), follow_symlinks=False)
            except FileExistsError:
                pass
            except FileNotFoundError:
                return False
        self._note(digest)
        return True

    def move(self, digest: str, content: "ContentStore") -> bool:
        """Make a blob that waits here one of the content store; the caller holds `Store.adding()`. Whether it waited
        here. It goes on waiting, for others who count on it, until `release`."""
        if self.size(digest) < 0:
            return False
        content.adopt(self._file(digest), digest)
        return True

    def release(self, digest: str) -> bool:
        """A manifest names the blob now, or nobody wants it: whether it waited. Idempotent."""
        with self._lock:
            self._waiting.pop(digest, None)
        try:
            os.unlink(self._file(digest))
        except FileNotFoundError:
            return False
        return True

    def expire(self) -> int:
        """Drop the blobs that no manifest came for: all when nothing has arrived for QUIET_SECONDS, those older than
        AGE_SECONDS anyway. How many."""
        now = self._clock()
        with self._lock:
            quiet = now - self._active > QUIET_SECONDS
            old = [d for d, since in self._waiting.items() if quiet or now - since > AGE_SECONDS]
        return sum(self.release(digest) for digest in old)

    def close(self) -> None:
        """Drop everything. Idempotent."""
        if self._fd < 0:
            return
        parent = os.open(self._staging, _DIRECTORY)
        try:
            remove_tree(parent, self._name)
        finally:
            os.close(parent)
            os.close(self._fd)
            self._fd = -1

    def _file(self, digest: str) -> str:
        return f"{self._path}/{check_digest(digest)[7:]}"

    def _admit(self, digest: str) -> None:
        with self._lock:
            if len(self._waiting) >= WAITING_MAX and digest not in self._waiting:
                raise LimitExceeded(f"{WAITING_MAX} blobs wait for their manifests; push those first")

    def _note(self, digest: str = "") -> None:
        with self._lock:
            self._active = self._clock()
            if digest:
                self._waiting[digest] = self._active


class Mark(NamedTuple):
    """A place in an arriving blob to go back to."""

    offset: int
    digest: Any


class Arriving:
    """One blob on its way in: written in pieces, as far as it has come kept until `finish` or `discard`. Used by one
    thread at a time. `offset` is how many bytes are here."""

    def __init__(self, arrivals: Arrivals) -> None:
        self._arrivals = arrivals
        self._path = f"{arrivals._path}/upload-{os.urandom(8).hex()}"
        self._hash = hashlib.sha256()
        self.offset = 0
        with disk_full("an upload"):
            self._fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)

    def write(self, pieces: "list[bytes]") -> None:
        """Append all of them. Raises NoSpace; what is here is then what `offset` says."""
        for piece in pieces:
            view = memoryview(piece)
            with disk_full("an upload"):
                while view:
                    done = os.write(self._fd, view)
                    self._hash.update(view[:done])
                    self.offset += done
                    view = view[done:]
        self._arrivals._note()

    def mark(self) -> Mark:
        """This place."""
        return Mark(self.offset, self._hash.copy())

    def back(self, mark: Mark) -> None:
        """Forget what came after `mark`."""
        with disk_full("an upload"):
            os.ftruncate(self._fd, mark.offset)
            os.lseek(self._fd, mark.offset, os.SEEK_SET)
        self.offset, self._hash = mark.offset, mark.digest

    def finish(self, digest: str) -> int:
        """It is whole: let it wait for its manifest as `digest`; its size. Raises Corrupt, and keeps nothing, when its
        bytes have another one. The last call."""
        try:
            actual = f"sha256:{self._hash.hexdigest()}"
            if actual != digest:
                raise Corrupt(f"blob {digest} does not match its digest: its bytes hash to {actual}")
            self._arrivals._admit(digest)
            with disk_full("an upload"):
                os.fsync(self._fd)
                os.rename(self._path, self._arrivals._file(digest))
            self._path = ""
            self._arrivals._note(digest)
            return self.offset
        finally:
            self.discard()

    def discard(self) -> None:
        """Drop it. Idempotent; nothing else may follow."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        if self._path:
            try:
                os.unlink(self._path)
            except FileNotFoundError:
                pass
            self._path = ""
