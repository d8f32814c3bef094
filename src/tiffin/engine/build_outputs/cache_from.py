"""--cache-from: results of other engines' builds, read where whoever builds says so.

Documents are read when the build begins; a layer is brought here, by a process of its own, when a step needs it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import closing

from tiffin.build.cache import Kept, Layer
from tiffin.build.results.exchange import CONFIG, CacheSource, Records, read_document, read_inline
from tiffin.build.workers import call
from tiffin.errors import Corrupt, NotFound, TiffinError
from tiffin.images.copy import manifest_parts
from tiffin.images.indexes import find_manifest, wanted
from tiffin.kernel.paths import RESOLVE_BENEATH, RESOLVE_NO_SYMLINKS, openat2
from tiffin.oci.descriptor import (
    DOCUMENT_MAX,
    INDEX,
    INDEXES,
    Descriptor,
    Index,
    decode_json,
    parse_document,
)
from tiffin.oci.digest import sha256
from tiffin.oci.image import parse_config
from tiffin.oci.platform import host_platform
from tiffin.oci.reference import parse_reference
from tiffin.typed import TYPE_CHECKING, Any, BinaryIO, Protocol

if TYPE_CHECKING:
    from tiffin.layer.tarreader import Readable
    from tiffin.registry.client import Repository
    from tiffin.state import Layout

    class ClosableReader(Readable, Protocol):
        def close(self) -> None: ...


Read = Callable[[Descriptor], bytes]


class Sources:
    """All that --cache-from names: an `Elsewhere` for the builder. What is not to be had there is told to `warn`, once,
    and does without."""

    def __init__(self, layout: Layout, sources: Sequence[CacheSource], warn: Callable[[str], None]) -> None:
        self._layout = layout
        self._warn = warn
        self._found: list[tuple[CacheSource, Records]] = []
        for source in sources:
            try:
                self._found.append((source, _records(source)))
            except TiffinError as error:
                warn(f"no build cache is taken from {source.name}: {error}")

    @property
    def names(self) -> frozenset[str]:
        """The places that are believed, whether there is something or not."""
        return frozenset(source.name for source, _ in self._found)

    def find(self, key: str) -> Kept | None:
        """See `Elsewhere`."""
        for source, records in self._found:
            kept = records.by_key.get(key)
            if kept is None:
                continue
            try:
                if kept.found.layer is not None:
                    self._bring(source, kept.found.layer)
            except TiffinError as error:
                self._warn(f"a layer of the build cache {source.name} is not usable: {error}")
                continue
            return kept._replace(found=kept.found._replace(origins=frozenset({source.name})))
        return None

    def own_key(self, key: str) -> str:
        """See `Elsewhere`."""
        return next((records.absent[key] for _, records in self._found if key in records.absent), "")

    def has(self, outline: str) -> bool:
        """See `Elsewhere`."""
        return any(outline in records.outlines for _, records in self._found)

    def _bring(self, source: CacheSource, layer: Layer) -> None:
        """Have the layer here. It has threads, so it is done by a process of its own."""
        call(lambda _: _bring(self._layout, source, layer))


def _bring(layout: Layout, source: CacheSource, layer: Layer) -> dict[str, Any]:
    from tiffin.engine.images import open_images
    from tiffin.images.unpack import Expected, unpack_layer
    from tiffin.state import open_store

    descriptor = Descriptor(layer.media_type, layer.blob, layer.blob_size)
    with closing(open_store(layout)) as store, store.adding():
        images = open_images(store)
        if images.has_layer(layer.diff_id, layer.blob, layer.blob_size):
            return {}
        expected = Expected(layer.diff_id, layer.blob, layer.media_type, layer.blob_size)

        def unpack(stream: Readable) -> None:
            unpacked = unpack_layer(images.content, images.snapshots, stream, expected)
            with unpacked.staged as staged:
                staged.commit(layer.diff_id, unpacked.size)

        if source.path:
            with _open_blob(source.path, descriptor) as file:
                unpack(file)
            return {}
        from tiffin.engine.remote import connect

        reference = parse_reference(source.ref)
        with connect() as registry, registry.repository(reference.name).open_blob(descriptor) as blob:
            unpack(blob)
    return {}


# -- documents


def _records(source: CacheSource) -> Records:
    if source.path:
        top, read = _of_directory(source.path)
        return _read(top, read)
    from tiffin.engine.remote import connect

    with connect() as registry:
        reference = parse_reference(source.ref)
        repository = registry.repository(reference.name)
        found = repository.manifest(reference.digest or reference.tag)

        def read_remote(entry: Descriptor) -> bytes:
            if entry.digest == found.descriptor.digest:
                return found.data
            return _remote(repository, entry)

        return _read(found.descriptor, read_remote)


def _remote(repository: Repository, entry: Descriptor) -> bytes:
    if entry.media_type in INDEXES or "manifest" in entry.media_type:
        return repository.manifest(entry.digest).data
    data = b""
    with repository.open_blob(entry) as blob:
        while len(data) <= DOCUMENT_MAX and (more := blob.read(DOCUMENT_MAX + 1 - len(data))):
            data += more
    return _verified(data, entry)


def _verified(data: bytes, entry: Descriptor) -> bytes:
    if len(data) != entry.size or f"sha256:{sha256(data)}" != entry.digest:
        raise Corrupt(f"{entry.digest} is not what its digest says")
    return data


def _read(top: Descriptor, read: Read) -> Records:
    """The records that a manifest leads to: those of a cache, or within the config of an image."""
    data = read(top)
    if top.media_type in INDEXES:
        data = find_manifest(top, read, wanted(None, host_platform()), data).data
    config, layers = manifest_parts(data, top.digest)
    if config.media_type == CONFIG:
        return read_document(read(config), layers)
    found = read_inline(parse_config(read(config)), layers)
    if found is None:
        raise NotFound("it is an image without a build cache in it; build it with --cache-to type=inline")
    return found


def _of_directory(path: str) -> tuple[Descriptor, Read]:
    data = _whole(path, "index.json")
    index = parse_document(data, INDEX, f"index.json of {path}")
    if not isinstance(index, Index) or len(index.manifests) != 1:
        raise Corrupt(f"{path} does not hold one build cache, or one image")
    top = index.manifests[0]
    decode_json(_verified(_whole(path, _member(top)), top), f"manifest of {path}")
    return top, lambda entry: _verified(_whole(path, _member(entry)), entry)


def _member(entry: Descriptor) -> str:
    return f"blobs/sha256/{entry.digest[7:]}"


def _open_blob(path: str, entry: Descriptor) -> BinaryIO:
    return _open(path, _member(entry))


def _open(path: str, name: str) -> BinaryIO:
    """A file of the directory, not through a link, wherever that led."""
    try:
        top = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise NotFound(f"cannot open {path}: {error.strerror}") from error
    try:
        fd = openat2(top, name, os.O_RDONLY | os.O_NONBLOCK, 0, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS)
    except OSError as error:
        raise NotFound(f"{path} has no readable {name}: {error.strerror}") from error
    finally:
        os.close(top)
    return open(fd, "rb", buffering=0)


def _whole(path: str, name: str) -> bytes:
    with _open(path, name) as file:
        data = b""
        while len(data) <= DOCUMENT_MAX and (more := file.read(DOCUMENT_MAX + 1 - len(data))):
            data += more
    if len(data) > DOCUMENT_MAX:
        raise Corrupt(f"{name} of {path} has more than {DOCUMENT_MAX} bytes")
    return data
