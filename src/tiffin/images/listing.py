"""The rows of `images`, filtered; and what images share."""

from tiffin.oci.reference import parse_reference
from tiffin.typed import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from tiffin.images.filters import Filters


class Listed(NamedTuple):
    """One image. `names` are full references with tags and `digests` with digests; `within` are full names whose index
    has it for another platform than they stand for; `containers` counts those made from it, running or not."""

    id: str
    names: tuple[str, ...]
    digests: tuple[str, ...]
    within: tuple[str, ...]
    created: int
    size: int
    containers: int

    @property
    def is_dangling(self) -> bool:
        """Whether no tag leads to it."""
        return not self.names and not self.within


class Stack(NamedTuple):
    """An image's layers, bottom first: (DiffID, bytes of its files); and its platform."""

    layers: tuple[tuple[str, int], ...]
    platform: str


def list_images(db: "sqlite3.Connection", filters: "Sequence[str]" = ()) -> list[Listed]:
    """Every image in sight that the filters let through, the newest made first. Raises InvalidArgument, NotFound."""
    rows = _rows(db)
    if not filters:
        return rows
    from tiffin.images.filters import parse_filters

    return apply(parse_filters(db, filters), rows)


def apply(filters: "Filters", rows: "Sequence[Listed]") -> list[Listed]:
    """Those of `rows` that the filters let through, with the names that they let through."""
    found = []
    for row in rows:
        if filters.dangling is not None and row.is_dangling != filters.dangling:
            continue
        kept = _matching(row, filters.references) if filters.references else row
        if kept is not None and all(test(row) for test in filters.tests):
            found.append(kept)
    return found


def _matching(row: Listed, patterns: "Sequence[str]") -> Listed | None:
    from tiffin.images.filters import path_match

    def kept(names: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(
            name
            for name, reference in zip(names, map(parse_reference, names), strict=True)
            if any(
                path_match(pattern, text)
                for pattern in patterns
                for text in (reference.familiar(), reference.familiar_name())
            )
        )

    found = row._replace(names=kept(row.names), digests=kept(row.digests), within=kept(row.within))
    return found if found.names or found.digests or found.within else None


def _rows(db: "sqlite3.Connection") -> list[Listed]:
    names: dict[str, list[str]] = {}
    digests: dict[str, list[str]] = {}
    within: dict[str, list[str]] = {}
    for name, image in db.execute("SELECT name, image FROM image_names ORDER BY name"):
        (digests if "@" in name else names).setdefault(image, []).append(name)
    for image, digest in db.execute(_DIGESTS):
        digests.setdefault(image, []).append(digest)
    for image, name in db.execute(_WITHIN):
        within.setdefault(image, []).append(name)
    used: dict[str, int] = dict(db.execute("SELECT image, count(*) FROM containers GROUP BY image"))
    return [
        Listed(
            image,
            tuple(names.get(image, ())),
            tuple(dict.fromkeys(digests.get(image, ()))),
            tuple(within.get(image, ())),
            created,
            size,
            used.get(image, 0),
        )
        for image, created, size in db.execute(_IMAGES)
    ]


_IMAGES = "SELECT id, created, size FROM images WHERE NOT removed ORDER BY created DESC, added DESC, id"
_DIGESTS = "SELECT image, repository || '@' || digest FROM image_digests ORDER BY repository, digest"
_WITHIN = """SELECT i.image, n.name FROM index_images i JOIN image_names n ON n.target = i.digest
    WHERE n.image <> i.image ORDER BY n.name"""


def stacks(db: "sqlite3.Connection") -> dict[str, Stack]:
    """The layers and the platform of every image in sight, by its ID."""
    import json

    layers: dict[str, list[tuple[str, int]]] = {}
    for image, diff_id, size in db.execute(_LAYERS):
        layers.setdefault(image, []).append((diff_id, size))
    found = {}
    for image, text in db.execute("SELECT id, config FROM images WHERE NOT removed"):
        config = json.loads(text)
        parts = (config.get("os"), config.get("architecture"), config.get("variant"))
        platform = "/".join(str(part) for part in parts if part)
        found[image] = Stack(tuple(layers.get(image, ())), platform)
    return found


_LAYERS = """SELECT i.image, i.diff_id, coalesce(l.size, 0) FROM image_layers i LEFT JOIN layers l USING (diff_id)
    ORDER BY i.image, i.position"""
