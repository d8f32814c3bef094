"""push: what a name stands for, sent to where the name says.

    plan        the documents below the name, children before their parents, and every blob that they name
    blobs       several at once: asked for, mounted from a repository next door, or sent as they lie in the store
    documents   once all of that is there: the manifests by digest, the top one under its tag
    record      who has what now: for the next push to mount from, and for RepoDigests

Documents go as they are stored, to the byte, so digests stay. The plan is made and the record written in the store's
own thread; what is between touches only files and the network.
"""

from tiffin.errors import Conflict, InvalidArgument, NotFound
from tiffin.images.blobs import LayerSource
from tiffin.images.copy import copy_manifest, manifest_parts
from tiffin.images.names import add_digest
from tiffin.images.origins import layer_by_blob, origins_of, record_origins
from tiffin.images.send import Blob, Document, Pushed, Source, send_blobs, send_documents
from tiffin.images.transfer import TransferEvent, one_at_a_time
from tiffin.oci.descriptor import (
    DOCUMENT_MAX,
    FOREIGN_LAYERS,
    INDEXES,
    Descriptor,
    Index,
    parse_document,
)
from tiffin.oci.image import platform as platform_of
from tiffin.oci.platform import normal
from tiffin.oci.reference import parse_reference
from tiffin.typed import TYPE_CHECKING, BinaryIO, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tiffin.images.blobs import Repositories
    from tiffin.images.service import Images
    from tiffin.images.transfer import Report
    from tiffin.oci.platform import Platform
    from tiffin.oci.reference import Reference
    from tiffin.registry.client import Registry, Repository

UPLOADS = 5
_MOUNTS_MAX = 3  # repositories that a blob is asked to be mounted from
_DEPTH_MAX = 4


class Plan(NamedTuple):
    """Documents, children before their parents and the one that is named last; blobs by digest; `missing`: entries
    of indexes that are not here whole; `images`: the IDs of those that are."""

    documents: list[Document]
    blobs: dict[str, Blob]
    missing: list[Descriptor]
    images: list[str]


def push_image(
    images: "Images",
    registry: "Registry",
    name: str,
    report: "Report | None" = None,
    *,
    platform: "Platform | None" = None,
    uploads: int = UPLOADS,
) -> Pushed:
    """See `Images.push`. With `platform`, of an index only the image for it. Raises NotFound in Docker's words."""
    reference = parse_reference(name)
    tell = one_at_a_time(report)
    if reference.digest:
        raise InvalidArgument(f"cannot push a digest reference: {reference.familiar()}; push it under a tag")
    tell(TransferEvent(f"The push refers to repository [{reference.name}]"))
    repository = registry.repository(reference.name)
    with images.store.adding():  # nothing that is being sent is collected or dropped
        plan = _plan(images, registry, reference, repository, platform, tell, uploads)
        send_blobs(repository, plan.blobs.values(), tell, uploads)
        pushed = send_documents(repository, plan.documents, reference.tag)
        with images.store.transaction() as db:
            record_origins(db, reference.name, plan.blobs)
            for image in plan.images:
                add_digest(db, reference.name, pushed.digest, image)
    tell(TransferEvent(f"{reference.tag}: digest: {pushed.digest} size: {pushed.size}"))
    return pushed


def tags_here(images: "Images", name: str) -> list[str]:
    """The tags, as full names, that a repository has here. Raises InvalidArgument, NotFound in Docker's words."""
    reference = parse_reference(name)
    if reference.digest or name.rpartition("/")[2].count(":"):
        raise InvalidArgument(f"tag can't be used with --all-tags/-a: name the repository alone, not {name}")
    query = "SELECT name FROM image_names WHERE name GLOB ? ORDER BY name"
    names = [row[0] for row in images.store.db.execute(query, (f"{reference.name}:*",))]
    if not names:
        raise _no_such_tag(reference)
    return names


def _no_such_tag(reference: "Reference") -> NotFound:
    return NotFound(f"An image does not exist locally with the tag: {reference.familiar_name()}")


# -- the plan
# ------------------------------------------------------------------------------------------------


def _plan(
    images: "Images",
    registry: "Registry",
    reference: "Reference",
    repository: "Repository",
    platform: "Platform | None",
    tell: "Report",
    uploads: int,
) -> Plan:
    top = _target(images, reference)
    plan = gather(images, top, reference, registry)
    if platform is not None:
        return gather(images, _for_platform(images, plan, top, platform, reference), reference, registry)
    absent = [entry for entry in plan.missing if not has_manifest(repository, entry.digest)]
    if absent and (near := _near(images, top, reference)):
        for entry in absent:
            copy_manifest(registry, near, entry, reference, tell, uploads)
        return plan
    if not absent:
        return plan
    if len(plan.images) != 1:
        raise Conflict(_incomplete(reference, absent))
    alone = next(
        document.descriptor for document in plan.documents if document.descriptor.media_type not in INDEXES
    )
    tell(TransferEvent(f"Info: of {reference.familiar()} only {_platform_text(images, plan.images[0])} is here, and "
                       f"only that is pushed: {top.digest} -> {alone.digest}"))  # fmt: skip
    return gather(images, alone, reference, registry)


def _near(images: "Images", index: Descriptor, reference: "Reference") -> str:
    """Another repository of the same registry that has the whole index, "" for none: what is not here can be mounted
    from there."""
    query = "SELECT repository FROM image_digests WHERE digest = ? AND repository <> ? ORDER BY repository"
    for (name,) in images.store.db.execute(query, (index.digest, reference.name)):
        if name.partition("/")[0] == reference.registry:
            return str(name)
    return ""


def _incomplete(reference: "Reference", absent: "Sequence[Descriptor]") -> str:
    platforms = ", ".join(dict.fromkeys(str(entry.platform or entry.digest) for entry in absent))
    return (
        f"{reference.familiar()} is not here whole: {platforms} is missing; pull that with --platform, or push one "
        "platform with --platform"
    )


def has_manifest(repository: "Repository", digest: str) -> bool:
    """Whether the manifest or index is there."""
    try:
        repository.resolve(digest)
    except NotFound:
        return False
    return True


def _target(images: "Images", reference: "Reference") -> Descriptor:
    """What the name stands for: the manifest of an image, or the index that it was pulled or made with."""
    row = images.store.db.execute(_TARGET, (str(reference),)).fetchone()
    if row is None:
        others = "SELECT 1 FROM image_names WHERE name GLOB ?"
        if images.store.db.execute(others, (f"{reference.name}:*",)).fetchone():
            raise NotFound(f"tag does not exist: {reference.familiar()}")
        raise _no_such_tag(reference)
    index, manifest, media_type, size, index_type, index_size = row
    if index and index != manifest and index_type:
        return Descriptor(index_type, index, index_size)
    return Descriptor(media_type, manifest, size)


_TARGET = """SELECT n.target, i.manifest, i.media_type, i.manifest_size, x.media_type, x.size FROM image_names n
    JOIN images i ON i.id = n.image LEFT JOIN indexes x ON x.digest = n.target WHERE n.name = ?"""


def _for_platform(
    images: "Images", plan: Plan, top: Descriptor, platform: "Platform", reference: "Reference"
) -> Descriptor:
    """The one image of the plan for this platform."""
    wanted = normal(platform)
    for document in plan.documents:
        descriptor = document.descriptor
        if descriptor.media_type in INDEXES:
            continue
        found = descriptor.platform
        if found is None or descriptor.digest == top.digest:
            image = images.store.db.execute(
                "SELECT id FROM images WHERE manifest = ?", (descriptor.digest,)
            ).fetchone()
            found = platform_of(images.by_id(image[0]).config) if image else None
        if found is not None and normal(found) == wanted:
            return descriptor
    raise NotFound(f"{reference.familiar()} is not here for {platform}: pull it with --platform {platform}")


def _platform_text(images: "Images", image: str) -> str:
    return str(platform_of(images.by_id(image).config))


def gather(
    images: "Images", top: Descriptor, reference: "Reference", registry: "Repositories | None" = None
) -> Plan:
    """The plan for sending `top` to the repository of `reference`."""
    plan = Plan([], {}, [], [])
    _add(images, plan, top, reference, registry, 0)
    return plan


def _add(
    images: "Images",
    plan: Plan,
    entry: Descriptor,
    reference: "Reference",
    registry: "Repositories | None",
    depth: int,
) -> None:
    if any(document.descriptor.digest == entry.digest for document in plan.documents):
        return
    data = images.content.read_bytes(entry.digest, DOCUMENT_MAX)
    if entry.media_type in INDEXES and depth < _DEPTH_MAX:
        index = parse_document(data, entry.media_type)
        for below in index.manifests if isinstance(index, Index) else ():
            if (
                images.content.exists(below.digest)
                and _blobs_of(images, below, reference, registry) is not None
            ):
                _add(images, plan, below, reference, registry, depth + 1)
            else:
                plan.missing.append(below)
    else:
        blobs = _blobs_of(images, entry, reference, registry)
        if blobs is None:
            raise NotFound(f"the image of manifest {entry.digest} is not here whole: pull or load it again")
        plan.blobs.update({blob.descriptor.digest: blob for blob in blobs})
        plan.images.extend(_image_of(images, entry.digest))
    plan.documents.append(Document(entry, data))


def _image_of(images: "Images", manifest: str) -> list[str]:
    query = "SELECT id FROM images WHERE manifest = ? AND NOT removed"
    return [row[0] for row in images.store.db.execute(query, (manifest,))]


def _blobs_of(
    images: "Images", entry: Descriptor, reference: "Reference", registry: "Repositories | None"
) -> list[Blob] | None:
    """The config and layers of a stored manifest; None when one of them is not to be had. An index counts as here."""
    if entry.media_type in INDEXES:
        return []
    config, layers = manifest_parts(images.content.read_bytes(entry.digest, DOCUMENT_MAX), entry.digest)
    found = []
    for descriptor in (config, *layers):
        if descriptor.media_type in FOREIGN_LAYERS:  # a registry need not hold them
            continue
        layer = None
        if not images.content.exists(descriptor.digest):
            layer = layer_by_blob(images.store.db, descriptor.digest)
            if layer is None:
                return None
        source: Source = _Stored(images, descriptor.digest)
        if layer is not None:
            source = LayerSource(images, layer, registry)
        mounts = _mounts(images, descriptor.digest, reference)
        found.append(Blob(descriptor, source, mounts, descriptor is not config))
    return found


def _mounts(images: "Images", blob: str, reference: "Reference") -> tuple[str, ...]:
    """Other repositories of the same registry that are known to have a blob; a few."""
    beside = [
        name
        for name in origins_of(images.store.db, blob)
        if name != reference.name and name.partition("/")[0] == reference.registry
    ]
    return tuple(beside[:_MOUNTS_MAX])


class _Stored:
    """A blob that lies in the store."""

    def __init__(self, images: "Images", digest: str) -> None:
        self._content, self._digest = images.content, digest

    def open(self, offset: int = 0) -> BinaryIO:
        file = self._content.open(self._digest)
        if offset:
            file.seek(offset)
        return file

    def close(self) -> None:
        """Holds nothing."""
