"""Compressed blobs that are not kept: made again to the byte, or not dropped at all."""

import hashlib
from pathlib import Path

import pytest

from tests.command import Tiffin
from tests.integration.images.engine import open_images
from tests.integration.peers import need, run
from tiffin.errors import Conflict, NotFound
from tiffin.images import Images, LayerBlob
from tiffin.images.blobs import open_layer_blob
from tiffin.oci.descriptor import LAYER, LAYER_ZSTD

pytestmark = pytest.mark.root

DOCKERFILE = """\
FROM busybox
COPY tree /tree
RUN mkdir -p /made/deep && echo one >/made/deep/one && ln /made/deep/one /made/two && ln -s two /made/three \
 && chmod 4755 /made/two && rm /etc/group && rm -r /home && mkdir /home && echo new >/home/new && mkfifo /made/pipe
WORKDIR /work
"""


@pytest.fixture
def built(tiffin: Tiffin, tmp_path: Path) -> Tiffin:
    """An engine with the image `made`: layers of every kind that a build makes, over an imported one."""
    (tmp_path / "tree" / "sub").mkdir(parents=True)
    (tmp_path / "tree" / "sub" / "large").write_bytes(bytes(range(256)) * 8000)
    (tmp_path / "tree" / ("n" * 150)).write_text("long\n")
    (tmp_path / "Dockerfile").write_text(DOCKERFILE)
    tiffin.ok("build", "-q", "-t", "made", tmp_path)
    return tiffin


def rooms(tiffin: Tiffin) -> Images:
    return open_images(tiffin.root.parent)


def layers(tiffin: Tiffin, name: str) -> list[LayerBlob]:
    images = rooms(tiffin)
    try:
        return list(images.layers(images.resolve(name)))
    finally:
        images.store.close()


def on_disk(tiffin: Tiffin, layer: LayerBlob) -> bool:
    return (tiffin.root / "oci/blobs/sha256" / layer.blob[7:]).exists()


def test_layers_of_a_build_go_and_an_archive_is_the_same_as_before(built: Tiffin, tmp_path: Path) -> None:
    before, after = tmp_path / "before.tar", tmp_path / "after.tar"
    built.ok("save", "-o", before, "made")
    told = built.ok("image", "compact")
    base, *own = layers(built, "made")
    assert f"Kept: {base.blob}" in told  # an import's tar is not ours to make again
    assert on_disk(built, base)
    assert all(f"Removed: {layer.blob}" in told for layer in own)
    assert not any(on_disk(built, layer) for layer in own)
    assert built.ok("image", "compact") == told.splitlines()[-2] + "\nTotal reclaimed space: 0B"
    built.ok("save", "-o", after, "made")
    assert hashlib.sha256(after.read_bytes()).digest() == hashlib.sha256(before.read_bytes()).digest()
    assert not list((built.root / "staging").iterdir())


def test_dropped_layers_serve_containers_builds_and_the_cache(built: Tiffin, tmp_path: Path) -> None:
    built.ok("image", "compact", "made")
    assert built.ok("run", "--rm", "--network", "none", "made", "cat", "/made/two") == "one"
    again = built.ok("build", "-q", "-t", "again", tmp_path)
    assert again == built.ok("images", "-q", "--no-trunc", "made")
    (tmp_path / "Dockerfile").write_text("FROM made\nRUN echo more >/more\n")
    built.ok("build", "-q", "-t", "more", tmp_path)
    archive = tmp_path / "more.tar"
    built.ok("save", "-o", archive, "more")
    run(need("skopeo"), "inspect", f"oci-archive:{archive}")
    assert built.ok("load", "-i", archive).endswith("more:latest")
    assert all(on_disk(built, layer) for layer in layers(built, "more"))  # a load brings them back


def test_settings_drop_what_a_build_commit_and_load_bring(
    tiffin: Tiffin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = tmp_path / "config.toml"
    settings.write_text("[images]\nkeep-compressed = false\n")
    monkeypatch.setenv("TIFFIN_CONFIG", str(settings))
    (tmp_path / "Dockerfile").write_text("FROM busybox\nRUN echo one >/one\n")
    tiffin.ok("build", "-q", "-t", "built", tmp_path)
    assert [on_disk(tiffin, layer) for layer in layers(tiffin, "built")] == [True, False]
    tiffin.ok("run", "--name", "changed", "--network", "none", "built", "sh", "-c", "echo two >/two")
    tiffin.ok("commit", "changed", "committed")
    tiffin.ok("rm", "changed")
    assert [on_disk(tiffin, layer) for layer in layers(tiffin, "committed")] == [True, False, False]
    tiffin.ok("save", "-o", tmp_path / "a.tar", "committed")
    monkeypatch.delenv("TIFFIN_CONFIG")
    tiffin.ok("load", "-i", tmp_path / "a.tar")
    assert all(on_disk(tiffin, layer) for layer in layers(tiffin, "committed"))
    monkeypatch.setenv("TIFFIN_CONFIG", str(settings))
    tiffin.ok("load", "-i", tmp_path / "a.tar")
    assert [on_disk(tiffin, layer) for layer in layers(tiffin, "committed")] == [True, False, False]


def test_a_tree_that_was_changed_gives_no_blob(built: Tiffin, tmp_path: Path) -> None:
    built.ok("image", "compact", "made")
    layer = layers(built, "made")[2]
    (built.root / "layers" / layer.diff_id[7:] / "made/deep/one").write_text("another\n")
    text = built.fails("save", "-o", tmp_path / "x.tar", "made")
    assert f"the compressed blob {layer.blob}" in text
    assert "pull or load its image again" in text
    assert not (tmp_path / "x.tar").exists()


def test_nothing_is_dropped_under_somebody_who_reads(built: Tiffin) -> None:
    images = rooms(built)
    try:
        with images.store.adding():
            assert "try again" in built.fails("image", "compact")
            with pytest.raises(Conflict):
                images.drop_compressed()
        assert all(on_disk(built, layer) for layer in layers(built, "made"))
        assert images.drop_compressed().freed
    finally:
        images.store.close()


def test_what_another_program_compressed_is_not_taken_for_ours(built: Tiffin) -> None:
    images = rooms(built)
    try:
        layer = images.layers(images.resolve("made"))[1]
        images.content.delete(layer.blob)
        with open_layer_blob(images, layer, None) as file:
            assert f"sha256:{hashlib.sha256(file.read()).hexdigest()}" == layer.blob
        for other in (
            layer._replace(media_type=LAYER_ZSTD),
            layer._replace(blob_size=layer.blob_size - 1),
            layer._replace(blob=f"sha256:{'0' * 64}"),
            layer._replace(media_type=LAYER),
        ):
            with pytest.raises(NotFound, match="was dropped"):
                open_layer_blob(images, other, None)
        assert not list((built.root / "staging").iterdir())
    finally:
        images.store.close()
