"""Images into archives that the other tools read.

One tar holds an OCI image layout (oci-layout, index.json, blobs) and, over the same blobs, the
manifest.json of a docker-archive. It is written in one pass, to a pipe too: sizes are known beforehand.
The documents come last, as a reader that streams wants its blobs first and one that does not is indifferent.
"""

from tiffin.errors import InvalidArgument, NotFound
from tiffin.images.blobs import open_layer_blob
from tiffin.images.indexes import all_manifests, wanted
from tiffin.images.names import encode_index, named_descriptors, target_of
from tiffin.images.records import find_image, is_id, layers_of
from tiffin.layer.tarstream import Entry, Kind, TarWriter
from tiffin.oci.descriptor import DOCUMENT_MAX, Descriptor, encode_json
from tiffin.oci.platform import host_platform
from tiffin.oci.reference import parse_reference
from tiffin.typed import TYPE_CHECKING, Any, BinaryIO, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tiffin.images.blobs import Repositories
    from tiffin.images.indexes import Found
    from tiffin.images.records import Image, LayerBlob
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
    tar = TarWriter(out)
    for directory in ("blobs/", "blobs/sha256/"):
        tar.add(Entry(directory, Kind.DIRECTORY, 0o755))
    whole = [_entries(images, *one) for one in chosen] if form != "docker-archive" else []
    further = [image for entries in whole for image in entries.images]
    written: set[str] = set()
    for image in (*further, *(image for image, _ in chosen)):
        for layer in layers_of(images.store.db, image.id):
            if layer.blob not in written:
                written.add(layer.blob)
                _copy_layer(images, tar, layer, registry)
        _copy_blobs(images, tar, (image.id, *([image.manifest] if form != "docker-archive" else [])), written)
    _copy_blobs(images, tar, [index for entries in whole for index in entries.indexes], written)
    if form != "docker-archive":
        rows = [row for entries in whole for row in entries.rows]
        _document(tar, "index.json", encode_index(named_descriptors(rows)))
        _document(tar, "oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
    if form != "oci-archive":
        _document(tar, "manifest.json", encode_json([_docker_entry(images, *one) for one in chosen]))
    tar.finish()


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
    return {
        "Config": _member(image.id),
        # Full, as podman writes them: Docker shortens them itself, podman takes a short one for localhost's.
        "RepoTags": [name for name in names if "@" not in name] or None,
        "Layers": [_member(layer.blob) for layer in layers_of(images.store.db, image.id)],
    }


def _member(digest: str) -> str:
    return f"blobs/sha256/{digest[7:]}"


def _copy_layer(
    images: "Images", tar: TarWriter, layer: "LayerBlob", registry: "Repositories | None"
) -> None:
    with open_layer_blob(images, layer, registry) as file:
        tar.add(Entry(_member(layer.blob), size=layer.blob_size), file.fileno())


def _copy_blobs(images: "Images", tar: TarWriter, digests: "Iterable[str]", written: set[str]) -> None:
    """Those that have not been `written` yet, which they are then."""
    for digest in digests:
        if digest in written:
            continue
        written.add(digest)
        try:
            with images.content.open(digest) as file:
                tar.add(Entry(_member(digest), size=images.content.size(digest)), file.fileno())
        except NotFound as error:
            raise NotFound(f"blob {digest} is missing from the store: load its image again") from error


def _document(tar: TarWriter, name: str, data: bytes) -> None:
    tar.add(Entry(name, size=len(data)), data)
