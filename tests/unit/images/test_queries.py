"""What is asked of a store of ten thousand images is found by an index: no hot query reads a table through."""

import sqlite3
from collections.abc import Callable

import pytest

from tiffin.images import collect, documents, names, records
from tiffin.state import Store, locate, open_store

IMAGES = 2000


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    directory = tmp_path_factory.mktemp("engine")
    opened = open_store(locate(str(directory / "root"), str(directory / "run")))
    with opened.transaction() as db:
        for n in range(IMAGES):
            fill(db, n)
    return opened


def fill(db: sqlite3.Connection, n: int) -> None:
    """The rows of an image of six layers, four of them shared by ten images."""
    image = digest("image", n)
    row = (image, digest("manifest", n), "type", 1000, "{}" + " " * 1000, 10**8, n, n)
    db.execute(
        "INSERT INTO images (id, manifest, media_type, manifest_size, config, size, created, added)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        row,
    )
    for position in range(6):
        diff_id = digest("layer", n // 10 if position < 4 else n, position)
        db.execute("INSERT OR IGNORE INTO layers VALUES (?, 1, 1)", (diff_id,))
        db.execute(
            "INSERT INTO image_layers VALUES (?, ?, ?, ?, 'type', 1)",
            (image, position, diff_id, digest("blob", diff_id)),
        )
    db.execute(
        "INSERT INTO image_names (name, image) VALUES (?, ?)", (f"docker.io/library/x{n % 100}:{n}", image)
    )


def digest(*what: object) -> str:
    return f"sha256:{abs(hash(what)):064x}"[:71]


def plan(store: Store, query: str, *values: object) -> list[str]:
    return [row[3] for row in store.db.execute(f"EXPLAIN QUERY PLAN {query}", values)]


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ("SELECT image FROM image_names WHERE name = ?", 1),
        ("SELECT 1 FROM images WHERE id = ? AND NOT removed", 1),
        ("SELECT id FROM images WHERE id >= ? AND id < ? AND NOT removed LIMIT 2", 2),
        ("SELECT manifest, media_type, config, created, size FROM images WHERE id = ?", 1),
        ("SELECT name FROM image_names WHERE image = ? ORDER BY name", 1),
        ("SELECT diff_id FROM image_layers WHERE image = ? ORDER BY position", 1),
        ("SELECT diff_id, blob, media_type, blob_size FROM image_layers WHERE diff_id = ?", 1),
        ("SELECT diff_id, blob, media_type, blob_size FROM image_layers WHERE blob = ? LIMIT 1", 1),
        (
            "SELECT id FROM images JOIN image_names ON image = id WHERE manifest = ? AND NOT removed AND name GLOB ?",
            2,
        ),
        ("SELECT name FROM image_names WHERE target = ?", 1),
        ("SELECT 1 FROM containers WHERE image = ?", 1),
        ("SELECT repository FROM image_digests WHERE digest = ? AND repository <> ?", 2),
        ("SELECT 1 FROM layers WHERE diff_id = ?", 1),
        ("DELETE FROM images WHERE id = ?", 1),
    ],
)
def test_what_is_looked_up_is_not_searched_for(store: Store, query: str, count: int) -> None:
    steps = plan(store, query, *["sha256:0"] * count)
    assert steps
    assert not [step for step in steps if step.startswith("SCAN")]


def test_a_listing_reads_no_config(store: Store) -> None:
    assert "SCAN images USING COVERING INDEX images_listed" in plan(store, _asked(store, records.summaries))
    assert "SCAN images" not in plan(store, records._WITHIN)


def test_deriving_the_index_reads_no_config(store: Store) -> None:
    def rows(db: sqlite3.Connection) -> None:
        list(names._rows(db))

    assert "SCAN images USING COVERING INDEX images_added" in plan(store, _asked(store, rows))


def _asked(store: Store, call: Callable[[sqlite3.Connection], object]) -> str:
    """The query over the table of images that `call` makes."""
    asked: list[str] = []
    store.db.set_trace_callback(asked.append)
    try:
        call(store.db)
    finally:
        store.db.set_trace_callback(None)
    (query,) = [text for text in asked if " FROM images " in text]
    return query


def test_looking_for_removed_images_reads_no_config(store: Store) -> None:
    steps = plan(store, "SELECT 1 FROM images WHERE removed AND id NOT IN (SELECT image FROM containers)")
    assert "SCAN images USING COVERING INDEX images_listed" in steps, steps


@pytest.mark.parametrize("query", [collect.LIVE_LAYERS, collect._LIVE_BLOBS, documents.LIVE_BLOBS])
def test_collecting_reads_indexes_alone(store: Store, query: str) -> None:
    scans = [step for step in plan(store, query) if step.startswith("SCAN ")]
    assert all("COVERING INDEX" in step or step == "SCAN build_cache" for step in scans), scans


def test_deleting_an_image_reads_nothing_of_the_others(store: Store) -> None:
    """Its rows elsewhere are found through foreign keys, each of which needs an index on the far side."""
    for table, column in (
        ("image_layers", "image"),
        ("image_names", "image"),
        ("index_images", "image"),
        ("image_digests", "image"),
    ):
        steps = plan(store, f"SELECT 1 FROM {table} WHERE {column} = ?", "sha256:0")
        assert all(step.startswith("SEARCH") for step in steps), steps


def test_steps_stay_few_as_images_grow_many(store: Store) -> None:
    """Counted in SQLite's own virtual machine, not in time: a lookup costs as much in this store as in an empty one."""

    def steps(query: str, *values: object) -> int:
        count = 0

        def tick() -> int:
            nonlocal count
            count += 1
            return 0

        store.db.set_progress_handler(tick, 10)
        try:
            store.db.execute(query, values).fetchall()
        finally:
            store.db.set_progress_handler(None, 0)
        return count

    assert steps("SELECT image FROM image_names WHERE name = ?", "docker.io/library/x7:7") < 10
    assert steps("SELECT config FROM images WHERE id = ?", digest("image", 7)) < 10
    assert (
        steps("SELECT diff_id FROM image_layers WHERE image = ? ORDER BY position", digest("image", 7)) < 30
    )
    assert steps("SELECT id FROM images WHERE manifest = ?", digest("manifest", 7)) < 10
