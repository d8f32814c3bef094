"""Manifests that are served and are not, or not only, an image of this machine: the rows of the embedded registry.

    registry_manifests  which repository has which: artifacts, indexes, manifests below them, referrers
    registry_blobs      what each needs, so that the collector leaves it
    registry_tags       names that mean one of them

A repository is a full name without its tag (`docker.io/library/web`). What a tag means is looked for here first, then
among the names of images: those stay true whatever is done with other commands, since a name that is pointed elsewhere
loses its row here by a trigger. What no tag has led to yet is kept for GRACE_SECONDS, in which its index or tag may
arrive; what a tag has led to goes with it.
"""

import time

from tiffin.oci.reference import parse_reference
from tiffin.typed import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable

    from tiffin.oci.artifact import Artifact

GRACE_SECONDS = 24 * 3600


class Document(NamedTuple):
    """A stored manifest or index, by what a registry says of it."""

    digest: str
    media_type: str
    size: int


class Referrer(NamedTuple):
    """A manifest that refers to another."""

    document: Document
    artifact_type: str
    annotations: dict[str, str]


# -- looking -------------------------------------------------------------------------------------------------


def repositories(db: "sqlite3.Connection") -> set[str]:
    """Every repository that has a tag or a manifest."""
    names = (parse_reference(name).name for (name,) in db.execute("SELECT name FROM image_names"))
    query = "SELECT repository FROM registry_manifests UNION SELECT repository FROM registry_tags"
    return {*names, *(repository for (repository,) in db.execute(query))}


def tags(db: "sqlite3.Connection", repository: str) -> list[str]:
    """Its tags, sorted."""
    query = (
        "SELECT name FROM image_names WHERE name >= ? AND name < ?"
        " UNION SELECT name FROM registry_tags WHERE repository = ?"
    )
    rows = db.execute(query, (f"{repository}:", f"{repository};", repository))  # ";" follows ":"
    found = {parse_reference(name) for (name,) in rows}
    return sorted(reference.tag for reference in found if reference.name == repository and reference.tag)


def by_tag(db: "sqlite3.Connection", repository: str, tag: str) -> Document | None:
    """What the tag means."""
    name = f"{repository}:{tag}"
    row = db.execute("SELECT digest FROM registry_tags WHERE name = ?", (name,)).fetchone()
    if row is not None:
        return by_digest(db, repository, row[0])
    query = (
        "SELECT target, manifest, media_type, manifest_size FROM image_names JOIN images ON image = id"
        " WHERE name = ?"
    )
    row = db.execute(query, (name,)).fetchone()
    if row is None:
        return None
    target, *image = row
    return _index(db, target) or Document(*image)


def by_digest(db: "sqlite3.Connection", repository: str, digest: str) -> Document | None:
    """The manifest, if this repository has it: given to it here, of an image or index that a name of it means, or of
    an image below such an index."""
    own = "SELECT digest, media_type, size FROM registry_manifests WHERE repository = ? AND digest = ?"
    row = db.execute(own, (repository, digest)).fetchone()
    if row is None:
        words = {
            "repository": repository,
            "digest": digest,
            "tags": f"{repository}:",
            "tags_end": f"{repository};",  # the characters that follow ":" and "@"
            "digests": f"{repository}@",
            "digests_end": f"{repository}A",
        }
        found = (db.execute(query, words).fetchone() for query in (_OF_IMAGES, _OF_INDEXES, _BELOW))
        row = next(filter(None, found), None)
    return Document(*row) if row else None


_NAMED = "((name >= :tags AND name < :tags_end) OR (name >= :digests AND name < :digests_end))"
_OF_IMAGES = f"""SELECT manifest, media_type, manifest_size FROM images WHERE manifest = :digest AND NOT removed AND (
    id IN (SELECT image FROM image_names WHERE {_NAMED})
    OR id IN (SELECT image FROM image_digests WHERE repository = :repository AND digest = :digest)
    OR id IN (SELECT index_images.image FROM index_images JOIN image_names ON target = digest WHERE {_NAMED}))"""  # noqa: S608 - ours
_BELOW = f"""SELECT digest, media_type, size FROM registry_manifests WHERE digest = :digest AND digest IN (
    SELECT blob FROM registry_blobs JOIN image_names ON target = manifest WHERE {_NAMED})"""  # noqa: S608 - ours
_OF_INDEXES = f"""SELECT digest, media_type, size FROM indexes WHERE digest = :digest
    AND digest IN (SELECT target FROM image_names WHERE {_NAMED})"""  # noqa: S608 - ours


def _index(db: "sqlite3.Connection", digest: str) -> Document | None:
    row = db.execute("SELECT digest, media_type, size FROM indexes WHERE digest = ?", (digest,)).fetchone()
    return Document(*row) if row else None


def names_of(db: "sqlite3.Connection", repository: str, digest: str) -> list[str]:
    """The full names of a repository that mean this manifest."""
    found = []
    for tag in tags(db, repository):
        document = by_tag(db, repository, tag)
        if document is not None and document.digest == digest:
            found.append(f"{repository}:{tag}")
    return found


def referrers(db: "sqlite3.Connection", repository: str, subject: str) -> list[Referrer]:
    """What refers to a manifest, whether or not that is here; sorted by digest."""
    import json

    query = (
        "SELECT digest, media_type, size, artifact_type, annotations FROM registry_manifests"
        " WHERE repository = ? AND subject = ? ORDER BY digest"
    )
    return [
        Referrer(Document(digest, media_type, size), artifact_type, json.loads(annotations))
        for digest, media_type, size, artifact_type, annotations in db.execute(query, (repository, subject))
    ]


# -- changing, each within a transaction ---------------------------------------------------------------------


def add_document(db: "sqlite3.Connection", repository: str, document: Document, artifact: "Artifact") -> None:
    """The repository has this manifest, which needs a tag or an index within GRACE_SECONDS (see `settle`)."""
    import json

    db.execute(
        "INSERT OR REPLACE INTO registry_manifests VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            repository,
            *document,
            artifact.subject,
            artifact.artifact_type,
            json.dumps(artifact.annotations),
            time.time_ns() + GRACE_SECONDS * 1_000_000_000,
        ),
    )
    needs = {descriptor.digest for descriptor in (*artifact.blobs, *artifact.manifests)}
    db.executemany(
        "INSERT OR IGNORE INTO registry_blobs VALUES (?, ?)", [(document.digest, blob) for blob in needs]
    )


def settle(db: "sqlite3.Connection", repository: str, digest: str) -> None:
    """A tag leads to this manifest, or what it refers to is here: it, and those below it, stay for as long as that is
    so, and no longer."""
    db.execute(_SETTLE, (repository, digest, repository))


_SETTLE = """WITH RECURSIVE below(repository, digest) AS (
        SELECT ?, ? UNION SELECT below.repository, blob FROM below JOIN registry_blobs ON manifest = below.digest)
    UPDATE registry_manifests SET keep_until = 0 WHERE repository = ? AND digest IN (SELECT digest FROM below)"""


def set_tag(db: "sqlite3.Connection", repository: str, tag: str, digest: str) -> None:
    """The tag means this manifest of the repository, whatever image the name stands for."""
    row = (f"{repository}:{tag}", repository, digest)
    db.execute("INSERT OR REPLACE INTO registry_tags VALUES (?, ?, ?)", row)


def drop_tag(db: "sqlite3.Connection", name: str) -> bool:
    """The full name has no meaning of its own here any more; whether it had."""
    return bool(db.execute("DELETE FROM registry_tags WHERE name = ? RETURNING 1", (name,)).fetchall())


def drop_document(db: "sqlite3.Connection", repository: str, digest: str) -> bool:
    """The repository has this manifest no more; whether it had."""
    where = (repository, digest)
    db.execute("DELETE FROM image_digests WHERE repository = ? AND digest = ?", where)
    query = "DELETE FROM registry_manifests WHERE repository = ? AND digest = ? RETURNING 1"
    return bool(db.execute(query, where).fetchall())


def forget(db: "sqlite3.Connection", blob: str) -> bool:
    """No repository has this manifest, nor those that need this blob, any more; whether any had."""
    query = """SELECT repository, digest FROM registry_manifests
        WHERE digest = ?1 OR digest IN (SELECT manifest FROM registry_blobs WHERE blob = ?1)"""
    found = db.execute(query, (blob,)).fetchall()
    for repository, digest in found:
        drop_document(db, repository, digest)
        db.execute("DELETE FROM registry_tags WHERE repository = ? AND digest = ?", (repository, digest))
    return bool(found)


# -- collecting ----------------------------------------------------------------------------------------------


LIVE_BLOBS = """SELECT digest FROM registry_manifests
    UNION SELECT blob FROM registry_blobs WHERE manifest IN (SELECT digest FROM registry_manifests)"""
"""The blobs that documents need."""


def unreached(db: "sqlite3.Connection", now: int | None = None) -> list[tuple[str, str]]:
    """(repository, digest) of the documents that nothing leads to and whose time is over; `now` in nanoseconds."""
    moment = time.time_ns() if now is None else now
    return [(repository, digest) for repository, digest in db.execute(_UNREACHED, (moment,))]


def drop_unreached(db: "sqlite3.Connection", found: "Iterable[tuple[str, str]]") -> None:
    """Within a transaction: forget them, and what only they needed."""
    for repository, digest in found:
        drop_document(db, repository, digest)
    db.execute("DELETE FROM registry_blobs WHERE manifest NOT IN (SELECT digest FROM registry_manifests)")


# Alive: what still has time; what a tag means; what refers to an image or index that is here; then, of what is alive,
# the manifests below it and those that refer to it.
_UNREACHED = """WITH RECURSIVE alive(repository, digest) AS (
        SELECT repository, digest FROM registry_manifests WHERE keep_until > ?
        UNION SELECT repository, digest FROM registry_tags
        UNION SELECT repository, digest FROM registry_manifests WHERE digest IN (SELECT target FROM image_names)
        UNION SELECT repository, digest FROM registry_manifests
            WHERE subject IN (SELECT manifest FROM images WHERE NOT removed UNION SELECT digest FROM indexes)
        UNION SELECT m.repository, m.digest FROM alive JOIN registry_blobs ON manifest = alive.digest
            JOIN registry_manifests m ON m.digest = blob AND m.repository = alive.repository
        UNION SELECT m.repository, m.digest FROM alive JOIN registry_manifests m
            ON m.subject = alive.digest AND m.repository = alive.repository)
    SELECT repository, digest FROM registry_manifests EXCEPT SELECT repository, digest FROM alive"""
