"""Images in a registry, looked at and listed without fetching their layers."""

from tiffin.errors import Corrupt, NotFound, PermissionDenied, TiffinError, TransferError, Unauthorized
from tiffin.images.copy import copy_manifest
from tiffin.images.manifest_lists import ListEntry
from tiffin.images.push import gather, has_manifest
from tiffin.images.records import find_image
from tiffin.images.send import Document, send_blobs, send_documents
from tiffin.oci.descriptor import (
    DOCUMENT_MAX,
    Descriptor,
    Index,
    Manifest,
    decode_json,
    parse_document,
)
from tiffin.oci.digest import sha256
from tiffin.oci.image import parse_config
from tiffin.oci.platform import Platform, host_platform, normal
from tiffin.oci.reference import parse_reference
from tiffin.typed import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from tiffin.images.manifest_lists import ManifestList
    from tiffin.images.send import Pushed
    from tiffin.images.service import Images
    from tiffin.images.transfer import Report
    from tiffin.oci.reference import Reference
    from tiffin.registry.client import Registry, Repository


class RemoteDocument(NamedTuple):
    """A manifest or index as the registry has it."""

    descriptor: Descriptor
    data: bytes
    parsed: Manifest | Index


class RemoteImage(NamedTuple):
    """An image without its layers: of what the name leads to on one platform."""

    reference: "Reference"
    target: Descriptor  # what the name stands for
    manifest: RemoteDocument
    config_digest: str
    config: dict[str, Any]

    @property
    def size(self) -> int:
        """Bytes of its compressed layers: a registry knows no others."""
        parsed = self.manifest.parsed
        return sum(layer.size for layer in parsed.layers) if isinstance(parsed, Manifest) else 0


def fetch_document(registry: "Registry", reference: "Reference") -> RemoteDocument:
    """What a reference stands for. Raises NotFound and the errors of the client."""
    found = registry.repository(reference.name).manifest(reference.digest or reference.tag)
    return _document(found.descriptor, found.data)


def _document(descriptor: Descriptor, data: bytes) -> RemoteDocument:
    parsed = parse_document(data, descriptor.media_type)
    return RemoteDocument(descriptor._replace(media_type=parsed.media_type), data, parsed)


def fetch_image(
    registry: "Registry", reference: "Reference", platform: Platform | None = None
) -> RemoteImage:
    """The image that a reference means on `platform`, this machine's if None. Raises NotFound."""
    top = fetch_document(registry, reference)
    document = top
    if isinstance(top.parsed, Index):
        entry = _choose(top.parsed, platform or host_platform(), reference)
        found = registry.repository(reference.name).manifest(entry.digest)
        document = _document(found.descriptor._replace(platform=entry.platform), found.data)
    if not isinstance(document.parsed, Manifest):
        raise NotFound(f"{reference.familiar()} leads to an index within an index: name its image by digest")
    digest, config = fetch_config(registry.repository(reference.name), document.parsed)
    return RemoteImage(reference, top.descriptor, document, digest, config)


def _choose(index: Index, platform: Platform, reference: "Reference") -> Descriptor:
    offered = [entry for entry in index.manifests if entry.platform is not None]
    for entry in offered:
        if entry.platform is not None and normal(entry.platform) == normal(platform):
            return entry
    platforms = ", ".join(dict.fromkeys(str(entry.platform) for entry in offered)) or "none"
    raise NotFound(f"no matching manifest for {platform} in {reference.familiar()}, only for: {platforms}")


def fetch_config(repository: "Repository", manifest: Manifest) -> tuple[str, dict[str, Any]]:
    """The config of an image, by digest. Raises Corrupt, LimitExceeded."""
    descriptor = manifest.config
    if descriptor.size > DOCUMENT_MAX:
        raise Corrupt(f"config {descriptor.digest} has more than {DOCUMENT_MAX} bytes")
    parts = []
    with repository.open_blob(descriptor) as stream:
        while data := stream.read(DOCUMENT_MAX):
            parts.append(data)
    data = b"".join(parts)
    if f"sha256:{sha256(data)}" != descriptor.digest:
        raise Corrupt(f"config {descriptor.digest} of {repository.name} does not match its digest")
    return descriptor.digest, parse_config(data)


# -- what manifest lists are made of
# ------------------------------------------------------------------------------------------------


def list_entries(images: "Images", registry: "Registry", text: str) -> list[ListEntry]:
    """What `text` adds to a manifest list: the image, or everything in the index, of that name in its registry; an
    image of that name in the store where no registry has it. Raises NotFound in Docker's words."""
    reference = parse_reference(text)
    try:
        document = fetch_document(registry, reference)
    except (NotFound, PermissionDenied, Unauthorized, TransferError) as error:
        # Docker Hub denies what does not exist; and what is here can be listed without a network.
        return [_local_entry(images, text, reference, error)]
    if isinstance(document.parsed, Index):
        return [ListEntry(str(reference), reference.name, entry) for entry in document.parsed.manifests]
    assert isinstance(document.parsed, Manifest)  # _document refuses all else
    _, config = fetch_config(registry.repository(reference.name), document.parsed)
    return [_with_config(ListEntry(str(reference), reference.name, document.descriptor), config)]


def _local_entry(images: "Images", text: str, reference: "Reference", error: TiffinError) -> ListEntry:
    try:
        image = find_image(images.store.db, text)
    except NotFound:
        if not isinstance(error, NotFound):
            raise error from None
        raise NotFound(f"no such manifest: {reference.familiar()}") from error
    size = images.content.size(image.manifest)
    descriptor = Descriptor(image.media_type, image.manifest, size)
    return _with_config(ListEntry(str(reference), "", descriptor), image.config)


def _with_config(entry: ListEntry, config: dict[str, Any]) -> ListEntry:
    """With the platform that the image's config states, in its words."""
    stated = Platform(*(str(config.get(key) or "")[:64] for key in ("os", "architecture", "variant")))
    found = config.get("os.features")
    features = found if isinstance(found, list) else []
    return entry._replace(
        descriptor=entry.descriptor._replace(platform=stated),
        os_version=str(config.get("os.version") or "")[:128],
        os_features=tuple(str(feature)[:128] for feature in features[:32] if isinstance(feature, str)),
    )


def push_list(
    images: "Images", registry: "Registry", made: "ManifestList", report: "Report", uploads: int
) -> "Pushed":
    """Send a list, and before it whatever of what it lists is not in its repository: blobs are mounted where they lie
    in the same registry and carried over else. Raises NotFound when an image is gone from where it was."""
    reference = parse_reference(made.name)
    repository = registry.repository(reference.name)
    for entry in made.entries:
        if not has_manifest(repository, entry.descriptor.digest):
            _send_entry(images, registry, entry, reference, report, uploads)
    data, media_type = made.encode()
    descriptor = Descriptor(media_type, f"sha256:{sha256(data)}", len(data))
    return send_documents(repository, [Document(descriptor, data)], reference.tag)


def _send_entry(
    images: "Images",
    registry: "Registry",
    entry: ListEntry,
    reference: "Reference",
    report: "Report",
    uploads: int,
) -> None:
    repository = registry.repository(reference.name)
    if not entry.repository:
        with images.store.adding():
            plan = gather(images, entry.descriptor, reference, registry)
            send_blobs(repository, plan.blobs.values(), report, uploads)
            send_documents(repository, plan.documents, "")
        return
    copy_manifest(registry, entry.repository, entry.descriptor, reference, report, uploads)


def described(document: RemoteDocument, reference: str) -> dict[str, Any]:
    """The entry of `manifest inspect --verbose`: what it is, and the whole of it."""
    member = "OCIManifest" if "oci" in document.descriptor.media_type else "SchemaV2Manifest"
    return {
        "Ref": reference,
        "Descriptor": document.descriptor.document(),
        member: decode_json(document.data, f"manifest {document.descriptor.digest}"),
    }
