"""Image archives made by hand: honest ones, and ones that lie in one place."""

import gzip
import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

from tiffin.layer.tarstream import Entry, Kind, TarWriter

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"


def digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def tar(files: Mapping[str, bytes | Entry]) -> bytes:
    """A tar of these members, in this order; a value that is an Entry is taken as it is."""
    out = io.BytesIO()
    writer = TarWriter(out)
    for name, data in files.items():
        if isinstance(data, Entry):
            writer.add(data)
        else:
            writer.add(Entry(name, size=len(data)), data)
    writer.finish()
    return out.getvalue()


def symlink(name: str, target: str) -> Entry:
    return Entry(name, Kind.SYMLINK, 0o777, linkname=target)


def encode(document: Any) -> bytes:
    return json.dumps(document).encode()


def config(layers: Sequence[bytes], **more: Any) -> bytes:
    rootfs = {"type": "layers", "diff_ids": [digest(layer) for layer in layers]}
    return encode({"architecture": "amd64", "os": "linux", "config": {}, "rootfs": rootfs, **more})


def descriptor(media_type: str, data: bytes, **more: Any) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": digest(data), "size": len(data), **more}


class Oci:
    """The members of an OCI archive, to be changed before `tar()` packs them."""

    def __init__(self) -> None:
        self.members: dict[str, bytes | Entry] = {"oci-layout": b'{"imageLayoutVersion":"1.0.0"}'}
        self.index: list[dict[str, Any]] = []

    def blob(self, data: bytes) -> str:
        """Add a blob; its member's name."""
        name = f"blobs/sha256/{digest(data)[7:]}"
        self.members[name] = data
        return name

    def manifest(self, config_bytes: bytes, blobs: Sequence[bytes], **more: Any) -> bytes:
        """Add an image's blobs and its manifest, whose bytes these are."""
        for data in (config_bytes, *blobs):
            self.blob(data)
        document = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": descriptor(CONFIG, config_bytes),
            "layers": [descriptor(LAYER, data) for data in blobs],
            **more,
        }
        self.blob(encode(document))
        return encode(document)

    def image(self, name: str, layers: Sequence[bytes], **more: Any) -> bytes:
        """Add an image of these plain layer tars under a name; its config's bytes."""
        document = config(layers, **more)
        manifest = self.manifest(document, [gzip.compress(layer, 1, mtime=0) for layer in layers])
        annotations = {"org.opencontainers.image.ref.name": name} if name else {}
        self.index.append(descriptor(MANIFEST, manifest, annotations=annotations))
        return document

    def tar(self) -> bytes:
        index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": self.index}
        return tar({"index.json": encode(index), **self.members})


def docker_archive(
    name: str,
    layers: Sequence[bytes],
    entry: Mapping[str, Any] = {},
    members: Mapping[str, bytes | Entry] = {},
) -> bytes:
    """A docker-archive in the form of Docker before version 25; `entry` and `members` change what it says."""
    document = config(layers)
    files: dict[str, bytes | Entry] = {f"{digest(document)[7:]}.json": document}
    names = []
    for number, layer in enumerate(layers):
        names.append(f"{number}/layer.tar")
        files[names[-1]] = layer
    said = {"Config": f"{digest(document)[7:]}.json", "RepoTags": [name] if name else None, "Layers": names}
    return tar({**files, **members, "manifest.json": encode([{**said, **entry}])})
