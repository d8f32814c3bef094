"""What refers to a manifest: signatures, SBOMs (distribution-spec, "Listing Referrers", "Referrers Tag Schema").

A registry that knows the API keeps the list itself. For others the list is an index under the tag `sha256-<hex>`, which
whoever pushes a manifest with a `subject` adds to.
"""

from __future__ import annotations

from tiffin.errors import Corrupt
from tiffin.oci.descriptor import (
    DOCUMENT_MAX,
    ENTRIES_MAX,
    INDEX,
    Descriptor,
    Index,
    decode_json,
    encode_json,
    parse_descriptor,
    parse_document,
)
from tiffin.oci.digest import sha256
from tiffin.typed import Any


def tag_of(digest: str) -> str:
    """The tag under which the referrers of `digest` are listed where there is no API."""
    return digest.replace(":", "-", 1)


def listed(document: dict[str, Any], what: str) -> list[Descriptor]:
    """The descriptors of one page of an answer. Raises Corrupt."""
    items = document.get("manifests")
    if not isinstance(items, list) or len(items) > ENTRIES_MAX:
        raise Corrupt(f"{what} is not an index of at most {ENTRIES_MAX} manifests")
    return [parse_descriptor(item, f"manifests[{n}] of {what}") for n, item in enumerate(items)]


def listed_by_tag(data: bytes, what: str) -> list[Descriptor]:
    """The descriptors of the index under the tag. Raises Corrupt for anything else."""
    found = parse_document(data, what=what)
    if not isinstance(found, Index):
        raise Corrupt(f"{what} is not an index")
    return list(found.manifests)


def subject_of(data: bytes) -> str:
    """The digest of what a manifest refers to; "" when it refers to nothing that can be listed."""
    if b'"subject"' not in data:
        return ""
    document = decode_json(data, "manifest")
    if not isinstance(document, dict) or not isinstance(document.get("subject"), dict):
        return ""
    return parse_descriptor(document["subject"], "subject of the manifest").digest


def extended(index: bytes, manifest: bytes, media_type: str) -> bytes:
    """The index under the tag (b"" when there is none) with one more manifest in it; the same bytes when it is
    listed already."""
    document: dict[str, Any] = {"schemaVersion": 2, "mediaType": INDEX, "manifests": []}
    if index:
        listed_by_tag(index, "the index of referrers")
        document = decode_json(index, "the index of referrers", DOCUMENT_MAX)
    entry = _entry(manifest, media_type)
    if any(known.get("digest") == entry["digest"] for known in document["manifests"]):
        return index
    document["manifests"].append(entry)
    return encode_json(document)


def _entry(manifest: bytes, media_type: str) -> dict[str, Any]:
    document = decode_json(manifest, "manifest")
    found = Descriptor(media_type, f"sha256:{sha256(manifest)}", len(manifest)).document()
    config = document.get("config")
    kind = document.get("artifactType") or (config.get("mediaType") if isinstance(config, dict) else "")
    if isinstance(kind, str) and kind:
        found["artifactType"] = kind
    if isinstance(document.get("annotations"), dict):
        found["annotations"] = document["annotations"]
    return found
