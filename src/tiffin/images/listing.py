"""The rows of `images`, filtered; and what images share."""

from tiffin.images.records import Summary, summaries
from tiffin.oci.reference import parse_reference
from tiffin.typed import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from tiffin.images.filters import Filters


class Stack(NamedTuple):
    """An image's layers, bottom first: (DiffID, bytes of its files); and its platform."""

    layers: tuple[tuple[str, int], ...]
    platform: str


def list_images(db: "sqlite3.Connection", filters: "Sequence[str]" = ()) -> list[Summary]:
    """Every image in sight that the filters let through, the newest made first. Raises InvalidArgument, NotFound."""
    rows = summaries(db)
    if not filters:
        return rows
    from tiffin.images.filters import parse_filters

    return apply(parse_filters(db, filters), rows)


def apply(filters: "Filters", rows: "Sequence[Summary]") -> list[Summary]:
    """Those of `rows` that the filters let through, with the names that they let through."""
    found = []
    for row in rows:
        if filters.dangling is not None and row.is_dangling != filters.dangling:
            continue
        kept = _matching(row, filters.references) if filters.references else row
        if kept is not None and all(test(row) for test in filters.tests):
            found.append(kept)
    return found


def _matching(row: Summary, patterns: "Sequence[str]") -> Summary | None:
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


def stacks(db: "sqlite3.Connection") -> dict[str, Stack]:
    """The layers and the platform of every image in sight, by its ID."""
    from tiffin import jsontext as json

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
