"""A layer's blob in another compression: the same tar, so the same DiffID, under another digest."""

import hashlib
from contextlib import nullcontext

from tiffin.errors import Corrupt
from tiffin.images.blobs import open_layer_blob
from tiffin.images.records import LayerBlob
from tiffin.layer.compress import Compressing, gzip_writer, open_decompressed, zlib_writer, zstd_writer
from tiffin.oci.descriptor import LAYER, LAYER_GZIP, LAYER_ZSTD
from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from tiffin.content.store import BlobWriter
    from tiffin.images.service import Images

MEDIA_TYPES = {"gzip": LAYER_GZIP, "zstd": LAYER_ZSTD, "uncompressed": LAYER}
_PIECE = 1 << 20


def recompress(images: "Images", layer: LayerBlob, kind: str, level: int) -> LayerBlob:
    """See `Images.recompress`."""
    plain = hashlib.sha256()
    with open_layer_blob(images, layer) as stored, images.content.writer() as blob:
        with open_decompressed(stored, digest=plain) as tar, _writer(blob, kind, level) as out:
            while data := tar.read(_PIECE):
                out.write(data)
        if f"sha256:{plain.hexdigest()}" != layer.diff_id:
            raise Corrupt(f"blob {layer.blob} does not hold layer {layer.diff_id}: load its image again")
        digest, size = blob.commit()
    return LayerBlob(layer.diff_id, digest, MEDIA_TYPES[kind], size)


def _writer(blob: "BlobWriter", kind: str, level: int) -> "AbstractContextManager[BlobWriter | Compressing]":
    if kind == "uncompressed":
        return nullcontext(blob)
    if kind == "zstd":
        return zstd_writer(blob, level if level >= 0 else 3)
    return zlib_writer(blob, level) if level >= 0 else gzip_writer(blob)
