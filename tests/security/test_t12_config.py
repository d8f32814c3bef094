"""T12, as far as loading an image goes: a config is data. Its labels and volumes are kept and never acted on."""

from pathlib import Path

import pytest

from tests.integration.images.archives import Oci, tar
from tests.integration.images.conftest import images
from tests.integration.images.engine import load
from tiffin.images import Images

pytestmark = pytest.mark.root
__all__ = ["images"]


def test_labels_under_our_own_prefix_and_volumes_that_lead_out_change_nothing(
    images: Images, tmp_path: Path
) -> None:
    (tmp_path / "canary").mkdir()
    evil = {
        "Labels": {"io.tiffin.restart": "always", "io.tiffin.mount": "/:/host"},
        "Volumes": {"/../../canary": {}, "../canary": {}},
        "OnBuild": ["RUN rm -r /"],
    }
    archive = Oci()
    archive.image("x:1", [tar({"a": b"a"})], config=evil, tiffin={"removed": 1})
    load(images, archive.tar())
    db = images.store.db
    tables = {row[0] for row in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
    touched = {table for table in tables if db.execute(f"SELECT 1 FROM {table} LIMIT 1").fetchone()}
    assert touched == {"images", "image_layers", "image_names", "layers"}
    assert images.resolve("x:1").settings == evil
    assert list((tmp_path / "canary").iterdir()) == []
