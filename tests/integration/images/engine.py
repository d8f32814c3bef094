"""The image room on a directory of its own, and what must hold of it at any time."""

import hashlib
import io
import os
from pathlib import Path

from tiffin.content import LocalContent
from tiffin.images import Images
from tiffin.images.records import Image
from tiffin.layer.compress import open_decompressed
from tiffin.snapshot import Snapshots
from tiffin.state import locate, open_store


def open_images(directory: Path) -> Images:
    """An engine's images below `directory`; the caller closes its store."""
    store = open_store(locate(str(directory / "root"), str(directory / "run")))
    return Images(store, LocalContent(store.layout), Snapshots(store))


def load(images: Images, archive: bytes) -> list[str]:
    return list(images.load(io.BytesIO(archive)))


def verify(images: Images) -> None:
    """Every image in the store is whole: manifest, config, blobs and trees are there, each blob hashes to its
    digest and unpacks to its DiffID."""
    for summary in images.list():
        image = images.by_id(summary.id)
        for blob in (image.id, image.manifest):
            images.content.read_bytes(blob, 4 << 20)
        for layer in images.layers(image):
            compressed, plain = hashlib.sha256(), hashlib.sha256()
            with images.content.open(layer.blob) as file:
                compressed.update(data := file.read())
            with open_decompressed(io.BytesIO(data)) as stream:
                plain.update(stream.readall())
            assert f"sha256:{compressed.hexdigest()}" == layer.blob
            assert f"sha256:{plain.hexdigest()}" == layer.diff_id
            assert images.snapshots.has_layer(layer.diff_id)


def files_of(images: Images, image: Image) -> list[str]:
    """The names in its layers, bottom first."""
    return [
        name
        for diff_id in image.diff_ids
        for name in sorted(os.listdir(images.snapshots.layer_path(diff_id)))
    ]


def stored(images: Images) -> tuple[int, int, int]:
    """How many blobs, layers and things in staging there are."""
    staging = os.listdir(images.store.layout.staging)
    return len(list(images.content.digests())), len(list(images.snapshots.diff_ids())), len(staging)
