"""The compressed blob of a layer, wherever it has to come from.

A layer that is unpacked needs its blob only to leave the machine again. It may therefore be dropped
(`images.keep-compressed = false`, `tiffin image compact`), and whoever needs it gets, in this order

    stored      the blob as it lies in the store
    made again  the layer's tree, archived and compressed by us: for layers that tiffin made, that gives the same bytes
    fetched     from a repository that is known to hold it (`blob_origins`)

each compared with the blob's digest before a byte of it is used. What is made or fetched so is an unnamed file in
staging, which the kernel drops with its last descriptor.
"""

import errno
import hashlib
import os
import threading

from tiffin.errors import Conflict, Corrupt, EngineError, NoSpace, NotFound, TiffinError, Unsupported
from tiffin.images.origins import origins_of
from tiffin.images.records import LayerBlob
from tiffin.oci.descriptor import Descriptor
from tiffin.typed import TYPE_CHECKING, BinaryIO, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tiffin.images.service import Images
    from tiffin.registry.client import Repository

ORIGINS_MAX = 3  # repositories that are asked for one blob
_PIECE = 1 << 20
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Repositories(Protocol):
    """What of a `Registry` is asked here."""

    def repository(self, name: str) -> "Repository": ...


class Dropped(NamedTuple):
    """What `drop_compressed` did: the blobs that went, and those that nobody could give back and that stayed."""

    gone: tuple[LayerBlob, ...] = ()
    kept: tuple[LayerBlob, ...] = ()

    @property
    def freed(self) -> int:
        """Bytes."""
        return sum(layer.blob_size for layer in self.gone)


class LayerSource:
    """One layer's blob, to be opened any number of times and from any thread. Made in the store's own thread, which
    reads what is recorded of the blob. What was made or fetched is kept until `close`."""

    def __init__(
        self,
        images: "Images",
        layer: LayerBlob,
        registry: Repositories | None = None,
        origins: "Sequence[str]" = (),
    ) -> None:
        self.layer = layer
        self._images = images
        self._registry = registry
        self._origins = tuple(origins) or origins_of(images.store.db, layer.blob)
        self._lock = threading.Lock()
        self._made: BinaryIO | None = None

    def open(self, offset: int = 0) -> BinaryIO:
        """The blob's bytes from `offset`; the caller closes. Raises NotFound when there is no way to them."""
        file = self._stored()
        if file is None:
            with self._lock:
                if self._made is None:
                    self._made = remake(self._images, self.layer) or self._fetched()
                # Another description of the same file, so that readers do not move each other.
                fd = os.open(f"/proc/self/fd/{self._made.fileno()}", os.O_RDONLY | os.O_CLOEXEC)
                file = open(fd, "rb", buffering=0)  # noqa: SIM115 - the caller's to close
        if offset:
            file.seek(offset)
        return file

    def close(self) -> None:
        """Let go of what was made or fetched; files that are open stay so. Idempotent."""
        with self._lock:
            if self._made is not None:
                self._made.close()
                self._made = None

    def _stored(self) -> BinaryIO | None:
        try:
            return self._images.content.open(self.layer.blob)
        except NotFound:
            return None

    def _fetched(self) -> BinaryIO:
        layer, failure = self.layer, ""
        if self._registry is not None:
            for name in self._origins[:ORIGINS_MAX]:
                try:
                    return _fetch(self._images.store.layout.staging, layer, self._registry.repository(name))
                except (NoSpace, EngineError):
                    raise
                except TiffinError as error:
                    failure = f" ({name}: {error})"
        tried = failure or (f" (it was at {self._origins[0]})" if self._origins else "")
        raise NotFound(
            f"the compressed blob {layer.blob} of layer {layer.diff_id} was dropped, and can neither be made again nor "
            f"fetched{tried}: pull or load its image again"
        )


def open_layer_blob(images: "Images", layer: LayerBlob, registry: Repositories | None = None) -> BinaryIO:
    """A layer's blob from its start, see the module; the caller closes. To be called in the store's thread."""
    source = LayerSource(images, layer, registry)
    try:
        return source.open()
    finally:
        source.close()


# -- making again
# ------------------------------------------------------------------------------------------------


def remake(images: "Images", layer: LayerBlob) -> BinaryIO | None:
    """The blob made anew from the layer's tree, as an open file; None when what comes out is not the same to the
    byte, as with layers that others made. Usable in any thread. Raises NoSpace."""
    from tiffin.layer.diff import diff_tar

    try:
        tree = os.open(images.snapshots.layer_path(layer.diff_id), _DIRECTORY)
    except (OSError, Corrupt):
        return None
    sink = _Sink(images.store.layout.staging, layer.blob_size)
    try:
        _archive(layer.media_type, sink, lambda out: diff_tar(tree, out))
        return sink.finish(layer.blob)
    except (_Different, Conflict, Unsupported):
        sink.close()
        return None
    except BaseException:
        sink.close()
        raise
    finally:
        os.close(tree)


def _archive(media_type: str, sink: "_Sink", produce: "Callable[[_Sink], object]") -> None:
    from tiffin.images.compressor import Compressor

    if media_type.endswith("gzip"):
        with Compressor(sink) as compressor:  # type: ignore[arg-type] # of a BlobWriter it only writes
            produce(compressor)  # type: ignore[arg-type] # either has `write`, which is all that is asked
    elif media_type.endswith("tar"):
        produce(sink)
    else:
        raise _Different  # tiffin writes no layer in another compression


class _Different(TiffinError):
    """What was made is not the blob."""


class _Sink:
    """An unnamed file, hashed while it is written, of at most `size` bytes."""

    def __init__(self, staging: str, size: int) -> None:
        self._hash, self._left = hashlib.sha256(), size
        try:
            self._fd = os.open(staging, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise _failed(staging, error) from error

    def write(self, data: bytes, /) -> int:
        self._left -= len(data)
        if self._left < 0:
            raise _Different
        self._hash.update(data)
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self._fd, view) :]
        except OSError as error:
            raise _failed("a layer's blob", error) from error
        return len(data)

    def finish(self, digest: str) -> BinaryIO:
        """The file from its start. Raises _Different."""
        if self._left or f"sha256:{self._hash.hexdigest()}" != digest:
            raise _Different
        fd, self._fd = self._fd, -1
        os.lseek(fd, 0, os.SEEK_SET)
        return open(fd, "rb", buffering=0)

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _failed(what: str, error: OSError) -> TiffinError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return NoSpace(f"no space left to write {what}; free some and try again")
    return EngineError(f"cannot write {what}: {error}")


def _fetch(staging: str, layer: LayerBlob, repository: "Repository") -> BinaryIO:
    sink = _Sink(staging, layer.blob_size)
    try:
        with repository.open_blob(Descriptor(layer.media_type, layer.blob, layer.blob_size)) as stream:
            while data := stream.read(_PIECE):
                sink.write(data)
        return sink.finish(layer.blob)
    except _Different:
        sink.close()
        raise Corrupt(f"blob {layer.blob} of {repository.name} does not match its digest") from None
    except BaseException:
        sink.close()
        raise


# -- dropping
# ------------------------------------------------------------------------------------------------


def drop_compressed(images: "Images", image_ids: "Sequence[str]" = ()) -> Dropped:
    """See `Images.drop_compressed`."""
    with images.store.adding():  # what is looked at here stays; nothing is removed yet
        candidates = _stored_layers(images, image_ids)
        sure = {layer for layer in candidates if _can_come_back(images, layer)}
    with images.store.collecting() as alone:
        if not alone:
            raise Conflict("another command is reading or adding images: try again when it has ended")
        for layer in sure:
            images.content.delete(layer.blob)
    return Dropped(tuple(sure), tuple(layer for layer in candidates if layer not in sure))


def _stored_layers(images: "Images", image_ids: "Sequence[str]") -> list[LayerBlob]:
    """Layers in both forms: the blob, and the tree that makes it dispensable."""
    rows = images.store.db.execute(_ALL_LAYERS).fetchall()
    wanted = set(image_ids)
    found = {LayerBlob(*layer): None for image, *layer in rows if not wanted or image in wanted}
    return [
        layer
        for layer in found
        if images.content.exists(layer.blob) and images.snapshots.has_layer(layer.diff_id)
    ]


_ALL_LAYERS = """SELECT image, diff_id, blob, media_type, blob_size FROM image_layers
    UNION SELECT '', diff_id, blob, media_type, blob_size FROM build_cache WHERE diff_id IS NOT NULL"""


def _can_come_back(images: "Images", layer: LayerBlob) -> bool:
    """Whether some repository has the blob, or making it again was tried and gives it."""
    if origins_of(images.store.db, layer.blob):
        return True
    made = remake(images, layer)
    if made is None:
        return False
    made.close()
    return True
