"""`rmi`, by Docker's rules and in its words (moby, daemon/images/image_delete.go).

A name is always let go when other names remain. The image itself goes with its last name, or when it is named
by ID, unless something needs it: a running container always does, a stopped one and further names do until
`force`. An image forced away from under a stopped container leaves sight at once and the disk with the
container.
"""

from tiffin.errors import Conflict
from tiffin.images.names import target_of, write_index
from tiffin.images.records import find_id, is_id
from tiffin.oci.image import chain_ids
from tiffin.oci.reference import parse_reference
from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from tiffin.state import Store

_RUNNING = ("running", "paused", "restarting")


def remove_image(store: "Store", text: str, force: bool) -> list[tuple[str, str]]:
    """See `Images.remove`. Atomic; collects nothing."""
    with store.transaction() as db:
        image = find_id(db, text)
        records = _by_id(db, image, force) if is_id(image, text) else _by_name(db, image, text, force)
    write_index(store)
    return records


def _by_name(db: "sqlite3.Connection", image: str, text: str, force: bool) -> list[tuple[str, str]]:
    references = _references(db, image)
    user = _user(db, image)
    if user and not force and _single(references):
        raise Conflict(
            f'conflict: unable to remove repository reference "{text}" (must force) - '
            f"container {user[0][:12]} is using its referenced image {_short(image)}"
        )
    given = parse_reference(text)
    name = str(given._replace(tag="") if given.digest else given)
    if name not in references:  # found by its manifest's digest: the name of that repository
        name = next(n for n in references if parse_reference(n).name == given.name)
    target = target_of(db, name)
    records = _untag(db, image, [name])
    left = _references(db, image)
    same = [other for other in left if parse_reference(other).name == given.name]
    if not parse_reference(name).digest and all(parse_reference(other).digest for other in same):
        records += _untag(db, image, same)  # digests of a repository that has no tag of it any more
        left = [other for other in left if other not in same]
    if not left and not (user and user[1]):
        records += delete_image(db, image)
    return records + _delete_siblings(db, target, given.name)


def _by_id(db: "sqlite3.Connection", image: str, force: bool) -> list[tuple[str, str]]:
    references = _references(db, image)
    user = _user(db, image)
    if user and user[1]:
        raise _conflict(image, "cannot be forced", f"image is being used by running container {user[0][:12]}")
    if not force:
        if not _single(references):
            raise _conflict(image, "must be forced", "image is referenced in multiple repositories")
        if user:
            raise _conflict(
                image, "must be forced", f"image is being used by stopped container {user[0][:12]}"
            )
    return _untag(db, image, references) + delete_image(db, image)


def _delete_siblings(db: "sqlite3.Connection", target: str, repository: str) -> list[tuple[str, str]]:
    """What becomes of an index's images for other platforms when a name of it has gone: with the last one in a
    repository they lose that repository's digest, and with the last of all they go, unless something else names or
    uses them."""
    names = [
        name for (name,) in db.execute("SELECT name FROM image_names WHERE target = ?", (target,)).fetchall()
    ]
    if not target or any(parse_reference(name).name == repository for name in names):
        return []
    records: list[tuple[str, str]] = []
    query = "SELECT image FROM index_images WHERE digest = ? ORDER BY image"
    for (image,) in db.execute(query, (target,)).fetchall():
        digest = f"{repository}@{target}"
        references = _references(db, image)
        if digest in references and not _user(db, image):
            records += _untag(db, image, [digest])
            references.remove(digest)
        if not references and not names and not _user(db, image):
            records += delete_image(db, image)
    return records


def _conflict(image: str, how: str, why: str) -> Conflict:
    return Conflict(f"conflict: unable to delete {_short(image)} ({how}) - {why}")


def _references(db: "sqlite3.Connection", image: str) -> list[str]:
    """Everything that names the image: its tags, then its digests, in full."""
    names = db.execute("SELECT name FROM image_names WHERE image = ? ORDER BY name", (image,)).fetchall()
    query = "SELECT repository || '@' || digest FROM image_digests WHERE image = ? ORDER BY 1"
    return [str(text) for (text,) in (*names, *db.execute(query, (image,)).fetchall())]


def _single(names: "Sequence[str]") -> bool:
    """Whether at most one tag names the image; its digests in the same repository do not count."""
    references = [parse_reference(name) for name in names]
    tags = sum(1 for reference in references if not reference.digest)
    return len(references) <= 1 or (tags <= 1 and len({reference.name for reference in references}) == 1)


def _user(db: "sqlite3.Connection", image: str) -> tuple[str, bool] | None:
    """A container of the image and whether it runs, a running one if there is any."""
    users = db.execute(
        "SELECT id, status FROM image_users WHERE image = ? ORDER BY created", (image,)
    ).fetchall()
    found = sorted(
        ((container, status in _RUNNING) for container, status in users), key=lambda user: not user[1]
    )
    return found[0] if found else None


def _untag(db: "sqlite3.Connection", image: str, references: "Sequence[str]") -> list[tuple[str, str]]:
    for reference in map(parse_reference, references):
        if reference.digest:
            query = "DELETE FROM image_digests WHERE repository = ? AND digest = ? AND image = ?"
            db.execute(query, (reference.name, reference.digest, image))
        else:
            db.execute("DELETE FROM image_names WHERE name = ?", (str(reference),))
    return [("Untagged", parse_reference(text).familiar()) for text in references]


def delete_image(db: "sqlite3.Connection", image: str) -> list[tuple[str, str]]:
    """Take the image out of sight; its row too, unless a container keeps it. Docker names the image and each
    chain of layers that goes with it, the topmost first."""
    if _user(db, image):
        db.execute("UPDATE images SET removed = 1 WHERE id = ?", (image,))
        return [("Deleted", image)]
    layers = _stack(db, image)
    kept = _shared_depth(db, image, layers)
    db.execute("DELETE FROM images WHERE id = ?", (image,))
    gone = chain_ids(layers)[kept:]
    return [("Deleted", image)] + [("Deleted", chain) for chain in reversed(gone)]


def _stack(db: "sqlite3.Connection", image: str) -> tuple[str, ...]:
    query = "SELECT diff_id FROM image_layers WHERE image = ? ORDER BY position"
    return tuple(diff_id for (diff_id,) in db.execute(query, (image,)))


def _shared_depth(db: "sqlite3.Connection", image: str, layers: tuple[str, ...]) -> int:
    """How many of the bottom layers some other image stands on too."""
    if not layers:
        return 0
    query = "SELECT image FROM image_layers WHERE position = 0 AND diff_id = ? AND image <> ?"
    depth = 0
    for (other,) in db.execute(query, (layers[0], image)).fetchall():
        common = 0
        for ours, theirs in zip(layers, _stack(db, other), strict=False):
            if ours != theirs:
                break
            common += 1
        depth = max(depth, common)
    return depth


def _short(image: str) -> str:
    return image.removeprefix("sha256:")[:12]
