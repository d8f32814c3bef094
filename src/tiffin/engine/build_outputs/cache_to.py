"""--cache-to: the results of a build's steps, in a directory or a registry."""

from __future__ import annotations

import io
from collections.abc import Sequence

from tiffin.build.progress import Notice, Progress, Sending
from tiffin.build.results.exchange import CONFIG, CacheDocument, CacheTarget, write_document
from tiffin.build.solving.export import Solved
from tiffin.errors import TiffinError
from tiffin.images import Images, LayerBlob
from tiffin.images.blobs import LayerSource
from tiffin.images.pack import DirectorySink, Packer
from tiffin.images.send import Blob, Document, send_blobs, send_documents
from tiffin.oci.descriptor import MANIFEST, Descriptor, encode_json
from tiffin.oci.digest import sha256
from tiffin.oci.reference import parse_reference
from tiffin.typed import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from tiffin.images.transfer import TransferEvent


class CacheTo:
    """One --cache-to."""

    def __init__(self, target: CacheTarget) -> None:
        self._target = target

    @property
    def inline(self) -> bool:
        """Whether it is part of the image, and nothing is to be written beside."""
        return not (self._target.ref or self._target.path)

    def write(self, images: Images, solved: Sequence[Solved], progress: Progress) -> None:
        """Raises what writing does, unless it may fail."""
        if self.inline:
            return
        document = write_document(solved, everything=self._target.everything)
        if document.left_out:
            progress(Notice(f"{document.left_out} results are too many for one build cache, and left out"))
        try:
            if self._target.path:
                _write_directory(images, document, self._target.path)
            else:
                _push(images, document, self._target.ref, progress)
        except TiffinError as error:
            if not self._target.may_fail:
                raise
            progress(Notice(f"the build cache is not written: {error}"))


def _manifest(document: CacheDocument) -> bytes:
    config = {
        "mediaType": CONFIG,
        "digest": f"sha256:{sha256(document.data)}",
        "size": len(document.data),
    }
    layers = [
        {"mediaType": layer.media_type, "digest": layer.blob, "size": layer.blob_size}
        for layer in document.layers
    ]
    return encode_json({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers})


def _write_directory(images: Images, document: CacheDocument, path: str) -> None:
    """Blobs that are there stay: the directory may serve many builds, each of which replaces its index."""
    from tiffin.engine.remote import Later

    manifest = _manifest(document)
    sink = DirectorySink(path)
    try:
        with Later() as registry:
            packer = Packer(images, sink, registry)
            for layer in document.layers:
                packer.layer(LayerBlob(*layer))
            packer.document(document.data)
            packer.finish([(packer.document(manifest), MANIFEST, len(manifest), ())])
    finally:
        sink.close()


def _push(images: Images, document: CacheDocument, ref: str, progress: Progress) -> None:
    from tiffin.config import load_settings
    from tiffin.engine.remote import connect

    def report(event: TransferEvent, /) -> None:
        progress(Sending(ref, *event))

    reference = parse_reference(ref)
    manifest = _manifest(document)
    config = Descriptor(CONFIG, f"sha256:{sha256(document.data)}", len(document.data))
    with connect() as registry:
        blobs = [
            Blob(
                Descriptor(layer.media_type, layer.blob, layer.blob_size),
                LayerSource(images, LayerBlob(*layer), registry),
            )
            for layer in document.layers
        ]
        blobs.append(Blob(config, _Bytes(document.data), is_layer=False))
        repository = registry.repository(reference.name)
        send_blobs(repository, blobs, report, load_settings().registries.uploads)
        top = Descriptor(MANIFEST, f"sha256:{sha256(manifest)}", len(manifest))
        send_documents(repository, [Document(top, manifest)], reference.tag)


class _Bytes:
    """A blob that is in memory."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def open(self, offset: int = 0) -> BinaryIO:
        return io.BytesIO(self._data[offset:])

    def close(self) -> None:
        """Holds nothing."""
