"""Garbage: what no row names and no living process holds.

Runs only while nobody is adding (`Store.collecting`), so that everything unnamed then is nobody's. Under that
lock things only lose their names, which is quick; trees are removed after it is released, each from staging
under its own lock, where the next collector finds it should this one die.
"""

import os

from tiffin.errors import EngineError
from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from tiffin.images.service import Images
    from tiffin.state import Store

_CLAIMS_MAX = 256  # descriptors held at once; the next run takes the rest
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def collect(images: "Images") -> int:
    """See `Images.collect`."""
    staging = images.store.layout.staging
    abandoned: dict[str, int] = {}
    try:
        with images.store.collecting() as alone:
            if not alone:
                return 0
            removed = _forget(images)
            _claim(staging, abandoned)
        return removed + len(abandoned)
    except OSError as error:
        raise EngineError(f"cannot clear {staging}: {error}") from error
    finally:
        _clear(staging, abandoned)


def _forget(images: "Images") -> int:
    """Take unnamed blobs and layers out of their stores; how many."""
    _drop_removed_images(images.store)
    layers, blobs = unnamed(images)
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
        _claim(staging, found)
        return sorted(found)
    finally:
        for fd in found.values():
            os.close(fd)


def _drop_removed_images(store: "Store") -> None:
    """The rows of images that only a container kept, and it is gone."""
    query = "FROM images WHERE removed AND id NOT IN (SELECT image FROM containers)"
    if store.db.execute(f"SELECT 1 {query} LIMIT 1").fetchone():
        with store.transaction() as db:
            db.execute(f"DELETE {query}")


LIVE_LAYERS = (
    """SELECT diff_id FROM image_layers UNION SELECT diff_id FROM build_cache WHERE diff_id IS NOT NULL"""
)
_LIVE_BLOBS = """SELECT id FROM images UNION SELECT manifest FROM images UNION SELECT blob FROM image_layers
    UNION SELECT blob FROM build_cache WHERE blob IS NOT NULL UNION SELECT digest FROM indexes"""


def _claim(staging: str, abandoned: dict[str, int]) -> None:
    """Lock what is in staging and has no living maker, so that nobody else removes it meanwhile."""
    import fcntl

    for name in os.listdir(staging)[:_CLAIMS_MAX]:
        try:
            fd = os.open(f"{staging}/{name}", os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            abandoned[name] = fd
        except BlockingIOError:
            os.close(fd)


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
