"""Descriptors, manifests and indexes (image-spec: descriptor.md, manifest.md, image-index.md).

Documents come from outside and are believed in nothing: each is bounded, of one kind only, and every digest
that may become part of a path has been checked when it leaves this module.
"""

from tiffin.errors import Corrupt, InvalidArgument, LimitExceeded, Unsupported
from tiffin.jsontext import dumps, loads
from tiffin.oci.digest import check_digest
from tiffin.oci.platform import Platform
from tiffin.typed import Any, NamedTuple

INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
LAYER_GZIP = "application/vnd.oci.image.layer.v1.tar+gzip"
LAYER_ZSTD = "application/vnd.oci.image.layer.v1.tar+zstd"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER_GZIP = "application/vnd.docker.image.rootfs.diff.tar.gzip"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar"

DOCKER_FOREIGN_GZIP = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
DOCKER_FOREIGN = "application/vnd.docker.image.rootfs.foreign.diff.tar"
NONDISTRIBUTABLE = "application/vnd.oci.image.layer.nondistributable.v1.tar"

INDEXES = frozenset({INDEX, DOCKER_LIST})
MANIFESTS = frozenset({MANIFEST, DOCKER_MANIFEST})
CONFIGS = frozenset({CONFIG, DOCKER_CONFIG})
# Layers that a registry need not hold: they come from where their descriptors' `urls` say.
FOREIGN_LAYERS = frozenset(
    {
        DOCKER_FOREIGN,
        DOCKER_FOREIGN_GZIP,
        NONDISTRIBUTABLE,
        f"{NONDISTRIBUTABLE}+gzip",
        f"{NONDISTRIBUTABLE}+zstd",
    }
)
LAYERS = frozenset({LAYER, LAYER_GZIP, LAYER_ZSTD, DOCKER_LAYER, DOCKER_LAYER_GZIP}) | FOREIGN_LAYERS
_SCHEMA_1 = frozenset(
    {
        "application/vnd.docker.distribution.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.v1+prettyjws",
    }
)

REF_NAME = "org.opencontainers.image.ref.name"
IMAGE_NAME = "io.containerd.image.name"

DOCUMENT_MAX = 4 << 20  # bytes of one manifest, index or config
LAYERS_MAX = 500  # overlayfs takes no more lower directories than this
ENTRIES_MAX = 1000  # manifests in one index
_URLS_MAX = 16
_SIZE_MAX = 1 << 50


class Descriptor(NamedTuple):
    """What names a blob: its media type, digest and size in bytes."""

    media_type: str
    digest: str
    size: int
    annotations: dict[str, str] = {}  # shared and never written to
    platform: Platform | None = None
    urls: tuple[str, ...] = ()  # where else its bytes may be had

    def document(self) -> dict[str, Any]:
        """The JSON form."""
        found: dict[str, Any] = {"mediaType": self.media_type, "digest": self.digest, "size": self.size}
        if self.urls:
            found["urls"] = list(self.urls)
        if self.annotations:
            found["annotations"] = dict(self.annotations)
        if self.platform is not None:
            found["platform"] = {"architecture": self.platform.architecture, "os": self.platform.os}
            if self.platform.variant:
                found["platform"]["variant"] = self.platform.variant
        return found


class Manifest(NamedTuple):
    """An image manifest: its config and its layers, bottom first."""

    media_type: str
    config: Descriptor
    layers: tuple[Descriptor, ...]


class Index(NamedTuple):
    """An image index: manifests, or further indexes."""

    media_type: str
    manifests: tuple[Descriptor, ...]


def decode_json(data: bytes, what: str, limit: int = DOCUMENT_MAX) -> Any:
    """The value of a bounded UTF-8 JSON text. Raises LimitExceeded, Corrupt."""
    if len(data) > limit:
        raise LimitExceeded(f"{what} has more than {limit} bytes")
    try:
        return loads(data.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise Corrupt(f"{what} is not valid JSON: {error}") from error


def encode_json(document: Any) -> bytes:
    """Compact JSON with the keys in the order given: the same document always has the same digest."""
    return dumps(document, separators=(",", ":"), ensure_ascii=False).encode("utf-8")


def parse_document(data: bytes, media_type: str = "", what: str = "manifest") -> Manifest | Index:
    """A manifest or an index, by its `mediaType`, else by the descriptor's `media_type`, else by its shape.
    Both `layers` and `manifests`, or a shape other than the media type says, is refused (T10).
    Raises Corrupt, LimitExceeded, Unsupported."""
    document = _mapping(decode_json(data, what), what)
    if ("manifests" in document) and ("layers" in document or "config" in document):
        raise Corrupt(f"{what} claims to be both an image and an index")
    if media_type in _SCHEMA_1 or document.get("schemaVersion") == 1:
        raise Unsupported(
            f"{what} is in Docker's schema 1, which carries no digests of what it runs: push the image anew with a "
            "current tool, which writes schema 2"
        )
    is_index = "manifests" in document
    stated = document.get("mediaType", "") or media_type or (INDEX if is_index else MANIFEST)
    if media_type and stated != media_type:
        raise Corrupt(f"{what} says that it is {str(stated)[:80]!r} but was named as {media_type!r}")
    if not isinstance(stated, str) or stated not in INDEXES | MANIFESTS:
        raise Unsupported(f"{what} has media type {str(stated)[:80]!r}; an OCI or Docker image is wanted")
    if (stated in INDEXES) != is_index:
        raise Corrupt(f"{what} does not have the shape that its media type {stated!r} says")
    if document.get("schemaVersion", 2) != 2:
        raise Unsupported(
            f"{what} has schema version {str(document['schemaVersion'])[:20]}; version 2 is wanted"
        )
    if is_index:
        return Index(stated, _descriptors(document, "manifests", ENTRIES_MAX, what))
    config = parse_descriptor(document.get("config"), f"config of {what}")
    if config.media_type not in CONFIGS:
        raise Unsupported(f"{what} carries {config.media_type[:80]!r}, not a container image")
    layers = _descriptors(document, "layers", LAYERS_MAX, what)
    for layer in layers:
        if layer.media_type not in LAYERS:
            raise Unsupported(
                f"{what} has a layer of media type {layer.media_type[:80]!r}, which is not known"
            )
    return Manifest(stated, config, layers)


def parse_descriptor(document: Any, what: str) -> Descriptor:
    """A checked descriptor. Raises Corrupt."""
    found = _mapping(document, what)
    media_type, size = found.get("mediaType"), found.get("size")
    if not isinstance(media_type, str) or not 0 < len(media_type) <= 255:
        raise Corrupt(f"{what} has no media type")
    if type(size) is not int or not 0 <= size < _SIZE_MAX:
        raise Corrupt(f"{what} has no valid size")
    try:
        digest = check_digest(found.get("digest"), f"digest in {what}")
    except InvalidArgument as error:
        raise Corrupt(str(error)) from error
    annotations = found.get("annotations") or {}
    if not isinstance(annotations, dict) or not all(isinstance(v, str) for v in annotations.values()):
        raise Corrupt(f"{what} has malformed annotations")
    urls = found.get("urls") or []
    if not isinstance(urls, list) or not all(isinstance(url, str) for url in urls) or len(urls) > _URLS_MAX:
        raise Corrupt(f"{what} has malformed urls")
    return Descriptor(
        media_type, digest, size, annotations, _platform(found.get("platform"), what), tuple(urls)
    )


def _platform(document: Any, what: str) -> Platform | None:
    if document is None:
        return None
    found = _mapping(document, f"platform of {what}")
    parts = [found.get("os", ""), found.get("architecture", ""), found.get("variant", "")]
    if not all(isinstance(part, str) and len(part) <= 64 for part in parts):
        raise Corrupt(f"{what} has a malformed platform")
    return Platform(*parts)


def _descriptors(document: dict[str, Any], key: str, limit: int, what: str) -> tuple[Descriptor, ...]:
    items = document.get(key)
    if not isinstance(items, list):
        raise Corrupt(f"{what} has no list of {key}")
    if len(items) > limit:
        raise LimitExceeded(f"{what} lists {len(items)} {key}; {limit} at most")
    return tuple(parse_descriptor(item, f"{key}[{n}] of {what}") for n, item in enumerate(items))


def _mapping(document: Any, what: str) -> dict[str, Any]:
    if not isinstance(document, dict):
        raise Corrupt(f"{what} is not a JSON object")
    return document
