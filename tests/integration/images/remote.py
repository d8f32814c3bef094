"""A registry in memory, as the registry room's client shows one: what it sends is counted, and it can be told to
misbehave."""

import gzip
import hashlib
import json
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from tests.integration.images.archives import (
    CONFIG,
    INDEX,
    LAYER,
    MANIFEST,
    config,
    descriptor,
    digest,
    encode,
)
from tiffin.errors import NotFound, TransferError
from tiffin.oci.descriptor import Descriptor


class Document(NamedTuple):
    descriptor: Descriptor
    data: bytes


class Stream:
    """A blob on its way. `spoil` may change or withhold each piece."""

    def __init__(self, remote: "Remote", data: bytes, offset: int) -> None:
        self._remote, self._data = remote, data
        self.offset = self._at = offset

    def read(self, size: int, /) -> bytes:
        piece = self._data[self._at : self._at + min(size, self._remote.piece)]
        self._remote.gate(self._at)
        with self._remote.lock:
            self._remote.sent += len(piece)
        self._at += len(piece)
        return piece

    def abort(self) -> None:
        """Nothing here waits."""

    def __enter__(self) -> "Stream":
        return self

    def __exit__(self, *_: object) -> None:
        return None


class Remote:
    """One repository, and the registry that has it alone."""

    def __init__(self, name: str = "r.io/app") -> None:
        self.name = name
        self.blobs: dict[str, bytes] = {}
        self.documents: dict[str, tuple[str, bytes]] = {}
        self.named: dict[str, str] = {}
        self.sent = 0
        self.opened: list[tuple[str, int]] = []
        self.asked: list[str] = []
        self.ranges = True
        self.piece = 1 << 16
        self.elsewhere: dict[str, bytes] = {}
        self.lock = threading.Lock()
        self.gate: Callable[[int], None] = lambda _: None

    # -- what a test puts there ------------------------------------------------------------------------------

    def blob(self, data: bytes) -> str:
        self.blobs[digest(data)] = data
        return digest(data)

    def document(self, media_type: str, data: bytes, tag: str = "") -> dict[str, Any]:
        """Put a manifest or index there; its descriptor."""
        self.documents[digest(data)] = (media_type, data)
        if tag:
            self.named[tag] = digest(data)
        return descriptor(media_type, data)

    def image(self, tag: str, layers: Sequence[bytes], **more: Any) -> dict[str, Any]:
        """Put an image of these plain layer tars there; its manifest's descriptor. `more` goes into its config."""
        document = config(layers, **more)
        self.blob(document)
        blobs = [gzip.compress(layer, 1, mtime=0) for layer in layers]
        for data in blobs:
            self.blob(data)
        return self.document(
            MANIFEST,
            encode(
                {
                    "schemaVersion": 2,
                    "mediaType": MANIFEST,
                    "config": descriptor(CONFIG, document),
                    "layers": [descriptor(LAYER, data) for data in blobs],
                }
            ),
            tag,
        )

    def index(self, tag: str, *entries: dict[str, Any], **more: Any) -> dict[str, Any]:
        return self.document(
            INDEX, encode({"schemaVersion": 2, "mediaType": INDEX, "manifests": list(entries), **more}), tag
        )

    # -- what a pull sees ------------------------------------------------------------------------------------

    def repository(self, name: str) -> "Remote":
        assert name == self.name
        return self

    def _find(self, reference: str) -> str:
        self.asked.append(reference)
        found = self.named.get(reference, reference)
        if found not in self.documents:
            raise NotFound(f"manifest for {self.name}:{reference} not found: manifest unknown")
        return found

    def resolve(self, reference: str) -> Descriptor:
        found = self._find(reference)
        media_type, data = self.documents[found]
        return Descriptor(media_type, found, len(data))

    def manifest(self, reference: str) -> Document:
        found = self._find(reference)
        media_type, data = self.documents[found]
        self.sent += len(data)
        return Document(Descriptor(media_type, found, len(data)), data)

    def tags(self) -> Iterator[str]:
        return iter(sorted(self.named))

    def open_blob(self, descriptor: Descriptor, offset: int = 0, *, urls: Sequence[str] = ()) -> Stream:
        self.opened.append((descriptor.digest, offset))
        data = self.blobs.get(descriptor.digest)
        for url in urls if data is None else ():
            data = self.elsewhere.get(url)
        if data is None:
            raise NotFound(f"blob {descriptor.digest} unknown to {self.name}")
        return Stream(self, data, offset if self.ranges else 0)


def breaks_after(count: int) -> Callable[[int], None]:
    """A gate: the transfer is lost at this offset."""

    def gate(offset: int) -> None:
        if offset >= count:
            raise TransferError("connection reset")

    return gate


def incompressible(size: int, seed: bytes = b"") -> bytes:
    """Bytes that gzip leaves alone."""
    pieces = [hashlib.sha512(seed + b"%d" % n).digest() for n in range(size // 64 + 1)]
    return b"".join(pieces)[:size]


def decoded(data: bytes) -> Any:
    return json.loads(data)
