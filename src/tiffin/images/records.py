"""The rows of images: values, and the queries that find them."""

import re

from tiffin.errors import Conflict, InvalidArgument, NotFound
from tiffin.oci.reference import parse_reference, shown
from tiffin.typed import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import sqlite3


class Image(NamedTuple):
    """One image. `id` and `manifest` are digests; `config` is the checked document; `names` are full
    references; `diff_ids` bottom first; `created` nanoseconds since the epoch, 0 unknown; `size` the bytes
    of all its layers' files."""

    id: str
    manifest: str
    media_type: str
    config: dict[str, Any]
    names: tuple[str, ...]
    diff_ids: tuple[str, ...]
    created: int
    size: int

    @property
    def settings(self) -> dict[str, Any]:
        """Env, Cmd, Entrypoint, User, ... as the config has them."""
        found: dict[str, Any] = self.config.get("config") or {}
        return found


class Summary(NamedTuple):
    """One row of `images`. `containers` counts those made from it, running or not."""

    id: str
    names: tuple[str, ...]
    created: int
    size: int
    containers: int


class LayerBlob(NamedTuple):
    """One layer in both forms: the DiffID of its plain tar, and the stored blob that unpacks to it."""

    diff_id: str
    blob: str
    media_type: str
    blob_size: int


def find_image(db: "sqlite3.Connection", text: str) -> Image:
    """The image that `text` means: a reference, else an ID or a unique part of its beginning.
    Raises NotFound ("No such image: x"), Conflict (more than one)."""
    return image_by_id(db, find_id(db, text))


def find_id(db: "sqlite3.Connection", text: str) -> str:
    """As `find_image`, the ID alone."""
    bare = text.removeprefix("sha256:")
    if re.fullmatch(r"[0-9a-f]{64}", bare):
        if db.execute("SELECT 1 FROM images WHERE id = ? AND NOT removed", (f"sha256:{bare}",)).fetchone():
            return f"sha256:{bare}"
        raise NotFound(f"No such image: {text}")
    try:
        reference = parse_reference(text)
    except InvalidArgument:
        reference = None
    if reference is not None:
        found = _by_name(db, str(reference)) or (
            reference.digest and _by_digest(db, reference.name, reference.digest)
        )
        if found:
            return found
    if re.fullmatch(r"[0-9a-f]{1,63}", bare):
        found = _by_prefix(db, bare)
        if found:
            return found
    if reference is None:
        parse_reference(text)  # raises, in Docker's words
    raise NotFound(f"No such image: {shown(reference.familiar() if reference else text)}")


def is_id(image: str, text: str) -> bool:
    """Whether `text`, which found `image`, named it by ID and not by reference."""
    return image.startswith(text) or image.removeprefix("sha256:").startswith(text)


def _by_name(db: "sqlite3.Connection", name: str) -> str:
    row = db.execute("SELECT image FROM image_names WHERE name = ?", (name,)).fetchone()
    return row[0] if row else ""


def _by_digest(db: "sqlite3.Connection", name: str, digest: str) -> str:
    """`name@digest`, whatever the tag: the manifest must have that digest, the image a name of that
    repository."""
    query = (
        "SELECT id FROM images JOIN image_names ON image = id WHERE manifest = ? AND NOT removed"
        " AND (name GLOB ? OR name GLOB ?)"
    )
    row = db.execute(query, (digest, f"{name}:*", f"{name}@*")).fetchone()
    return row[0] if row else ""


def _by_prefix(db: "sqlite3.Connection", prefix: str) -> str:
    low = f"sha256:{prefix}"
    query = "SELECT id FROM images WHERE id >= ? AND id < ? AND NOT removed LIMIT 2"
    rows = db.execute(query, (low, low + "g")).fetchall()  # "g" follows every hexadecimal digit
    if len(rows) > 1:
        raise Conflict(f"multiple IDs found with provided prefix: {prefix}")
    return rows[0][0] if rows else ""


def image_by_id(db: "sqlite3.Connection", image_id: str) -> Image:
    """The image of exactly this ID, also one that was removed while a container uses it. Raises NotFound."""
    import json

    query = "SELECT manifest, media_type, config, created, size FROM images WHERE id = ?"
    row = db.execute(query, (image_id,)).fetchone()
    if row is None:
        raise NotFound(f"No such image: {image_id}")
    manifest, media_type, config, created, size = row
    names = tuple(name for (name,) in db.execute(_NAMES, (image_id,)))
    layers = tuple(diff_id for (diff_id,) in db.execute(_LAYERS, (image_id,)))
    return Image(image_id, manifest, media_type, json.loads(config), names, layers, created, size)


_NAMES = "SELECT name FROM image_names WHERE image = ? ORDER BY name"
_LAYERS = "SELECT diff_id FROM image_layers WHERE image = ? ORDER BY position"


def layers_of(db: "sqlite3.Connection", image_id: str) -> tuple[LayerBlob, ...]:
    """The layers of an image, bottom first."""
    query = "SELECT diff_id, blob, media_type, blob_size FROM image_layers WHERE image = ? ORDER BY position"
    return tuple(LayerBlob(*row) for row in db.execute(query, (image_id,)))


def summaries(db: "sqlite3.Connection") -> list[Summary]:
    """Every image in sight, the newest made first."""
    names: dict[str, list[str]] = {}
    for name, image in db.execute("SELECT name, image FROM image_names ORDER BY name"):
        names.setdefault(image, []).append(name)
    used: dict[str, int] = dict(db.execute("SELECT image, count(*) FROM containers GROUP BY image"))
    query = "SELECT id, created, size FROM images WHERE NOT removed ORDER BY created DESC, added DESC, id"
    return [
        Summary(image, tuple(names.get(image, ())), created, size, used.get(image, 0))
        for image, created, size in db.execute(query)
    ]
