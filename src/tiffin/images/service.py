"""The facade of the room: one short method for each thing that can be done with images."""

from tiffin.errors import TiffinError
from tiffin.images.records import (
    Image,
    LayerBlob,
    Summary,
    find_image,
    image_by_id,
    layers_of,
    summaries,
)
from tiffin.typed import TYPE_CHECKING, Any, BinaryIO, contextmanager

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from tiffin.content.store import ContentStore
    from tiffin.images.blobs import Dropped, Repositories
    from tiffin.images.load import Progress
    from tiffin.images.pull import Pulled, PullOptions
    from tiffin.images.pull import Registry as PullRegistry
    from tiffin.images.send import Pushed
    from tiffin.images.transfer import Report
    from tiffin.images.write import Provenance, Writable
    from tiffin.oci.platform import Platform
    from tiffin.oci.reference import Reference
    from tiffin.registry.client import Registry
    from tiffin.snapshot.store import SnapshotStore
    from tiffin.state import Store


class Images:
    """Images of one engine. Like the store that it is given, for one thread and not across a fork.

    `text` is what a user wrote: `alpine`, `ghcr.io/x/y:1`, an ID or the beginning of one. All that look
    one up raise NotFound ("No such image: x") and Conflict (an ID's beginning that fits several).
    """

    def __init__(self, store: "Store", content: "ContentStore", snapshots: "SnapshotStore") -> None:
        self.store = store
        self.content = content
        self.snapshots = snapshots

    # -- looking ---------------------------------------------------------------------------------------------

    def resolve(self, text: str, platform: "Platform | None" = None) -> Image:
        """The image that `text` means; of one name's images for several platforms that for `platform`, without one the
        one that the name stood for last. NotFound also when there is none for that platform."""
        return find_image(self.store.db, text, platform)

    def by_id(self, image_id: str) -> Image:
        """The image of exactly this ID, also when `rmi --force` took it from under a container's record."""
        return image_by_id(self.store.db, image_id)

    def list(self) -> list[Summary]:
        """Every image, the newest first. Reads no config."""
        return summaries(self.store.db)

    def layers(self, image: Image) -> tuple[LayerBlob, ...]:
        """Its layers with the blobs that hold them, bottom first."""
        return layers_of(self.store.db, image.id)

    def has_layer(self, diff_id: str, blob: str, blob_size: int) -> bool:
        """Whether the layer is here in both forms, or unpacked and its blob dropped."""
        if not self.snapshots.has_layer(diff_id):
            return False
        if self.content.exists(blob):
            return True
        from tiffin.images.origins import is_recorded

        return is_recorded(self.store.db, diff_id, blob, blob_size)

    def inspect(self, text: str) -> dict[str, Any]:
        """The document of `docker image inspect`."""
        from tiffin.images.show import inspect_document

        return inspect_document(self.store.db, self.resolve(text))

    def history(self, text: str) -> "Sequence[dict[str, Any]]":
        """The rows of `docker history`, the newest step first."""
        from tiffin.images.show import history_rows

        return history_rows(self.store.db, self.resolve(text))

    # -- names -----------------------------------------------------------------------------------------------

    def tag(self, source: str, target: str) -> None:
        """Let `target` name the image `source`; an image that it named before loses it. Atomic."""
        from tiffin.images.names import tag_image

        tag_image(self.store, source, target)

    def remove(self, text: str, force: bool = False) -> "Sequence[tuple[str, str]]":
        """Docker's `rmi`: ("Untagged", name) and ("Deleted", digest) in order. Raises Conflict in Docker's
        words when a container uses the image or when an ID has several names. Atomic; then collects."""
        from tiffin.images.remove import remove_image

        records = remove_image(self.store, text, force)
        self.collect()
        return records

    # -- making ----------------------------------------------------------------------------------------------

    def add_image(
        self,
        manifest: bytes,
        media_type: str = "",
        names: "Sequence[str]" = (),
        origin: "Provenance | None" = None,
    ) -> Image:
        """Record the image of a manifest whose config, blobs and layers are all here, under full names.
        Verifies that they are, and that config and manifest agree. Atomic; a known image only gains names, and what
        `origin` says of it. The caller holds `Store.adding()`. Raises Corrupt, LimitExceeded, Unsupported."""
        from tiffin.images.write import Provenance, add_image

        return add_image(self, manifest, media_type, names, origin or Provenance())

    def create(
        self, config: dict[str, Any], layers: "Sequence[LayerBlob]", names: "Sequence[str]" = ()
    ) -> Image:
        """Record a new image of our own making: this config document over these layers, whose DiffIDs it
        lists. As `add_image` otherwise."""
        from tiffin.images.write import create_image

        return create_image(self, config, layers, names)

    def recompress(self, layer: "LayerBlob", kind: str, level: int = -1) -> "LayerBlob":
        """The layer with a blob that is compressed anew: "gzip", "zstd" or "uncompressed"; `level` -1 is what is usual
        here. The caller holds `Store.adding()`. Raises NotFound when there is no way to its bytes, Corrupt."""
        from tiffin.images.recompress import recompress

        return recompress(self, layer, kind, level)

    def write_layer(self, produce: "Callable[[Writable], object]") -> LayerBlob:
        """Store the layer whose plain tar `produce` writes to the stream that it is given: hashed and
        compressed in one pass. Only the blob; the unpacked tree is the caller's to stage or adopt. The
        caller holds `Store.adding()`."""
        from tiffin.images.write import write_layer

        return write_layer(self.content, produce)

    def load(self, stream: BinaryIO, progress: "Progress | None" = None) -> "Sequence[str]":
        """Read an archive of `save`, `docker save`, `podman save` or `skopeo copy`: OCI or docker-archive,
        plain or compressed, from a file or a pipe. The names that it brought (IDs where there was none).
        Images appear one by one, each whole; a bad archive leaves those before it and nothing else."""
        from tiffin.images.load import load_archive

        with self._nothing_left():
            return load_archive(self, stream, progress)

    def save(
        self,
        texts: "Sequence[str]",
        out: BinaryIO,
        form: str = "",
        registry: "Repositories | None" = None,
        platform: "Platform | None" = None,
    ) -> None:
        """Write images to one archive. `form` "" is read by every tool as OCI or docker-archive, whichever it
        prefers; "oci-archive" and "docker-archive" leave the other's documents out. Deterministic. Blobs that
        were dropped are made again, or fetched with `registry`. With `platform`, the images for that one, of names
        that stand for several."""
        from tiffin.images.save import save_archive

        save_archive(self, texts, out, form, registry, platform)

    def import_(
        self,
        stream: BinaryIO,
        name: str = "",
        message: str = "",
        changed: dict[str, Any] | None = None,
        platform: "Platform | None" = None,
    ) -> Image:
        """A new image of one layer out of a root filesystem's tar, plain or compressed; with `changed` for its
        execution settings, and for this machine's platform unless another is named."""
        from tiffin.images.load import import_root

        with self._nothing_left():
            return import_root(self, stream, name, message, changed, platform)

    def push(
        self, registry: "Registry", name: str, report: "Report | None" = None, **options: Any
    ) -> "Pushed":
        """Send the image, or all of an index, that `name` stands for to where `name` says. `report` is called from
        several threads, one at a time. `options` are those of `tiffin.images.push.push_image`."""
        from tiffin.images.push import push_image

        return push_image(self, registry, name, report, **options)

    def drop_compressed(self, image_ids: "Sequence[str]" = ()) -> "Dropped":
        """Remove the compressed blobs of unpacked layers (of these images; of all): those that a repository is known
        to hold, and those that were tried and can be made again to the byte. Idempotent. Raises Conflict while
        anyone reads or adds blobs."""
        from tiffin.images.blobs import drop_compressed

        return drop_compressed(self, image_ids)

    def pull(
        self,
        registry: "PullRegistry",
        reference: "Reference",
        platform: "Platform | None" = None,
        report: "Report | None" = None,
        *,
        options: "PullOptions | None" = None,
    ) -> "Pulled":
        """Fetch an image and give it its name, once all of it is on disk and verified. Layers come several at once and
        are unpacked while they arrive; what is here is not fetched. On failure nothing stays but the beginnings of
        layers, which the next pull continues. `report` is called from several threads, one at a time.
        Raises NotFound (no such image, or none for the platform), PermissionDenied, TransferError, Corrupt and the
        errors of the stores."""
        from tiffin.images.pull import PullOptions, pull

        with self._nothing_left():
            return pull(self, registry, reference, platform, report, options or PullOptions())

    def collect(self, partials: bool = False) -> int:
        """Remove blobs, layers and half-made things that nothing names or holds; the count. The beginnings of layers
        that a broken pull left stay for a day, unless `partials` asks for them too. Does nothing while another process
        is adding. Idempotent."""
        from tiffin.images.collect import collect

        return collect(self, partials)

    @contextmanager
    def _nothing_left(self) -> "Iterator[None]":
        """Collect what a failure left unnamed; a failure of that is noted on the first."""
        try:
            yield
        except BaseException as error:
            try:
                self.collect()
            except TiffinError as second:
                error.add_note(f"cleaning up failed too: {second}")
            raise
