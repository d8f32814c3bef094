"""Names of images in the store of record, and `oci/index.json`, which is derived from them for other
tools."""

import os

from tiffin.oci.descriptor import IMAGE_NAME, INDEX, REF_NAME, Descriptor, encode_json
from tiffin.oci.reference import parse_reference
from tiffin.state import lock_file
from tiffin.typed import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable

    from tiffin.state import Layout, Store


def tag_image(store: "Store", image_id: str, target: str) -> None:
    """Point a name at an image, in one transaction, then derive the index anew. Raises InvalidArgument."""
    reference = parse_reference(target)
    with store.transaction() as db:
        set_names(db, image_id, [str(reference)])
    write_index(store)


def set_names(db: "sqlite3.Connection", image_id: str, names: "Iterable[str]") -> None:
    """Within a transaction: each full name now means `image_id`."""
    query = (
        "INSERT INTO image_names (name, image) VALUES (?, ?)"
        " ON CONFLICT (name) DO UPDATE SET image = excluded.image, target = excluded.target"
    )
    db.executemany(query, [(str(parse_reference(name)), image_id) for name in names])


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
