"""Recording images, and storing the layers of those that are made here."""

import time

from tiffin.errors import Corrupt, NotFound
from tiffin.images.names import set_names, write_index
from tiffin.images.origins import is_recorded
from tiffin.images.records import Image, LayerBlob, image_by_id
from tiffin.oci.descriptor import (
    CONFIG,
    DOCUMENT_MAX,
    LAYER_GZIP,
    MANIFEST,
    Manifest,
    encode_json,
    parse_document,
)
from tiffin.oci.image import diff_ids, parse_config, parse_time
from tiffin.oci.reference import parse_reference
from tiffin.typed import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Sequence

    from tiffin.content.store import ContentStore
    from tiffin.images.service import Images
    from tiffin.oci.descriptor import Descriptor


class Writable(Protocol):
    """Takes everything that it is given."""

    def write(self, data: bytes, /) -> int: ...


def add_image(images: "Images", data: bytes, media_type: str, names: "Sequence[str]") -> Image:
    """See `Images.add_image`."""
    manifest = parse_document(data, media_type)
    if not isinstance(manifest, Manifest):
        raise Corrupt("an index is not an image: choose one of its manifests")
    config_bytes = images.content.read_bytes(manifest.config.digest, DOCUMENT_MAX)
    config = parse_config(config_bytes)
    layers = _verified_layers(images, manifest, diff_ids(config))
    digest = images.content.put_bytes(data)
    if _is_recorded(images.store.db, manifest.config.digest, digest, names):
        write_index(images.store)  # should a crash have left it behind
        return image_by_id(images.store.db, manifest.config.digest)
    row = (manifest.config.digest, digest, manifest.media_type, len(data), config_bytes.decode("utf-8"))
    created = parse_time(config.get("created"))
    with images.store.transaction() as db:
        _insert(db, row, created, layers)
        set_names(db, manifest.config.digest, names)
    write_index(images.store)
    return image_by_id(images.store.db, manifest.config.digest)


def _is_recorded(db: "sqlite3.Connection", image_id: str, manifest: str, names: "Sequence[str]") -> bool:
    """Whether all is there already: a build that found every step in the cache has nothing to write."""
    known = "SELECT 1 FROM images WHERE id = ? AND manifest = ? AND NOT removed"
    if db.execute(known, (image_id, manifest)).fetchone() is None:
        return False
    held = {row[0] for row in db.execute("SELECT name FROM image_names WHERE image = ?", (image_id,))}
    return all(str(parse_reference(name)) in held for name in names)


def _verified_layers(images: "Images", manifest: Manifest, ids: "Sequence[str]") -> list[LayerBlob]:
    """The manifest's layers paired with the config's DiffIDs, each blob and tree of which is here; a blob may have
    been dropped since it was compared with its tree."""
    if len(ids) != len(manifest.layers):
        raise Corrupt(
            f"image {manifest.config.digest} lists {len(ids)} diff_ids for {len(manifest.layers)} layers"
        )
    found = []
    for diff_id, layer in zip(ids, manifest.layers, strict=True):
        if not _was_here(images, diff_id, layer) and images.content.size(layer.digest) != layer.size:
            raise Corrupt(
                f"blob {layer.digest} does not have the {layer.size} bytes that its manifest states"
            )
        if not images.snapshots.has_layer(diff_id):
            raise NotFound(f"layer {diff_id} of image {manifest.config.digest} is not unpacked here")
        found.append(LayerBlob(diff_id, layer.digest, layer.media_type, layer.size))
    return found


def _was_here(images: "Images", diff_id: str, layer: "Descriptor") -> bool:
    """Whether the blob has been dropped."""
    if images.content.exists(layer.digest):
        return False
    return is_recorded(images.store.db, diff_id, layer.digest, layer.size)


def _insert(
    db: "sqlite3.Connection", row: tuple[str, str, str, int, str], created: int, layers: "Sequence[LayerBlob]"
) -> None:
    """Within a transaction: the image's rows, unless it is known already; one that was removed is back."""
    image_id = row[0]
    if db.execute("UPDATE images SET removed = 0 WHERE id = ? RETURNING 1", (image_id,)).fetchall():
        return
    size = 0
    for layer in layers:
        size += db.execute("SELECT size FROM layers WHERE diff_id = ?", (layer.diff_id,)).fetchone()[0]
    db.execute(_ADD, (*row, size, created, time.time_ns()))
    rows = [(image_id, position, *layer) for position, layer in enumerate(layers)]
    db.executemany("INSERT INTO image_layers VALUES (?, ?, ?, ?, ?, ?)", rows)


_ADD = """INSERT INTO images (id, manifest, media_type, manifest_size, config, size, created, added)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?)"""


def create_image(
    images: "Images", config: dict[str, Any], layers: "Sequence[LayerBlob]", names: "Sequence[str]"
) -> Image:
    """See `Images.create`."""
    data = encode_json(config)
    return add_image(
        images, make_manifest(images.content.put_bytes(data), len(data), layers), MANIFEST, names
    )


def make_manifest(config: str, config_size: int, layers: "Sequence[LayerBlob]") -> bytes:
    """The OCI manifest over a stored config and stored layers."""
    return encode_json(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": {"mediaType": CONFIG, "digest": config, "size": config_size},
            "layers": [
                {"mediaType": layer.media_type, "digest": layer.blob, "size": layer.blob_size}
                for layer in layers
            ],
        }
    )


def write_layer(content: "ContentStore", produce: "Callable[[Writable], object]") -> LayerBlob:
    """See `Images.write_layer`."""
    import hashlib

    from tiffin.images.compressor import Compressor

    plain = hashlib.sha256()
    with content.writer() as blob:
        with Compressor(blob, plain) as compressor:
            produce(compressor)
        digest, size = blob.commit()
    return LayerBlob(f"sha256:{plain.hexdigest()}", digest, LAYER_GZIP, size)
