"""Links (`--link`): another container under a name of one's own choice.

On the default network, which has no names, as lines of /etc/hosts, which follow when the other one is started again;
`target` is its ID. On a network that users made it is a name which our resolver gives nobody else; `target` is what the
other one is called there, and need not exist yet. The environment variables that Docker once added it has dropped.
"""

from __future__ import annotations

from tiffin.errors import InvalidArgument
from tiffin.typed import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection, Iterable


class Link(NamedTuple):
    """`network` as memberships name it: an ID, or "bridge"."""

    network: str
    alias: str
    target: str


def parse_link(text: str) -> tuple[str, str]:
    """ "name[:alias]", or as `inspect` shows it "/name:/own/alias": the name and the alias. Raises InvalidArgument."""
    if not text:
        raise InvalidArgument("empty string specified for links")
    parts = text.split(":")
    if len(parts) > 2 or not all(parts):
        raise InvalidArgument(f"bad format for links: {text}")
    name, alias = parts[0], parts[-1]
    if name.startswith("/"):
        name, alias = name[1:], alias.rpartition("/")[2]
    plain = alias.replace("-", "").replace("_", "").replace(".", "")
    if not (plain.isascii() and plain.isalnum() and len(alias) <= 253):
        raise InvalidArgument(
            f"bad format for links: {text}: the alias has letters, digits, '_', '.' and '-'"
        )
    return name, alias


def write_links(db: sqlite3.Connection, container_id: str, links: Iterable[Link]) -> None:
    """Add these; within the caller's transaction."""
    rows = [(container_id, *link) for link in links]
    db.executemany(
        "INSERT OR REPLACE INTO links (container, network, alias, target) VALUES (?, ?, ?, ?)", rows
    )


def links_of(db: sqlite3.Connection, container_id: str) -> list[Link]:
    """Those of one container."""
    rows = db.execute(
        "SELECT network, alias, target FROM links WHERE container = ? ORDER BY network, alias",
        (container_id,),
    )
    return [Link(*row) for row in rows]


def remove_links(db: sqlite3.Connection, container_id: str, networks: Collection[str]) -> None:
    """It is in these networks and no others any more; within the caller's transaction."""
    for link in links_of(db, container_id):
        if link.network not in networks:
            key = (container_id, link.network, link.alias)
            db.execute("DELETE FROM links WHERE container = ? AND network = ? AND alias = ?", key)
