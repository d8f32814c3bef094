"""An image whose blobs are stored already becomes an image of this store: its layers unpacked, its names set."""

import hashlib
import os

from tiffin.errors import Corrupt, InvalidArgument
from tiffin.images.origins import is_recorded
from tiffin.images.records import LayerBlob
from tiffin.images.unpack import Unpacked
from tiffin.layer.apply import apply_layer
from tiffin.layer.compress import open_decompressed
from tiffin.oci.descriptor import DOCUMENT_MAX, Manifest, parse_document
from tiffin.oci.image import diff_ids, parse_config
from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tiffin.content.store import ContentStore
    from tiffin.images.records import Image
    from tiffin.images.service import Images
    from tiffin.images.write import Provenance
    from tiffin.oci.descriptor import Descriptor
    from tiffin.snapshot.store import SnapshotStore

_PIECE = 1 << 20


def receive_manifest(
    images: "Images",
    data: bytes,
    media_type: str = "",
    names: "Sequence[str]" = (),
    origin: "Provenance | None" = None,
) -> "Image":
    """Record the image of a manifest, config and layer blobs of which are in the content store, under full names; the
    layers that are not unpacked yet are, several at once, and no blob is taken for a layer that is here unless it
    unpacks to it. The caller holds `Store.adding()`. Atomic: on an error nothing is named, and what was unpacked is the
    collector's. Raises NotFound (a blob is missing), Corrupt (a layer does not unpack to its diff_id), LimitExceeded,
    Unsupported, InvalidArgument (an index)."""
    manifest = parse_document(data, media_type)
    if not isinstance(manifest, Manifest):
        raise InvalidArgument("an index is not an image: choose one of its manifests")
    ids = diff_ids(parse_config(images.content.read_bytes(manifest.config.digest, DOCUMENT_MAX)))
    if len(ids) != len(manifest.layers):
        raise Corrupt(
            f"image {manifest.config.digest} lists {len(ids)} diff_ids for {len(manifest.layers)} layers"
        )
    db = images.store.db
    wanted: dict[str, Descriptor] = {}
    doubtful: set[tuple[str, str]] = set()
    for diff_id, layer in zip(ids, manifest.layers, strict=True):
        if not images.snapshots.has_layer(diff_id):
            wanted.setdefault(diff_id, layer)
        if not is_recorded(db, diff_id, layer.digest, layer.size) and wanted.get(diff_id) != layer:
            doubtful.add((diff_id, layer.digest))
    _unpack_all(images, wanted)
    for diff_id, blob in sorted(doubtful):
        _verify_stored(images.content, blob, diff_id)
    return images.add_image(data, media_type, names, origin)


def unpack_stored(
    content: "ContentStore", snapshots: "SnapshotStore", layer: "Descriptor", diff_id: str
) -> Unpacked:
    """Unpack a layer whose blob is stored, hence verified. Usable in any thread; the caller commits `staged`, or leaves
    its context, in the store's own. Raises NotFound, and Corrupt when it is not the layer `diff_id`."""
    staged = snapshots.stage_layer()
    try:
        plain = hashlib.sha256()
        with content.open(layer.digest) as file, open_decompressed(file, digest=plain) as tar:
            size = apply_layer(tar, staged.fd).size
        _compare(plain.hexdigest(), diff_id)
        return Unpacked(LayerBlob(diff_id, layer.digest, layer.media_type, layer.size), staged, size)
    except BaseException:
        staged.__exit__(None, None, None)
        raise


def _verify_stored(content: "ContentStore", blob: str, diff_id: str) -> None:
    """See that a stored blob is the layer `diff_id`, whose tree is here from another."""
    plain = hashlib.sha256()
    with content.open(blob) as file, open_decompressed(file, ahead=False) as tar:
        while data := tar.read(_PIECE):
            plain.update(data)
    _compare(plain.hexdigest(), diff_id)


def _compare(plain: str, diff_id: str) -> None:
    if f"sha256:{plain}" != diff_id:
        raise Corrupt(f"layer {diff_id} does not match its diff_id: it unpacks to sha256:{plain}")


def _unpack_all(images: "Images", wanted: "dict[str, Descriptor]") -> None:
    """Several at once; committed in this thread as each is verified. On an error the others are waited for and their
    trees removed."""
    if not wanted:
        return
    from concurrent.futures import ThreadPoolExecutor, as_completed

    with ThreadPoolExecutor(min(4, max(2, os.cpu_count() or 1)), "unpack layer") as pool:
        jobs = [
            pool.submit(unpack_stored, images.content, images.snapshots, layer, diff_id)
            for diff_id, layer in wanted.items()
        ]
        try:
            for job in as_completed(jobs):
                found = job.result()
                with found.staged as staged:
                    staged.commit(found.layer.diff_id, found.size)
        except BaseException:
            for job in jobs:
                if not job.cancel() and job.exception() is None:
                    job.result().staged.__exit__(None, None, None)
            raise
