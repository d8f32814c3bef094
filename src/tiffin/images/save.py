"""Images into archives that the other tools read.

One tar holds an OCI image layout (oci-layout, index.json, blobs) and, over the same blobs, the
manifest.json of a docker-archive. It is written in one pass, to a pipe too: sizes are known beforehand.
The documents come last, as a reader that streams wants its blobs first and one that does not is indifferent.
"""

from tiffin.errors import InvalidArgument, NotFound
from tiffin.images.indexes import all_manifests, wanted
from tiffin.images.names import target_of
from tiffin.images.pack import Packer, TarSink, docker_entry
from tiffin.images.records import find_image, is_id, layers_of
from tiffin.oci.descriptor import DOCUMENT_MAX, Descriptor
from tiffin.oci.platform import host_platform
from tiffin.oci.reference import parse_reference
from tiffin.typed import TYPE_CHECKING, Any, BinaryIO, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tiffin.images.blobs import Repositories
    from tiffin.images.indexes import Found
    from tiffin.images.records import Image
    from tiffin.images.service import Images
    from tiffin.oci.platform import Platform

FORMS = ("", "oci-archive", "docker-archive")


def save_archive(
    images: "Images",
    texts: "Sequence[str]",
    out: BinaryIO,
    form: str,
    registry: "Repositories | None" = None,
    platform: "Platform | None" = None,
) -> None:
    """See `Images.save`. Nothing is written before every image has been found."""
    if form not in FORMS:
        raise InvalidArgument(f"unknown archive format {form!r}: want oci-archive or docker-archive")
    if not texts:
        raise InvalidArgument("name at least one image to save")
    with images.store.adding():  # holds what is being read
        _write(images, _select(images, texts, platform), out, form, registry)


def _select(
    images: "Images", texts: "Sequence[str]", platform: "Platform | None"
) -> "list[tuple[Image, list[str]]]":
    """The images meant, those for `platform` where names stand for several, each once, with the names to save it
    under: the one given; for a repository without a tag, all that it has, as Docker does; none for an ID."""
    chosen: dict[str, tuple[Image, list[str]]] = {}
    for text in texts:
        found = _repository(images, text, platform) or [(find_image(images.store.db, text, platform), text)]
        for image, name in found:
            _, names = chosen.setdefault(image.id, (image, []))
            full = "" if is_id(image.id, name) else str(parse_reference(name))
            if full and full not in names:
                names.append(full)
    return list(chosen.values())


def _repository(images: "Images", text: str, platform: "Platform | None") -> "list[tuple[Image, str]]":
    try:
        reference = parse_reference(text)
    except InvalidArgument:
        return []
    if reference.digest or text.rpartition("/")[2].count(":"):
        return []
    query = "SELECT name FROM image_names WHERE name GLOB ? ORDER BY name"
    names = [name for (name,) in images.store.db.execute(query, (f"{reference.name}:*",))]
    return [(find_image(images.store.db, name, platform), name) for name in names]


def _write(
    images: "Images",
    chosen: "list[tuple[Image, list[str]]]",
    out: BinaryIO,
    form: str,
    registry: "Repositories | None",
) -> None:
    packer = Packer(images, TarSink(out), registry)
    whole = [_entries(images, *one) for one in chosen] if form != "docker-archive" else []
    further = [image for entries in whole for image in entries.images]
    for image in (*further, *(image for image, _ in chosen)):
        for layer in layers_of(images.store.db, image.id):
            packer.layer(layer)
        packer.stored(image.id)
        if form != "docker-archive":
            packer.stored(image.manifest)
    for entries in whole:
        for index in entries.indexes:
            packer.stored(index)
    rows = [row for entries in whole for row in entries.rows] if form != "docker-archive" else None
    docker = [_docker_entry(images, *one) for one in chosen] if form != "oci-archive" else None
    packer.finish(rows, docker)


class _Entries(NamedTuple):
    """What index.json is to say of an image (descriptor rows as names.named_descriptors takes them), with the digests
    of the indexes that these lead to, and the further images below those that are here."""

    rows: "list[tuple[str, str, int, tuple[str, ...]]]"
    indexes: list[str]
    images: "list[Image]"


def _entries(images: "Images", image: "Image", names: "Sequence[str]") -> _Entries:
    """A name that stands for an index gives the index, with those of its images that are here; where other tools would
    look in vain for this machine's among them, the image alone."""
    db, found = images.store.db, _Entries([], [], [])
    by_target: dict[str, list[str]] = {}
    for name in names:
        by_target.setdefault(target_of(db, name), []).append(name)
    alone = by_target.pop("", [])
    for target, given in by_target.items():
        media_type, size = db.execute(
            "SELECT media_type, size FROM indexes WHERE digest = ?", (target,)
        ).fetchone()
        top, absent = Descriptor(media_type, target, size), list[str]()
        below, indexes = all_manifests(top, lambda one: _held(images, one, absent))  # noqa: B023 - called within
        here = [sibling for one in below if (sibling := _image_of(images, one)) is not None]
        want = wanted(None, host_platform())
        complete = not absent and len(here) == len(below)
        if image in here and (complete or any(want.accepts(one.platform) for one in here)):
            found.rows.append((target, media_type, size, tuple(given)))
            found.indexes.extend(index.descriptor.digest for index in indexes)
            found.images.extend(here)
        else:
            alone += given
    if alone or not found.rows:
        size = images.content.size(image.manifest)
        found.rows.append((image.manifest, image.media_type, size, tuple(alone)))
    return found


def _held(images: "Images", entry: Descriptor, absent: list[str]) -> bytes | None:
    """A document below an index; None when it is not here, which `absent` is told."""
    try:
        return images.content.read_bytes(entry.digest, DOCUMENT_MAX)
    except NotFound:
        absent.append(entry.digest)
        return None


def _image_of(images: "Images", found: "Found") -> "Image | None":
    """The image that is here with this very manifest."""
    try:
        image = images.by_id(found.manifest.config.digest)
    except NotFound:
        return None
    return image if image.manifest == found.descriptor.digest else None


def _docker_entry(images: "Images", image: "Image", names: "Sequence[str]") -> dict[str, Any]:
    return docker_entry(image.id, names, layers_of(images.store.db, image.id))
