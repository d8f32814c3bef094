"""`image prune`: which images nothing needs, and removing them.

What goes is decided within the transaction that removes it: a container made, a tag given or a pull finished in the
meantime is seen. An image that a container was made from stays, with all its names. The bytes that removal frees are
those of layers, and of their stored blobs, that no image which stays has.
"""

from tiffin.errors import NotFound
from tiffin.images.filters import parse_filters
from tiffin.images.listing import apply, list_images
from tiffin.images.names import write_index
from tiffin.images.remove import delete_image
from tiffin.oci.reference import parse_reference
from tiffin.typed import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from tiffin.images.records import Summary
    from tiffin.images.service import Images

FILTERS = ("dangling", "label", "label!", "until")


class Doomed(NamedTuple):
    """An image that would go. `size` is all of its layers' files, `frees` what its removal would free if it went
    alone. `names` and `digests` are as people write them."""

    id: str
    names: tuple[str, ...]
    digests: tuple[str, ...]
    size: int
    frees: int


class PrunePlan(NamedTuple):
    """What a prune would remove, the oldest first, and the bytes that all of it together would free."""

    images: tuple[Doomed, ...]
    frees: int


class Pruned(NamedTuple):
    """("untagged", name) and ("deleted", digest) in order, and the bytes freed."""

    records: "tuple[tuple[str, str], ...]"
    reclaimed: int


def plan(images: "Images", every: bool, filters: "Sequence[str]") -> PrunePlan:
    """See ImageService.plan_prune."""
    rows = _chosen(images.store.db, every, filters)
    holders = _holders(images)
    ids = frozenset(row.id for row in rows)
    doomed = tuple(
        Doomed(
            row.id, _shown(row.names), _shown(row.digests), row.size, _freed(holders, frozenset((row.id,)))
        )
        for row in rows
    )
    return PrunePlan(doomed, _freed(holders, ids))


def prune(images: "Images", every: bool, filters: "Sequence[str]", only: "frozenset[str] | None") -> Pruned:
    """See ImageService.prune. Atomic; then collects."""
    records: list[tuple[str, str]] = []
    with images.store.transaction() as db:
        rows = [row for row in _chosen(db, every, filters) if only is None or row.id in only]
        holders = _holders(images)
        for row in rows:
            names = [
                name for (name,) in db.execute("SELECT name FROM image_names WHERE image = ?", (row.id,))
            ]
            db.execute("DELETE FROM image_names WHERE image = ?", (row.id,))
            shown = sorted({*_shown(row.names), *_shown(row.digests), *_shown(tuple(names))})
            records += [("untagged", name) for name in shown]
            records += [("deleted", digest) for _, digest in delete_image(db, row.id)]
    write_index(images.store)
    images.collect(partials=True)
    return Pruned(tuple(records), _freed(holders, frozenset(row.id for row in rows)))


def _chosen(db: "sqlite3.Connection", every: bool, filters: "Sequence[str]") -> "list[Summary]":
    """The oldest first. `dangling=false` is Docker's other word for `every`."""
    parsed = parse_filters(db, filters, FILTERS)
    every = every or parsed.dangling is False
    rows = apply(parsed._replace(dangling=None if every else True), list_images(db))
    held = {image for (image,) in db.execute("SELECT image FROM image_users")}
    return [row for row in reversed(rows) if row.id not in held]


def _shown(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(parse_reference(name).familiar() for name in names)


def _holders(images: "Images") -> dict[tuple[str, int], set[str]]:
    """Everything on disk that images hold, (name, bytes), with who does: images, and the build cache as "". Layers
    count as their files and, where it is kept, as their blob."""
    held: dict[tuple[str, int], set[str]] = {}
    kept: dict[str, int] = {}
    for diff_id, size, image in images.store.db.execute(_TREES):
        held.setdefault((diff_id, size), set()).add(image)
    for blob, image in images.store.db.execute(_BLOBS):
        if blob not in kept:
            kept[blob] = _size(images, blob)
        held.setdefault((f"blob {blob}", kept[blob]), set()).add(image)
    return held


def _size(images: "Images", blob: str) -> int:
    """0 for one that is not kept."""
    try:
        return images.content.size(blob)
    except NotFound:
        return 0


_TREES = """SELECT l.diff_id, l.size, i.image FROM image_layers i JOIN layers l USING (diff_id)
    UNION SELECT l.diff_id, l.size, '' FROM build_cache b JOIN layers l USING (diff_id)"""
_BLOBS = """SELECT blob, image FROM image_layers UNION SELECT blob, '' FROM build_cache WHERE blob IS NOT NULL
    UNION SELECT manifest, id FROM images UNION SELECT id, id FROM images
    UNION SELECT digest, image FROM index_images"""


def _freed(holders: dict[tuple[str, int], set[str]], gone: frozenset[str]) -> int:
    return sum(size for (_, size), images in holders.items() if images <= gone)
