"""Garbage: what no row names and no living process holds.

Runs only while nobody is adding (`Store.collecting`), so that everything unnamed then is nobody's. Under that
lock things only lose their names, which is quick; trees are removed after it is released, each from staging
under its own lock, where the next collector finds it should this one die.
"""

import os

from tiffin.errors import EngineError
from tiffin.images import documents
from tiffin.images.asides import remove_asides
from tiffin.images.names import write_index
from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from tiffin.images.service import Images
    from tiffin.state import Store

_PARTIAL = "partial-"
_PARTIAL_AGE = 24 * 3600  # seconds that the beginning of a blob waits for its pull to be repeated
_CLAIMS_MAX = 256  # descriptors held at once; there is a next round
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def collect(images: "Images", partials: bool = False) -> int:
    """See `Images.collect`."""
    total = found = _collect_some(images, partials)
    while found >= _CLAIMS_MAX:
        total += (found := _collect_some(images, partials))
    return total + (remove_asides(images.store.layout) if partials else 0)


def _collect_some(images: "Images", partials: bool) -> int:
    staging = images.store.layout.staging
    abandoned: dict[str, int] = {}
    try:
        with images.store.collecting() as alone:
            if not alone:
                return 0
            removed = _forget(images)
            _claim(staging, abandoned, 0 if partials else _PARTIAL_AGE)
        return removed + len(abandoned)
    except OSError as error:
        raise EngineError(f"cannot clear {staging}: {error}") from error
    finally:
        _clear(staging, abandoned)


def _forget(images: "Images") -> int:
    """Take unnamed blobs and layers out of their stores; how many."""
    _drop_removed_images(images.store)
    _drop_documents(images.store)
    _drop_loose_rows(images.store)
    layers, blobs = unnamed(images)
    if blobs:  # whoever was killed after a commit left an index that may still lead to them
        write_index(images.store)
    for diff_id in layers:
        images.snapshots.discard_layer(diff_id)
    for digest in blobs:
        images.content.delete(digest)
    return len(layers) + len(blobs)


def unnamed(images: "Images") -> tuple[set[str], set[str]]:
    """The DiffIDs (rows and trees) and blobs that no image, index or build step names. While somebody is adding, some
    of them may be about to be named."""
    db = images.store.db
    layers = {row[0] for row in db.execute("SELECT diff_id FROM layers")} | set(images.snapshots.diff_ids())
    blobs = set(images.content.digests())
    layers.difference_update(row[0] for row in db.execute(LIVE_LAYERS))
    blobs.difference_update(row[0] for row in db.execute(_LIVE_BLOBS))
    return layers, blobs


def abandoned_names(staging: str) -> list[str]:
    """What is in staging and has no living maker."""
    found: dict[str, int] = {}
    try:
        _claim(staging, found, 0)
        return sorted(found)
    finally:
        for fd in found.values():
            os.close(fd)


def _drop_removed_images(store: "Store") -> None:
    """The rows of images that only a container kept, and it is gone."""
    query = "FROM images WHERE removed AND id NOT IN (SELECT image FROM image_users)"
    if store.db.execute(f"SELECT 1 {query} LIMIT 1").fetchone():
        with store.transaction() as db:
            db.execute(f"DELETE {query}")


def _drop_documents(store: "Store") -> None:
    """The rows of manifests that the registry was given and that nothing leads to."""
    if found := documents.unreached(store.db):
        with store.transaction() as db:
            documents.drop_unreached(db, found)


def _drop_loose_rows(store: "Store") -> None:
    """The rows of indexes none of whose images is here, and of origins of blobs that nothing names."""
    loose = [
        "FROM indexes WHERE digest NOT IN (SELECT digest FROM index_images)",
        f"FROM blob_origins WHERE blob NOT IN ({_LIVE_BLOBS})",
    ]
    if any(store.db.execute(f"SELECT 1 {query} LIMIT 1").fetchone() for query in loose):
        with store.transaction() as db:
            for query in loose:
                db.execute(f"DELETE {query}")


LIVE_LAYERS = (
    """SELECT diff_id FROM image_layers UNION SELECT diff_id FROM build_cache WHERE diff_id IS NOT NULL"""
)
_LIVE_BLOBS = f"""SELECT id FROM images UNION SELECT manifest FROM images UNION SELECT blob FROM image_layers
    UNION SELECT blob FROM build_cache WHERE blob IS NOT NULL UNION SELECT digest FROM indexes
    UNION {documents.LIVE_BLOBS}"""  # noqa: S608 - ours


def _claim(staging: str, abandoned: dict[str, int], partial_age: int) -> None:
    """Lock what is in staging and has no living maker, so that nobody else removes it meanwhile; of the beginnings of
    blobs only those that nobody has added to for `partial_age` seconds."""
    import fcntl
    import time

    names = os.listdir(staging)
    if partial_age:
        fresh = time.time() - partial_age
        names = [name for name in names if not name.startswith(_PARTIAL) or _modified(staging, name) < fresh]
    for name in names[:_CLAIMS_MAX]:
        try:
            fd = os.open(f"{staging}/{name}", os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            abandoned[name] = fd
        except BlockingIOError:
            os.close(fd)


def _modified(staging: str, name: str) -> float:
    try:
        return os.lstat(f"{staging}/{name}").st_mtime
    except FileNotFoundError:
        return 0.0


def _clear(staging: str, abandoned: dict[str, int]) -> None:
    from tiffin.kernel.paths import remove_tree

    if not abandoned:
        return
    parent = os.open(staging, _DIRECTORY)
    try:
        for name, fd in abandoned.items():
            remove_tree(parent, name)
            os.close(fd)
    finally:
        os.close(parent)
