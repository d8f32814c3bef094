"""The rows of images: values, and the queries that find them."""

from tiffin.errors import Conflict, InvalidArgument, NotFound
from tiffin.oci.reference import parse_reference, shown
from tiffin.typed import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import sqlite3

    from tiffin.oci.platform import Platform

_HEX = "0123456789abcdef"


class Image(NamedTuple):
    """One image. `id` and `manifest` are digests; `config` is the checked document; `names` are full
    references; `diff_ids` bottom first; `created` nanoseconds since the epoch, 0 unknown; `size` the bytes
    of all its layers' files; `digests` are the full references (repository@digest) under which registries have it,
    an index's digest where the image came in one."""

    id: str
    manifest: str
    media_type: str
    config: dict[str, Any]
    names: tuple[str, ...]
    diff_ids: tuple[str, ...]
    created: int
    size: int
    digests: tuple[str, ...] = ()

    @property
    def platform(self) -> "Platform":
        """What it runs on."""
        from tiffin.oci.image import platform

        return platform(self.config)

    @property
    def settings(self) -> dict[str, Any]:
        """Env, Cmd, Entrypoint, User, ... as the config has them."""
        found: dict[str, Any] = self.config.get("config") or {}
        return found


class Summary(NamedTuple):
    """One row of `images`. `containers` counts those made from it, running or not; `digests` as in Image; `within`
    are the names of indexes that have it as the image of another platform than the name stands for now."""

    id: str
    names: tuple[str, ...]
    created: int
    size: int
    containers: int
    digests: tuple[str, ...] = ()
    within: tuple[str, ...] = ()

    @property
    def is_dangling(self) -> bool:
        """Whether no tag leads to it."""
        return not self.names and not self.within


class LayerBlob(NamedTuple):
    """One layer in both forms: the DiffID of its plain tar, and the stored blob that unpacks to it."""

    diff_id: str
    blob: str
    media_type: str
    blob_size: int


def find_image(db: "sqlite3.Connection", text: str, platform: "Platform | None" = None) -> Image:
    """The image that `text` means: a reference, else an ID or a unique part of its beginning; of a name or digest that
    stands for several platforms, the one for `platform`, without one what the name stood for last.
    Raises NotFound ("No such image: x"), Conflict (more than one)."""
    image = image_by_id(db, find_id(db, text))
    if platform is None or _fits(image, platform):
        return image
    return _for_platform(db, text, image, platform)


def _fits(image: Image, platform: "Platform") -> bool:
    from tiffin.oci.platform import normal, preferences

    return normal(image.platform) in preferences(platform)


def _for_platform(db: "sqlite3.Connection", text: str, image: Image, platform: "Platform") -> Image:
    """The sibling of `image`, which is for something else, under the same name or digest. Raises NotFound."""
    if not is_id(image.id, text):
        reference = parse_reference(text)
        query = "SELECT image FROM index_images JOIN images ON id = image WHERE digest = ? AND NOT removed"
        target = reference.digest
        if not target:
            row = db.execute("SELECT target FROM image_names WHERE name = ?", (str(reference),)).fetchone()
            target = row[0] if row else ""
        for (sibling,) in db.execute(f"{query} ORDER BY image", (target,)).fetchall():
            if _fits(found := image_by_id(db, sibling), platform):
                return found
    raise NotFound(
        f"image with reference {shown(text)} was found but does not match the specified platform: wanted {platform}, "
        f"actual: {image.platform}"
    )


def find_id(db: "sqlite3.Connection", text: str) -> str:
    """As `find_image`, the ID alone."""
    bare = text.removeprefix("sha256:")
    hexadecimal = not bare.strip(_HEX)
    if hexadecimal and len(bare) == 64:
        if db.execute("SELECT 1 FROM images WHERE id = ? AND NOT removed", (f"sha256:{bare}",)).fetchone():
            return f"sha256:{bare}"
        raise NotFound(f"No such image: {text}")
    try:
        reference = parse_reference(text)
    except InvalidArgument:
        reference = None
    if reference is not None:
        if reference.digest:  # it alone counts, whatever the tag says
            found = _by_digest(db, reference.name, reference.digest)
        else:
            found = _by_name(db, str(reference))
        if found:
            return found
    if hexadecimal and 0 < len(bare) < 64:
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
    """`name@digest`: an image that the repository has under that digest, or whose manifest has it and which has a name
    of that repository. Of the images of an index the one that a name stands for, else the one added last."""
    query = (
        "SELECT id FROM images JOIN image_digests d ON d.image = id"
        " WHERE d.repository = ? AND d.digest = ? AND NOT removed"
        " ORDER BY EXISTS (SELECT 1 FROM image_names n WHERE n.image = id) DESC, added DESC LIMIT 1"
    )
    row = db.execute(query, (name, digest)).fetchone()
    if row is None:
        query = (
            "SELECT id FROM images JOIN image_names ON image = id WHERE manifest = ? AND NOT removed"
            " AND name GLOB ?"
        )
        row = db.execute(query, (digest, f"{name}:*")).fetchone()
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
    from tiffin import jsontext as json

    query = "SELECT manifest, media_type, config, created, size FROM images WHERE id = ?"
    row = db.execute(query, (image_id,)).fetchone()
    if row is None:
        raise NotFound(f"No such image: {image_id}")
    manifest, media_type, config, created, size = row
    names = tuple(name for (name,) in db.execute(_NAMES, (image_id,)))
    layers = tuple(diff_id for (diff_id,) in db.execute(_LAYERS, (image_id,)))
    digests = tuple(text for (text,) in db.execute(_DIGESTS, (image_id,)))
    return Image(image_id, manifest, media_type, json.loads(config), names, layers, created, size, digests)


_NAMES = "SELECT name FROM image_names WHERE image = ? ORDER BY name"
_DIGESTS = (
    """SELECT repository || '@' || digest FROM image_digests WHERE image = ? ORDER BY repository, digest"""
)
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
    digests: dict[str, list[str]] = {}
    for repository, digest, image in db.execute(
        "SELECT repository, digest, image FROM image_digests ORDER BY 1, 2"
    ):
        digests.setdefault(image, []).append(f"{repository}@{digest}")
    within: dict[str, list[str]] = {}
    for name, image in db.execute(_WITHIN):
        within.setdefault(image, []).append(name)
    used: dict[str, int] = dict(db.execute("SELECT image, count(*) FROM containers GROUP BY image"))
    query = "SELECT id, created, size FROM images WHERE NOT removed ORDER BY created DESC, added DESC, id"
    return [
        Summary(
            image,
            tuple(names.get(image, ())),
            created,
            size,
            used.get(image, 0),
            tuple(digests.get(image, ())),
            tuple(within.get(image, ())),
        )
        for image, created, size in db.execute(query)
    ]


_WITHIN = """SELECT n.name, i.image FROM image_names n JOIN index_images i ON i.digest = n.target
    WHERE i.image <> n.image ORDER BY n.name"""
