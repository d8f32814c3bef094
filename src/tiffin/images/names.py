"""Names of images in the store of record, and `oci/index.json`, which is derived from them for other
tools."""

import os

from tiffin.errors import InvalidArgument
from tiffin.images.records import find_id, is_id
from tiffin.oci.descriptor import IMAGE_NAME, INDEX, REF_NAME, Descriptor, encode_json
from tiffin.oci.reference import parse_reference
from tiffin.state import lock_file
from tiffin.typed import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable

    from tiffin.state import Layout, Store


def tag_image(store: "Store", source: str, target: str) -> None:
    """Point a name at the image that `source` means, in one transaction, then derive the index anew. A name that
    stands for an index gives that to the new one too. Raises InvalidArgument, NotFound."""
    reference = parse_reference(target)
    if reference.digest:
        raise InvalidArgument("refusing to create a tag with a digest reference")
    with store.transaction() as db:
        image = find_id(db, source)
        set_names(db, image, [str(reference)], "" if is_id(image, source) else target_of(db, source))
    write_index(store)


def target_of(db: "sqlite3.Connection", text: str) -> str:
    """The digest of the index that a reference stands for, "" when that is an image alone."""
    reference = parse_reference(text)
    if reference.digest:
        query, value = "SELECT digest FROM indexes WHERE digest = ?", reference.digest
    else:
        query, value = "SELECT target FROM image_names WHERE name = ?", str(reference)
    row = db.execute(query, (value,)).fetchone()
    return row[0] if row else ""


def set_names(db: "sqlite3.Connection", image_id: str, names: "Iterable[str]", target: str = "") -> None:
    """Within a transaction: each full name now means `image_id`, and the index `target`. A name with a digest becomes
    one of the image's digests; that the digest is the image's is the caller's to know."""
    query = (
        "INSERT INTO image_names (name, image, target) VALUES (?, ?, ?)"
        " ON CONFLICT (name) DO UPDATE SET image = excluded.image, target = excluded.target"
    )
    for reference in map(parse_reference, names):
        if reference.digest:
            add_digest(db, reference.name, reference.digest, image_id)
        else:
            db.execute(query, (str(reference), image_id, target))


def add_digest(db: "sqlite3.Connection", repository: str, digest: str, image_id: str) -> None:
    """Within a transaction: the repository has the image under this digest. An index's images share one."""
    row = (repository, digest, image_id)
    db.execute(
        "INSERT INTO image_digests (repository, digest, image) VALUES (?, ?, ?) ON CONFLICT DO NOTHING", row
    )


def named_descriptors(
    manifests: "Iterable[tuple[str, str, int, tuple[str, ...]]]",
) -> list[dict[str, Any]]:
    """Index entries for (manifest digest, media type, size, full names): one for each name, one without
    for none.

    The full name stands in both annotations: skopeo, umoci and podman look for it in the OCI one,
    containerd and Docker in containerd's. (image-spec would have the tag alone in ref.name; an index of
    many repositories could then not be told apart by those who read only that.)"""
    entries = []
    for digest, media_type, size, names in manifests:
        for name in names or ("",):
            annotations = {IMAGE_NAME: name, REF_NAME: name} if name else {}
            entries.append(Descriptor(media_type, digest, size, annotations).document())
    return entries


def encode_index(entries: list[dict[str, Any]]) -> bytes:
    """The bytes of an `index.json` with these manifests."""
    return encode_json({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries})


def write_index(store: "Store") -> None:
    """Derive `oci/index.json` from the rows: written aside, synced, renamed. Safe beside other processes: the
    last to write has read the last commit."""
    fd = lock_file(f"{store.layout.root}/index.lock")
    try:
        data = _derived(store)
        if _current(store.layout) != data:
            _replace(store.layout, data)
    finally:
        os.close(fd)


def index_is_current(store: "Store") -> bool:
    """Whether `oci/index.json` is what the rows say: not for a moment while another process names an image, nor after
    one that was killed then."""
    fd = lock_file(f"{store.layout.root}/index.lock")
    try:
        return _current(store.layout) == _derived(store)
    finally:
        os.close(fd)


def _derived(store: "Store") -> bytes:
    return encode_index(named_descriptors(_rows(store.db)))


def _current(layout: "Layout") -> bytes:
    try:
        with open(f"{layout.oci}/index.json", "rb") as file:
            return file.read()
    except FileNotFoundError:
        return b""


def _rows(db: "sqlite3.Connection") -> "Iterable[tuple[str, str, int, tuple[str, ...]]]":
    names: dict[str, list[str]] = {}
    for name, image in db.execute("SELECT name, image FROM image_names ORDER BY name"):
        names.setdefault(image, []).append(name)
    query = "SELECT id, manifest, media_type, manifest_size FROM images WHERE NOT removed ORDER BY added, id"
    for image, manifest, media_type, size in db.execute(query):
        yield manifest, media_type, size, tuple(names.get(image, ()))


def _replace(layout: "Layout", data: bytes) -> None:
    aside = f"{layout.oci}/.index.json"
    fd = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    with open(fd, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.rename(aside, f"{layout.oci}/index.json")
