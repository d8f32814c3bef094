"""The images of an OCI image layout that is packed into an archive (image-spec, image-layout.md).

An index under one name is taken whole: its document, and every image of it that the archive has all blobs of. The name
stands for the one that this machine executes, else for the first.
"""

import hashlib
import re

from tiffin.errors import Corrupt, InvalidArgument
from tiffin.images.indexes import Found, all_manifests, images_of, is_index, ranked, wanted
from tiffin.images.unpack import Expected
from tiffin.images.write import Provenance
from tiffin.oci.descriptor import (
    DOCUMENT_MAX,
    IMAGE_NAME,
    INDEX,
    MANIFEST,
    REF_NAME,
    Descriptor,
    Index,
    Manifest,
    parse_document,
)
from tiffin.oci.image import diff_ids, parse_config
from tiffin.oci.platform import host_platform
from tiffin.oci.reference import parse_reference, shown
from tiffin.typed import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from tiffin.images.archive import Archive, Section

_LINUX = ("linux", "")


class Source(NamedTuple):
    """A layer as the archive holds it."""

    section: "Section"
    expected: Expected


class Candidate(NamedTuple):
    """An image that the archive offers. `manifest` None: a docker-archive, which has none of its own. `follows`: it is
    another platform's image of an index, whose names the one that comes after it gets."""

    config: bytes
    layers: "Sequence[Source]"
    names: "Sequence[str]"
    manifest: bytes | None = None
    media_type: str = MANIFEST
    origin: Provenance = Provenance()
    follows: bool = False


def oci_images(archive: "Archive", tags: "Mapping[str, Sequence[str]]") -> "Iterator[Candidate]":
    """Each image of the layout's index, once, with all its names. An entry for another platform is passed over where
    the same name has one for this machine; attestations are no images. `tags` are further names of a config.
    Raises Corrupt, InvalidArgument, LimitExceeded, Unsupported."""
    entries: dict[str, tuple[Descriptor, list[str]]] = {}
    for entry in _chosen(_index(archive)):
        _, names = entries.setdefault(entry.digest, (entry, []))
        name = _name_of(entry)
        names.extend([name] if name and name not in names else [])
    for entry, names in entries.values():
        *others, named = _available(archive, entry)
        for found in others:
            yield _candidate(archive, found, (), follows=True)
        further = tags.get(named.manifest.config.digest, ())
        yield _candidate(archive, named, [*names, *(name for name in further if name not in names)])


def _candidate(
    archive: "Archive", found: Found, names: "Sequence[str]", *, follows: bool = False
) -> Candidate:
    config = _blob(archive, found.manifest.config)
    origin = Provenance(found.indexes, replaces=bool(found.indexes))
    layers = _layers(archive, found.manifest, config)
    return Candidate(config, layers, names, found.data, found.descriptor.media_type, origin, follows)


def _index(archive: "Archive") -> tuple[Descriptor, ...]:
    document = parse_document(archive.read("index.json"), INDEX, "index.json in the archive")
    assert isinstance(document, Index)  # parse_document holds it to the media type
    return document.manifests


def _chosen(entries: "Sequence[Descriptor]") -> "Iterator[Descriptor]":
    host = host_platform()
    groups: dict[str, list[Descriptor]] = {}
    for number, entry in enumerate(images_of(Index(INDEX, tuple(entries)))):
        groups.setdefault(_name_of(entry) or f"#{number}", []).append(entry)
    for group in groups.values():
        fitting = [entry for entry in group if entry.platform is None or host.runs(entry.platform)]
        yield from fitting or group


def _name_of(descriptor: Descriptor) -> str:
    """The full name that an index entry bears, "" for none. A lone tag (`latest`) names no repository."""
    for key in (IMAGE_NAME, REF_NAME):
        text = descriptor.annotations.get(key, "")
        if re.search(r"[/:]", text):
            return str(parse_reference(text))
    return ""


def _available(archive: "Archive", entry: Descriptor) -> list[Found]:
    """The images that an entry leads to and that are in the archive whole; last the one that a name of the entry
    stands for. An index may be kept with some of its images only; an entry that is an image may not lack a part."""
    if not is_index(entry.media_type):
        data = _blob(archive, entry)
        document = parse_document(data, entry.media_type)
        assert isinstance(document, Manifest)  # parse_document holds it to the media type
        return [Found(entry, document, data, ())]
    present: list[Found] = []
    offered: list[str] = []
    for found in all_manifests(entry, lambda below: _document(archive, entry, below))[0]:
        platform = found.descriptor.platform
        offered.append(str(platform) if platform is not None else "an unknown platform")
        if (platform is None or platform.os in _LINUX) and _is_whole(archive, found.manifest):
            present.append(found)
    if not present:
        text = shown(", ".join(offered[:8])) or "nothing"
        raise InvalidArgument(f"the archive has no image for {host_platform()}, only for: {text}")
    best = ranked([found.descriptor for found in present], wanted(None, host_platform()))
    chosen = best[0].digest if best else present[0].descriptor.digest
    return sorted(present, key=lambda found: found.descriptor.digest == chosen)


def _document(archive: "Archive", top: Descriptor, entry: Descriptor) -> bytes | None:
    """A document below the index `top`, None when it is not in the archive."""
    if entry.digest != top.digest and _member(entry) not in archive:
        return None
    return _blob(archive, entry)


def _is_whole(archive: "Archive", manifest: Manifest) -> bool:
    return all(_member(entry) in archive for entry in (manifest.config, *manifest.layers))


def _member(descriptor: Descriptor) -> str:
    return f"blobs/sha256/{descriptor.digest[7:]}"


def _blob(archive: "Archive", descriptor: Descriptor) -> bytes:
    """A document of the archive, its size and digest verified."""
    data = archive.read(_member(descriptor), DOCUMENT_MAX)
    if len(data) != descriptor.size:
        raise Corrupt(f"blob {descriptor.digest} has {len(data)} bytes where {descriptor.size} were stated")
    actual = "sha256:" + hashlib.sha256(data).hexdigest()
    if actual != descriptor.digest:
        raise Corrupt(f"blob {descriptor.digest} does not match its digest: its bytes hash to {actual}")
    return data


def _layers(archive: "Archive", manifest: Manifest, config: bytes) -> list[Source]:
    ids = diff_ids(parse_config(config))
    if len(ids) != len(manifest.layers):
        raise Corrupt(
            f"image {manifest.config.digest} lists {len(ids)} diff_ids for {len(manifest.layers)} layers"
        )
    sources = []
    for diff_id, layer in zip(ids, manifest.layers, strict=True):
        section = archive.section(_member(layer))
        if section.size != layer.size:
            raise Corrupt(f"blob {layer.digest} has {section.size} bytes where {layer.size} were stated")
        sources.append(Source(section, Expected(diff_id, layer.digest, layer.media_type, layer.size)))
    return sources
