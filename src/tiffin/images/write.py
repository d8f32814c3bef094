"""Recording images, and storing the layers of those that are made here."""

import time

from tiffin.errors import Corrupt, NotFound
from tiffin.images.names import add_digest, set_names, write_index
from tiffin.images.origins import is_recorded
from tiffin.images.records import Image, LayerBlob, image_by_id
from tiffin.oci.descriptor import (
    CONFIG,
    DOCKER_CONFIG,
    DOCKER_LIST,
    DOCKER_MANIFEST,
    DOCUMENT_MAX,
    INDEX,
    LAYER_GZIP,
    MANIFEST,
    Descriptor,
    Manifest,
    encode_json,
    parse_document,
)
from tiffin.oci.image import diff_ids, parse_config, parse_time
from tiffin.oci.reference import parse_reference, shown
from tiffin.typed import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from tiffin.content.store import ContentStore
    from tiffin.images.indexes import IndexDocument
    from tiffin.images.service import Images


class Writable(Protocol):
    """Takes everything that it is given."""

    def write(self, data: bytes, /) -> int: ...


class Provenance(NamedTuple):
    """Where an image came from, beyond its own manifest.

    indexes     those that it was chosen from, the outermost first; their documents are stored already
    repository  the repository that gave it, "" for none; it has `digest` (the outermost index's or the manifest's own)
                and holds `blobs`
    absent      blobs of layers that are here unpacked and whose own bytes need not be
    replaces    whether a known image takes on this manifest instead of the one that it has
    """

    indexes: "tuple[IndexDocument, ...]" = ()
    repository: str = ""
    digest: str = ""
    blobs: tuple[str, ...] = ()
    absent: frozenset[str] = frozenset()
    replaces: bool = False


class ManifestStyle(NamedTuple):
    """How the manifest of an image that is made here looks. `docker`: in Docker's media types, which its layers then
    have too."""

    annotations: "Mapping[str, str]" = {}
    docker: bool = False

    @property
    def media_type(self) -> str:
        return DOCKER_MANIFEST if self.docker else MANIFEST

    @property
    def index_type(self) -> str:
        return DOCKER_LIST if self.docker else INDEX


_PLAIN = ManifestStyle()


def add_image(
    images: "Images",
    data: bytes,
    media_type: str,
    names: "Sequence[str]",
    origin: Provenance = Provenance(),  # noqa: B008 - immutable
) -> Image:
    """See `Images.add_image`."""
    manifest = parse_document(data, media_type)
    if not isinstance(manifest, Manifest):
        raise Corrupt("an index is not an image: choose one of its manifests")
    config_bytes = images.content.read_bytes(manifest.config.digest, DOCUMENT_MAX)
    config = parse_config(config_bytes)
    layers = _verified_layers(images, manifest, diff_ids(config), origin.absent)
    digest = images.content.put_bytes(data)
    _check_names(names, {digest, *(index.descriptor.digest for index in origin.indexes)})
    if origin in (Provenance(), Provenance(replaces=True)) and _is_recorded(
        images.store.db, manifest.config.digest, digest, names
    ):
        write_index(images.store)  # should a crash have left it behind
        return image_by_id(images.store.db, manifest.config.digest)
    row = (manifest.config.digest, digest, manifest.media_type, len(data), config_bytes.decode("utf-8"))
    created = parse_time(config.get("created"))
    target = origin.indexes[0].descriptor.digest if origin.indexes else ""
    with images.store.transaction() as db:
        _insert(db, row, created, layers, replaces=origin.replaces)
        _insert_origin(db, manifest.config.digest, origin)
        set_names(db, manifest.config.digest, names, target)
    write_index(images.store)
    return image_by_id(images.store.db, manifest.config.digest)


def _check_names(names: "Iterable[str]", digests: set[str]) -> None:
    """A name with a digest is believed only of what has that digest (T17)."""
    for name in names:
        stated = parse_reference(name).digest
        if stated and stated not in digests:
            raise Corrupt(f"{shown(name)} names another image: this one's digest is {min(digests)}")


def _is_recorded(db: "sqlite3.Connection", image_id: str, manifest: str, names: "Sequence[str]") -> bool:
    """Whether all is there already: a build that found every step in the cache has nothing to write."""
    known = "SELECT 1 FROM images WHERE id = ? AND manifest = ? AND NOT removed"
    if db.execute(known, (image_id, manifest)).fetchone() is None:
        return False
    query = "SELECT name FROM image_names WHERE image = ? AND target = ''"
    held = {row[0] for row in db.execute(query, (image_id,))}
    return all(str(parse_reference(name)) in held for name in names)


def _verified_layers(
    images: "Images", manifest: Manifest, ids: "Sequence[str]", absent: frozenset[str]
) -> list[LayerBlob]:
    """The manifest's layers paired with the config's DiffIDs, each tree of which is here, and each blob unless it may
    be absent, or was dropped since it was compared with its tree."""
    if len(ids) != len(manifest.layers):
        raise Corrupt(
            f"image {manifest.config.digest} lists {len(ids)} diff_ids for {len(manifest.layers)} layers"
        )
    found = []
    for diff_id, layer in zip(ids, manifest.layers, strict=True):
        gone = layer.digest in absent or _was_here(images, diff_id, layer)
        if not gone and images.content.size(layer.digest) != layer.size:
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
    db: "sqlite3.Connection",
    row: tuple[str, str, str, int, str],
    created: int,
    layers: "Sequence[LayerBlob]",
    *,
    replaces: bool,
) -> None:
    """Within a transaction: the image's rows. One that is known keeps its own, unless the new manifest `replaces`
    them; one that was removed is back."""
    image_id = row[0]
    if not db.execute("UPDATE images SET removed = 0 WHERE id = ? RETURNING 1", (image_id,)).fetchall():
        size = 0
        for layer in layers:
            size += db.execute("SELECT size FROM layers WHERE diff_id = ?", (layer.diff_id,)).fetchone()[0]
        db.execute(_ADD, (*row, size, created, time.time_ns()))
    elif not replaces:
        return
    else:
        change = "UPDATE images SET manifest = ?, media_type = ?, manifest_size = ? WHERE id = ?"
        db.execute(change, (*row[1:4], image_id))
        db.execute("DELETE FROM image_layers WHERE image = ?", (image_id,))
    rows = [(image_id, position, *layer) for position, layer in enumerate(layers)]
    db.executemany("INSERT INTO image_layers VALUES (?, ?, ?, ?, ?, ?)", rows)


_ADD = """INSERT INTO images (id, manifest, media_type, manifest_size, config, size, created, added)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?)"""


def _insert_origin(db: "sqlite3.Connection", image_id: str, origin: Provenance) -> None:
    """Within a transaction: what `origin` says of the image."""
    for index in origin.indexes:
        entry = index.descriptor
        db.execute(
            "INSERT INTO indexes (digest, media_type, size) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
            (entry.digest, entry.media_type, len(index.data)),
        )
        db.execute(
            "INSERT INTO index_images (digest, image) VALUES (?, ?) ON CONFLICT DO NOTHING",
            (entry.digest, image_id),
        )
    if origin.repository:
        add_digest(db, origin.repository, origin.digest, image_id)
        query = "INSERT INTO blob_origins (blob, repository) VALUES (?, ?) ON CONFLICT DO NOTHING"
        db.executemany(query, [(blob, origin.repository) for blob in origin.blobs])


def create_image(
    images: "Images", config: dict[str, Any], layers: "Sequence[LayerBlob]", names: "Sequence[str]"
) -> Image:
    """See `Images.create`."""
    data = encode_json(config)
    return add_image(
        images, make_manifest(images.content.put_bytes(data), len(data), layers), MANIFEST, names
    )


def make_manifest(
    config: str, config_size: int, layers: "Sequence[LayerBlob]", style: ManifestStyle = _PLAIN
) -> bytes:
    """The manifest over a stored config and stored layers, OCI's unless the style is Docker's."""
    document: dict[str, Any] = {
        "schemaVersion": 2,
        "mediaType": style.media_type,
        "config": {
            "mediaType": DOCKER_CONFIG if style.docker else CONFIG,
            "digest": config,
            "size": config_size,
        },
        "layers": [
            {"mediaType": layer.media_type, "digest": layer.blob, "size": layer.blob_size} for layer in layers
        ],
    }
    if style.annotations:
        document["annotations"] = dict(style.annotations)
    return encode_json(document)


def make_index(members: "Sequence[Descriptor]", style: ManifestStyle = _PLAIN) -> "IndexDocument":
    """The index of images, each by the descriptor of its manifest with a platform."""
    from tiffin.images.indexes import IndexDocument
    from tiffin.oci.digest import sha256

    document: dict[str, Any] = {
        "schemaVersion": 2,
        "mediaType": style.index_type,
        "manifests": [member.document() for member in members],
    }
    if style.annotations:
        document["annotations"] = dict(style.annotations)
    data = encode_json(document)
    return IndexDocument(Descriptor(style.index_type, f"sha256:{sha256(data)}", len(data)), data)


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
