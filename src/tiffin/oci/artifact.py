"""Manifests as a registry takes them: of images and of anything else (image-spec: manifest.md, image-index.md).

`oci.descriptor` reads what is to be run, and refuses what it does not know. Here a config or layer may be of any
media type; what counts is which blobs and manifests a document leads to.
"""

from tiffin.errors import Corrupt, LimitExceeded, Unsupported
from tiffin.oci.descriptor import (
    ENTRIES_MAX,
    FOREIGN_LAYERS,
    INDEX,
    INDEXES,
    LAYERS_MAX,
    MANIFEST,
    MANIFESTS,
    Descriptor,
    decode_json,
    parse_descriptor,
)
from tiffin.typed import Any, NamedTuple

_TYPE_MAX = 255
_ANNOTATIONS_MAX = 1000


class Artifact(NamedTuple):
    """A manifest or index. `blobs` are config and layers, `manifests` what an index lists, `subject` the digest of what
    it refers to ("" for nothing). `artifact_type` is as the list of referrers states it."""

    media_type: str
    artifact_type: str
    subject: str
    annotations: dict[str, str]
    blobs: tuple[Descriptor, ...]
    manifests: tuple[Descriptor, ...]


def parse_artifact(data: bytes, media_type: str = "", what: str = "manifest") -> Artifact:
    """The checked links of a manifest or an index, whose own `mediaType`, where it has one, must be `media_type`,
    where that is given. What is both is refused (T10). Raises Corrupt, LimitExceeded, Unsupported."""
    document = decode_json(data, what)
    if not isinstance(document, dict):
        raise Corrupt(f"{what} is not a JSON object")
    if document.get("schemaVersion") != 2:
        raise Unsupported(f"{what} is not of schema version 2; Docker's version 1 is no longer taken")
    is_index = "manifests" in document
    if is_index and ("layers" in document or "config" in document):
        raise Corrupt(f"{what} claims to be both an image and an index")
    stated = document.get("mediaType") or media_type or (INDEX if is_index else MANIFEST)
    if media_type and stated != media_type:
        raise Corrupt(f"{what} says that it is {str(stated)[:80]!r} but was sent as {media_type[:80]!r}")
    if not isinstance(stated, str) or stated not in (INDEXES if is_index else MANIFESTS):
        raise Unsupported(f"{what} has media type {str(stated)[:80]!r}; an OCI or Docker manifest is wanted")
    subject = document.get("subject")
    found = Artifact(
        stated,
        _artifact_type(document.get("artifactType"), what),
        parse_descriptor(subject, f"subject of {what}").digest if subject is not None else "",
        _annotations(document.get("annotations"), what),
        (),
        (),
    )
    if is_index:
        return found._replace(manifests=_descriptors(document, "manifests", ENTRIES_MAX, what))
    config = parse_descriptor(document.get("config"), f"config of {what}")
    layers = _descriptors(document, "layers", LAYERS_MAX, what)
    return found._replace(artifact_type=found.artifact_type or config.media_type, blobs=(config, *layers))


def is_foreign(layer: Descriptor) -> bool:
    """Whether a registry need not hold this layer: its media type says that its bytes are got elsewhere."""
    return layer.media_type in FOREIGN_LAYERS


def _descriptors(document: dict[str, Any], key: str, limit: int, what: str) -> tuple[Descriptor, ...]:
    items = document.get(key) or []
    if not isinstance(items, list):
        raise Corrupt(f"{what} has no list of {key}")
    if len(items) > limit:
        raise LimitExceeded(f"{what} lists {len(items)} {key}; {limit} at most")
    return tuple(parse_descriptor(item, f"{key}[{n}] of {what}") for n, item in enumerate(items))


def _artifact_type(value: Any, what: str) -> str:
    if value is None:
        return ""
    if not isinstance(value, str) or len(value) > _TYPE_MAX:
        raise Corrupt(f"{what} has a malformed artifact type")
    return value


def _annotations(value: Any, what: str) -> dict[str, str]:
    found = {} if value is None else value
    if not isinstance(found, dict) or not all(isinstance(text, str) for text in found.values()):
        raise Corrupt(f"{what} has malformed annotations")
    if len(found) > _ANNOTATIONS_MAX:
        raise LimitExceeded(f"{what} has {len(found)} annotations; {_ANNOTATIONS_MAX} at most")
    return found
