import bz2
import gzip
import io
import json
import os
import threading
from pathlib import Path

import pytest
import zstandard

from tests.integration.images.archives import (
    INDEX,
    LAYER,
    MANIFEST,
    Oci,
    config,
    descriptor,
    digest,
    docker_archive,
    encode,
    symlink,
    tar,
)
from tests.integration.images.engine import files_of, load, open_images, stored, verify
from tiffin.errors import InvalidArgument, NotFound
from tiffin.images import Images
from tiffin.oci.platform import host_platform

pytestmark = pytest.mark.root

LOWER, UPPER = tar({"a": b"lower"}), tar({"b": b"upper"})


def test_an_oci_archive_brings_its_image_with_id_name_and_layers(images: Images) -> None:
    archive = Oci()
    document = archive.image("docker.io/library/x:1", [LOWER, UPPER])
    assert load(images, archive.tar()) == ["docker.io/library/x:1"]
    image = images.resolve("x:1")
    assert image.id == digest(document)
    assert image.diff_ids == (digest(LOWER), digest(UPPER))
    assert files_of(images, image) == ["a", "b"]
    assert image.size == 10
    verify(images)


def test_a_docker_archive_keeps_the_bytes_of_its_config(images: Images) -> None:
    load(images, docker_archive("x:1", [LOWER, UPPER]))
    image = images.resolve("x:1")
    assert image.id == digest(config([LOWER, UPPER]))
    assert image.diff_ids == (digest(LOWER), digest(UPPER))
    verify(images)


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, zstandard.ZstdCompressor().compress, bytes])
def test_archives_may_be_compressed_and_come_through_a_pipe(images: Images, pack) -> None:
    read, write = os.pipe()
    data = pack(docker_archive("x:1", [LOWER]))

    def feed() -> None:
        with open(write, "wb") as pipe:
            pipe.write(data)

    writer = threading.Thread(target=feed)
    writer.start()
    with open(read, "rb", buffering=0) as stream:
        assert images.load(stream) == ["docker.io/library/x:1"]
    writer.join()
    verify(images)
    assert stored(images)[2] == 0


def test_a_plain_archive_in_a_file_is_read_where_it_lies(images: Images, tmp_path: Path) -> None:
    (tmp_path / "x.tar").write_bytes(docker_archive("x:1", [LOWER, UPPER]))
    with open(tmp_path / "x.tar", "rb") as file:
        images.load(file)
    verify(images)


def test_a_layer_link_inside_the_archive_is_followed(images: Images) -> None:
    members = {"1/layer.tar": symlink("1/layer.tar", "../0/layer.tar")}
    load(images, docker_archive("x:1", [LOWER, LOWER], members=members))
    assert images.resolve("x:1").diff_ids == (digest(LOWER),) * 2


def test_a_name_of_an_index_stands_for_the_image_for_this_machine(images: Images) -> None:
    archive = Oci()
    host = host_platform()
    ours = archive.manifest(config([LOWER]), [gzip.compress(LOWER)])
    theirs = archive.manifest(config([UPPER]), [gzip.compress(UPPER)])
    below = [
        descriptor(MANIFEST, theirs, platform={"os": "linux", "architecture": "s390x"}),
        descriptor(MANIFEST, ours, platform={"os": host.os, "architecture": host.architecture}),
    ]
    inner = encode({"schemaVersion": 2, "mediaType": INDEX, "manifests": below})
    archive.blob(inner)
    archive.index = [
        descriptor(INDEX, inner, annotations={"io.containerd.image.name": "docker.io/library/m:1"})
    ]
    load(images, archive.tar())
    assert images.resolve("m:1").diff_ids == (digest(LOWER),)
    assert len(images.list()) == 2


def test_an_index_without_this_machine_says_what_there_is(images: Images) -> None:
    archive = Oci()
    manifest = archive.manifest(config([LOWER]), [gzip.compress(LOWER)])
    entry = descriptor(MANIFEST, manifest, platform={"os": "plan9", "architecture": "mips"})
    inner = encode({"schemaVersion": 2, "mediaType": INDEX, "manifests": [entry]})
    archive.blob(inner)
    archive.index = [descriptor(INDEX, inner)]
    with pytest.raises(InvalidArgument, match="only for: plan9/mips"):
        load(images, archive.tar())


def test_an_image_without_a_name_is_told_by_its_id(images: Images) -> None:
    archive = Oci()
    document = archive.image("latest", [LOWER])  # a lone tag names no repository
    assert load(images, archive.tar()) == [digest(document)]
    assert images.list()[0].names == ()


def test_zstd_layers_keep_their_blobs(images: Images) -> None:
    archive = Oci()
    blob = zstandard.ZstdCompressor().compress(LOWER)
    manifest = archive.manifest(config([LOWER]), [blob])
    manifest = manifest.replace(LAYER.encode(), b"application/vnd.oci.image.layer.v1.tar+zstd")
    archive.blob(manifest)
    archive.index = [descriptor(MANIFEST, manifest)]
    load(images, archive.tar())
    (layer,) = images.layers(images.by_id(images.list()[0].id))
    assert (layer.blob, layer.media_type[-4:]) == (digest(blob), "zstd")
    verify(images)


def test_loading_again_stores_nothing_more(images: Images) -> None:
    for _ in range(2):
        load(images, docker_archive("x:1", [LOWER, UPPER]))
        assert stored(images) == (4, 2, 0)
    assert len(images.list()) == 1


def test_progress_is_told_for_each_layer(images: Images) -> None:
    told: list[tuple[str, int, int]] = []
    images.load(io.BytesIO(docker_archive("x:1", [LOWER])), lambda *step: told.append(step))
    assert told[0] == (digest(LOWER), 0, len(LOWER))
    assert told[-1] == (digest(LOWER), len(LOWER), len(LOWER))


@pytest.mark.parametrize("form", ["", "oci-archive", "docker-archive"])
def test_what_is_saved_loads_as_the_same_image(images: Images, tmp_path: Path, form: str) -> None:
    load(images, docker_archive("x:1", [LOWER, UPPER, LOWER]))
    images.tag("x:1", "ghcr.io/y/z:2")
    packed = io.BytesIO()
    images.save(["x:1", "ghcr.io/y/z:2"], packed, form)
    other = open_images(tmp_path / "other")
    try:
        assert sorted(load(other, packed.getvalue())) == ["docker.io/library/x:1", "ghcr.io/y/z:2"]
        assert other.resolve("x:1")[:1] == images.resolve("x:1")[:1]
        assert other.layers(other.resolve("x:1")) == images.layers(images.resolve("x:1"))
        verify(other)
    finally:
        other.store.close()


def test_saving_twice_gives_the_same_bytes(images: Images) -> None:
    load(images, docker_archive("x:1", [LOWER]))
    first, second = io.BytesIO(), io.BytesIO()
    images.save(["x:1"], first)
    images.save(["x:1"], second)
    assert first.getvalue() == second.getvalue()


def test_a_repository_without_a_tag_saves_all_its_tags_and_an_id_none(images: Images) -> None:
    load(images, docker_archive("x:1", [LOWER]))
    images.tag("x:1", "x:2")
    for what, tags in (
        ("x", ["docker.io/library/x:1", "docker.io/library/x:2"]),
        (images.resolve("x:1").id[7:19], None),
    ):
        packed = io.BytesIO()
        images.save([what], packed, "docker-archive")
        start = packed.getvalue().index(b'[{"Config"')
        (entry,) = json.loads(packed.getvalue()[start:].partition(b"\0")[0])
        assert entry["RepoTags"] == tags


def test_saving_an_unknown_image_writes_nothing(images: Images) -> None:
    load(images, docker_archive("x:1", [LOWER]))
    packed = io.BytesIO()
    with pytest.raises(NotFound, match="No such image: y:latest"):
        images.save(["x:1", "y"], packed)
    assert packed.getvalue() == b""


@pytest.mark.parametrize("pack", [gzip.compress, bytes])
def test_a_root_filesystem_is_imported_as_one_layer(images: Images, pack) -> None:
    image = images.import_(io.BytesIO(pack(LOWER)), "base", "from somewhere")
    assert image.names == ("docker.io/library/base:latest",)
    assert image.diff_ids == (digest(LOWER),)
    assert images.history("base")[0]["Comment"] == "from somewhere"
    verify(images)


def test_importing_what_is_no_tar_leaves_nothing(images: Images) -> None:
    from tiffin.errors import Corrupt

    with pytest.raises(Corrupt):
        images.import_(io.BytesIO(b"not a tar at all" * 100), "base")
    assert stored(images) == (0, 0, 0)
