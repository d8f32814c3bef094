"""What is recorded of blobs: which repositories hold them, and which were here once as a layer's."""

from tiffin.images.records import LayerBlob
from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable


def origins_of(db: "sqlite3.Connection", blob: str) -> tuple[str, ...]:
    """The repositories, as `docker.io/library/debian`, that are known to hold a blob."""
    rows = db.execute("SELECT repository FROM blob_origins WHERE blob = ? ORDER BY repository", (blob,))
    return tuple(name for (name,) in rows)


def record_origins(db: "sqlite3.Connection", repository: str, blobs: "Iterable[str]") -> None:
    """Within a transaction: the repository holds these blobs."""
    rows = [(blob, repository) for blob in blobs]
    db.executemany("INSERT OR IGNORE INTO blob_origins (blob, repository) VALUES (?, ?)", rows)


def layer_by_blob(db: "sqlite3.Connection", digest: str) -> LayerBlob | None:
    """The layer that some image here has as the blob `digest`, be the blob itself here or not."""
    query = "SELECT diff_id, blob, media_type, blob_size FROM image_layers WHERE blob = ? LIMIT 1"
    row = db.execute(query, (digest,)).fetchone()
    return LayerBlob(*row) if row else None


def is_recorded(db: "sqlite3.Connection", diff_id: str, blob: str, blob_size: int) -> bool:
    """Whether the blob was here as this layer's, both digests compared: it may have been dropped since."""
    return db.execute(_RECORDED, (diff_id, blob, blob_size) * 2).fetchone() is not None


_RECORDED = """SELECT 1 FROM image_layers WHERE diff_id = ? AND blob = ? AND blob_size = ?
    UNION SELECT 1 FROM build_cache WHERE diff_id = ? AND blob = ? AND blob_size = ? LIMIT 1"""
