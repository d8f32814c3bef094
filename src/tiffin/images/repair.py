"""Making images whole again after a check, or letting go of those that cannot be.

    damaged blob    ─ from its row (a config) ─ from its rows (a manifest of our own) ─ from its tree (a layer of our
                      own) ─ from a repository that has it: whichever comes first that gives the same digest
    damaged layer   ─ unpacked aside from its blob, compared, then exchanged with the tree that stood there, atomically
    what is left    ─ images that lack something are dropped, unless a container needs them

Nothing that a running container has mounted is touched. Safe to be killed at any moment: what is done is whole, and
the rest is found by the next check.
"""

import hashlib
import os

from tiffin.containers.states import SUPERVISED
from tiffin.errors import (
    Conflict,
    Corrupt,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    TransferError,
    Unauthorized,
)
from tiffin.images import documents
from tiffin.images.blobs import open_layer_blob
from tiffin.images.check import Checked, compare, describe
from tiffin.images.collect import collect
from tiffin.images.finding import LEFTOVER, Finding
from tiffin.images.names import write_index
from tiffin.images.records import LayerBlob
from tiffin.images.write import make_manifest
from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    import sqlite3

    from tiffin.images.blobs import Repositories
    from tiffin.images.service import Images

_PIECE = 1 << 20


def repair_images(
    images: "Images", checked: Checked, registry: "Repositories | None" = None
) -> list[Finding]:
    """Repair what `checked` found; its findings, each with its outcome. Raises Conflict (others are adding),
    NoSpace, EngineError."""
    outcomes: dict[tuple[str, str], tuple[str, bool]] = {}
    with (
        images.store.collecting() as alone
    ):  # a build or a load may have mounted, or be reading, what is exchanged
        if not alone:
            raise Conflict("a build, pull, load or save is at work; repair when it is done")
        _dangling_rows(images, checked)
        for digest in checked.blobs:
            outcomes["blob", digest] = _blob(images, digest, registry)
        for diff_id in checked.layers:
            outcomes["layer", diff_id] = _layer(images, diff_id)
        bad_blobs = {name for (kind, name), (_, done) in outcomes.items() if kind == "blob" and not done}
        bad_layers = {name for (kind, name), (_, done) in outcomes.items() if kind == "layer" and not done}
        bad_layers = {name for name in bad_layers if not _running(images.store.db, name)}
        _let_go(images, checked, bad_blobs, bad_layers, outcomes)
        _write_layout(images)
    write_index(images.store)
    collect(images, partials=True)
    return [_with_outcome(finding, outcomes) for finding in checked.findings]


def _with_outcome(finding: Finding, outcomes: dict[tuple[str, str], tuple[str, bool]]) -> Finding:
    if finding.severity == LEFTOVER:
        return finding._replace(outcome="done", repaired=True)
    known = outcomes.get((finding.kind, finding.name))
    if known is None:
        repairable = finding.kind == "index" or (finding.kind == "database" and bool(finding.repair))
        known = ("done", True) if repairable else ("not repaired", False)
    return finding._replace(outcome=known[0], repaired=known[1])


def _dangling_rows(images: "Images", checked: Checked) -> None:
    """Rows that name nothing go; a table without row numbers is cleared of them by its key, so by a plain query."""
    if not any(finding.kind == "database" and finding.repair for finding in checked.findings):
        return
    with images.store.transaction() as db:
        for child, column, parent, key in _REFERENCES:
            db.execute(f"DELETE FROM {child} WHERE {column} NOT IN (SELECT {key} FROM {parent})")  # noqa: S608 - constants


_REFERENCES = (
    ("image_layers", "image", "images", "id"),
    ("image_names", "image", "images", "id"),
    ("image_digests", "image", "images", "id"),
    ("index_images", "image", "images", "id"),
    ("index_images", "digest", "indexes", "digest"),
    ("volume_uses", "volume", "volumes", "name"),
)


# -- blobs ---------------------------------------------------------------------------------------------------


def _blob(images: "Images", digest: str, registry: "Repositories | None") -> tuple[str, bool]:
    """Put a damaged or missing blob back; what was done, and whether it is whole now."""
    images.content.delete(digest)
    for how, attempt in (
        ("made again from its row", _from_rows),
        ("made again from its layer, or fetched", _layer_blob),
        ("fetched again", _fetched),
    ):
        try:
            if attempt(images, digest, registry):
                return how, True
        except (Corrupt, NotFound, InvalidArgument, PermissionDenied, TransferError, Unauthorized):
            continue
    return "cannot be made or fetched again", False


def _from_rows(images: "Images", digest: str, _: "Repositories | None") -> bool:
    db = images.store.db
    row = db.execute("SELECT config FROM images WHERE id = ?", (digest,)).fetchone()
    if row is not None:
        return images.content.put_bytes(row[0].encode()) == digest
    for image, config in db.execute("SELECT id, config FROM images WHERE manifest = ?", (digest,)).fetchall():
        data = make_manifest(image, len(config.encode()), layer_rows(db, "image = ?", image))
        if "sha256:" + hashlib.sha256(data).hexdigest() == digest:
            return images.content.put_bytes(data) == digest
    return False


def _layer_blob(images: "Images", digest: str, registry: "Repositories | None") -> bool:
    found = layer_rows(images.store.db, "blob = ?", digest)
    if not found:
        return False
    with open_layer_blob(images, found[0], registry) as source, images.content.writer() as blob:
        while data := source.read(_PIECE):
            blob.write(data)
        return blob.commit(digest)[0] == digest


def _fetched(images: "Images", digest: str, registry: "Repositories | None") -> bool:
    """A manifest or an index, from a repository that has it under this digest."""
    query = "SELECT DISTINCT repository FROM image_digests WHERE digest = ? ORDER BY repository"
    if registry is None:
        return False
    for (name,) in images.store.db.execute(query, (digest,)).fetchall():
        data = registry.repository(name).manifest(digest).data
        if images.content.put_bytes(data) == digest:
            return True
    return False


def layer_rows(db: "sqlite3.Connection", where: str, value: str) -> list[LayerBlob]:
    """The rows of layers with `where` (a constant of the caller's), in the order of an image."""
    query = f"SELECT diff_id, blob, media_type, blob_size FROM image_layers WHERE {where} ORDER BY image, position"  # noqa: S608
    found = [LayerBlob(*row) for row in db.execute(query, (value,))]
    if not found and where != "image = ?":
        cached = (
            f"SELECT diff_id, blob, media_type, blob_size FROM build_cache WHERE blob NOTNULL AND {where}"  # noqa: S608
        )
        found = [LayerBlob(*row) for row in db.execute(cached, (value,))]
    return found


# -- layers --------------------------------------------------------------------------------------------------


def _layer(images: "Images", diff_id: str) -> tuple[str, bool]:
    """Unpack a layer again from the first of its blobs that is whole."""
    for layer in dict.fromkeys(layer_rows(images.store.db, "diff_id = ?", diff_id)):
        bad, _ = compare(images, layer, -1)
        if bad:
            continue
        try:
            _refuse_used(images.store.db, diff_id)
            _unpack_again(images, layer)
        except (Conflict, Corrupt) as error:
            return str(error), False
        return "unpacked again", True
    return "none of its blobs is whole", False


def _running(db: "sqlite3.Connection", diff_id: str) -> list[str]:
    """Containers that may have the layer mounted."""
    import json

    marks = ",".join("?" * len(SUPERVISED))
    rows = db.execute(f"SELECT id, record FROM containers WHERE status IN ({marks})", SUPERVISED)  # noqa: S608 - marks
    return [container for container, record in rows if diff_id in json.loads(record).get("layers", ())]


def _unpack_again(images: "Images", layer: LayerBlob) -> None:
    """Into staging; then, in one transaction that no container can start within, in the place of what stood there."""
    from tiffin.layer.apply import apply_layer
    from tiffin.layer.compress import open_decompressed

    plain = hashlib.sha256()
    with images.snapshots.stage_layer() as staged, images.content.open(layer.blob) as file:
        with open_decompressed(file, digest=plain) as tar:
            size = apply_layer(tar, staged.fd).size
        if f"sha256:{plain.hexdigest()}" != layer.diff_id:
            raise Corrupt(f"blob {layer.blob} does not unpack to layer {layer.diff_id}")
        _, differences = compare(images, layer, staged.fd)
        if differences:
            raise Corrupt(
                f"layer {layer.diff_id} does not come out as its blob says: {describe(differences)}"
            )
        staged.replace(layer.diff_id, size, lambda: _refuse_used(images.store.db, layer.diff_id))


def _refuse_used(db: "sqlite3.Connection", diff_id: str) -> None:
    users = _running(db, diff_id)
    if users:
        raise Conflict(f"running container {users[0][:12]} uses it; stop that and repair again")


# -- images --------------------------------------------------------------------------------------------------


def _let_go(
    images: "Images",
    checked: Checked,
    bad_blobs: set[str],
    bad_layers: set[str],
    outcomes: dict[tuple[str, str], tuple[str, bool]],
) -> None:
    """Drop what cannot be whole: indexes, steps of the build cache, images. A container keeps its image."""
    db = images.store.db
    doomed: dict[str, list[tuple[str, str]]] = {image: [("image", image)] for image in checked.images}
    for digest in bad_blobs:
        query = "SELECT id FROM images WHERE ?1 IN (id, manifest) UNION SELECT image FROM image_layers WHERE blob = ?1"
        for (image,) in db.execute(query, (digest,)):
            doomed.setdefault(image, []).append(("blob", digest))
    for diff_id in bad_layers:
        for (image,) in db.execute("SELECT image FROM image_layers WHERE diff_id = ?", (diff_id,)):
            doomed.setdefault(image, []).append(("layer", diff_id))
    with images.store.transaction() as db:
        for kind, column, names in (("blob", "blob", bad_blobs), ("layer", "diff_id", bad_layers)):
            for name in names:
                gone = db.execute(f"DELETE FROM build_cache WHERE {column} = ?", (name,)).rowcount  # noqa: S608 - constants
                if gone:
                    outcomes[kind, name] = "its step of the build cache was dropped", True
        for digest in bad_blobs:
            db.execute("UPDATE image_names SET target = '' WHERE target = ?", (digest,))
            if db.execute("DELETE FROM indexes WHERE digest = ?", (digest,)).rowcount:
                outcomes["blob", digest] = "the index was forgotten; its images stay", True
            if documents.forget(db, digest):
                outcomes["blob", digest] = (
                    "what the registry served with it is served no longer; push it again",
                    True,
                )
        for image, reasons in doomed.items():
            outcome = _drop(db, image)
            for reason in reasons:
                outcomes[reason] = outcome


def _drop(db: "sqlite3.Connection", image: str) -> tuple[str, bool]:
    names = [
        name for (name,) in db.execute("SELECT name FROM image_names WHERE image = ? ORDER BY name", (image,))
    ]
    user = db.execute("SELECT name FROM containers WHERE image = ?", (image,)).fetchone()
    shown = f"image {image[7:19]}" + (f" ({', '.join(names[:4])})" if names else "")
    if user is not None:
        return f"{shown} was kept: container {user[0]} is made from it; pull or load the image again", False
    db.execute("DELETE FROM image_names WHERE image = ?", (image,))
    db.execute("DELETE FROM images WHERE id = ?", (image,))
    return f"{shown} was dropped; pull or load it again", True


def _write_layout(images: "Images") -> None:
    path = f"{images.store.layout.oci}/oci-layout"
    aside = f"{images.store.layout.staging}/oci-layout-{os.urandom(8).hex()}"
    try:
        with open(path, "rb") as file:
            if file.read(100) == b'{"imageLayoutVersion":"1.0.0"}':
                return
    except FileNotFoundError:
        pass
    with open(aside, "wb") as file:
        file.write(b'{"imageLayoutVersion":"1.0.0"}')
        file.flush()
        os.fsync(file.fileno())
    os.rename(aside, path)
