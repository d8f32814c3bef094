"""T25: an image that came from elsewhere is never taken for the result of a step."""

import copy
import io

import pytest

from tests.building import Bench
from tiffin.images import LayerBlob

pytestmark = pytest.mark.root


def test_a_crafted_twin_of_a_step_is_not_matched(based: Bench) -> None:
    """Same parent layers, same history, same config, but other files in the layer: only the cache table counts."""
    text = "FROM base\nRUN echo honest >/x"
    based.build(text, tags=("honest",))
    document = copy.deepcopy(based.document("honest"))
    base = based.images.resolve("base")
    with based.store.adding(), based.store.transaction() as db:
        db.execute("DELETE FROM build_cache")
    evil = based.build("FROM base\nRUN echo evil >/x", tags=("evil",), no_cache=True)
    layer = based.images.layers(based.images.resolve(evil.image_id))[-1]
    document["rootfs"]["diff_ids"] = [*base.diff_ids, layer.diff_id]
    with based.store.adding():
        based.images.create(
            document, [*based.images.layers(base), LayerBlob(*layer)], ["docker.io/library/twin:latest"]
        )
    based.build(text)
    assert based.executed == ["[2/2] RUN echo honest >/x"]
    with based.tree() as top:
        assert (top / "x").read_text() == "honest\n"


@pytest.mark.parametrize("member", ["Healthcheck", "OnBuild", "Env", "User", "Labels"])
def test_a_base_that_differs_in_config_alone_shares_no_step(based: Bench, member: str) -> None:
    based.build("FROM base\nRUN true")
    changed = {
        "Healthcheck": {"Test": ["CMD", "evil"]},
        "OnBuild": ["ENV X=1"],
        "Env": ["PATH=/bin", "LD_PRELOAD=/evil"],
        "User": "app",
        "Labels": {"a": "b"},
    }
    base = based.images.resolve("base")
    document = {**base.config, "config": {**base.settings, member: changed[member]}}
    with based.store.adding():
        based.images.create(document, list(based.images.layers(base)), ["docker.io/library/other:latest"])
    based.build("FROM other\nRUN true")
    assert "[2/2] RUN true" in based.executed or "[2/3] ENV X=1" not in based.cached
    assert based.cached == []


def test_loading_an_image_adds_nothing_to_the_cache(based: Bench) -> None:
    based.build("FROM base\nRUN echo x >/x")
    archive = io.BytesIO()
    based.images.save(["built"], archive)
    rows = based.store.db.execute("SELECT count(*) FROM build_cache").fetchone()
    archive.seek(0)
    based.images.load(archive)
    assert based.store.db.execute("SELECT count(*) FROM build_cache").fetchone() == rows
