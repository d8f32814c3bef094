"""What the server serves, as a Protocol.

    upload = shelf.begin()                    # a push: blobs first ...
    upload.write([b"..."]); upload.finish(digest)
    shelf.put_manifest("user/app", "1.0", data, media_type)     # ... then what they are for

All methods block, may be called from many threads at once, and are atomic. A repository is a path of the API
(`web`, `user/app`, `ghcr.io/user/app`), a reference a tag or a digest; both have been checked by the caller, as have
digests. Raise NotFound for what is not there; NoSpace and EngineError are common to all that write.
"""

from tiffin.typed import TYPE_CHECKING, Any, BinaryIO, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence


class Held(NamedTuple):
    """A manifest by what is said of it."""

    digest: str
    media_type: str
    size: int


class Received(NamedTuple):
    """A manifest that was taken: its digest, and the one that it refers to, "" for none."""

    digest: str
    subject: str


class Upload(Protocol):
    """A blob on its way in; used by one thread at a time."""

    offset: int

    def write(self, pieces: "list[bytes]") -> None:
        """Append. Raises NoSpace."""

    def mark(self) -> Any:
        """This place, for `back`."""

    def back(self, mark: Any) -> None:
        """Forget what came after `mark`."""

    def finish(self, digest: str) -> int:
        """Keep it as this blob; its size. Raises Corrupt, and keeps nothing, when its bytes hash to another;
        LimitExceeded when too many blobs wait for manifests. The last call."""

    def discard(self) -> None:
        """Drop it. Idempotent."""


class Shelf(Protocol):
    """See the module."""

    def repositories(self) -> "Sequence[str]":
        """All of them, sorted."""

    def tags(self, repository: str) -> "Sequence[str]":
        """Sorted. Raises NotFound when there is no such repository."""

    def manifest(self, repository: str, reference: str) -> tuple[Held, bytes]:
        """A manifest and its bytes. Raises NotFound."""

    def find(self, repository: str, reference: str) -> Held:
        """As `manifest`, without reading it."""

    def put_manifest(self, repository: str, reference: str, data: bytes, media_type: str) -> Received:
        """Take a manifest whose blobs are all here, under a tag or its digest. An image that gets a tag is one to run
        from then on. Raises Corrupt (not what it says, or its digest is another), NotFound (a blob or manifest that it
        needs is missing), Unsupported, LimitExceeded."""

    def delete_manifest(self, repository: str, reference: str) -> None:
        """Take away a tag; or a manifest by digest, with all tags of the repository that mean it. Raises NotFound,
        Conflict (a container uses it)."""

    def blob_size(self, digest: str, hold: bool = False) -> int:
        """A blob's bytes; with `hold` it stays until a manifest to come (see images.arrivals). Raises NotFound."""

    def open_blob(self, digest: str) -> BinaryIO:
        """A blob as a real file, from its start; the caller closes. Raises NotFound."""

    def delete_blob(self, digest: str) -> None:
        """Remove a blob. Raises NotFound, Conflict (a manifest needs it)."""

    def begin(self) -> Upload:
        """A blob on its way in."""

    def referrers(self, repository: str, digest: str) -> "Sequence[dict[str, Any]]":
        """Descriptors, with `artifactType` and annotations, of what refers to a manifest, sorted by digest."""

    def expire(self) -> int:
        """Drop what was sent and never asked for; how many. To be called now and then."""

    def close(self) -> None:
        """Drop what has no name yet. Idempotent."""
