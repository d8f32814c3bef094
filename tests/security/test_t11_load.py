"""T11: nothing in an image archive reaches a file outside the store, and its documents are bounded."""

import hashlib
import os
from pathlib import Path

import pytest

from tests.integration.images.archives import Oci, config, digest, docker_archive, encode, symlink, tar
from tests.integration.images.conftest import images
from tests.integration.images.engine import load, stored
from tiffin.errors import Corrupt, InvalidArgument, LimitExceeded, TiffinError
from tiffin.images import Images
from tiffin.layer.tarstream import Entry, Kind

pytestmark = pytest.mark.root
__all__ = ["images"]

PLAIN = tar({"a": b"a"})


@pytest.fixture
def canary(tmp_path: Path):
    """A tree beside the store that must stay as it is, holding a valid layer and a valid config."""
    tree = tmp_path / "canary"
    tree.mkdir()
    (tree / "layer.tar").write_bytes(PLAIN)
    (tree / "config.json").write_bytes(config([PLAIN]))
    before = sorted(
        (p.name, hashlib.sha256(p.read_bytes()).digest(), p.stat().st_mtime_ns) for p in tree.iterdir()
    )
    yield tree
    after = sorted(
        (p.name, hashlib.sha256(p.read_bytes()).digest(), p.stat().st_mtime_ns) for p in tree.iterdir()
    )
    assert before == after


def refused(images: Images, archive: bytes, kind: type[TiffinError] = Corrupt) -> None:
    with pytest.raises(kind):
        load(images, archive)
    assert images.list() == []
    assert stored(images) == (0, 0, 0)


@pytest.mark.parametrize("up", ["", "../../../../../../../../../.."])
def test_a_layer_that_links_out_of_the_archive_is_not_there(images: Images, canary: Path, up: str) -> None:
    for kind in (Kind.SYMLINK, Kind.HARDLINK):
        link = Entry("0/layer.tar", kind, linkname=f"{up}{canary}/layer.tar")
        refused(images, docker_archive("x:1", [PLAIN], members={"0/layer.tar": link}))


def test_links_in_a_circle_are_refused(images: Images) -> None:
    circle = {"0/layer.tar": symlink("0/layer.tar", "../b"), "b": symlink("b", "0/layer.tar")}
    refused(images, docker_archive("x:1", [PLAIN], members=circle))


@pytest.mark.parametrize(
    "name", ["../x", "/etc/passwd", "../../canary/config.json", "", None, 7, [], {"a": 1}]
)
def test_a_config_outside_the_archive_is_not_there(images: Images, canary: Path, name: object) -> None:
    refused(images, docker_archive("x:1", [PLAIN], {"Config": name}))
    refused(images, docker_archive("x:1", [PLAIN], {"Layers": [name]}))


def test_members_with_names_that_lead_out_are_written_nowhere(images: Images, canary: Path) -> None:
    members = dict.fromkeys(("../canary/layer.tar", f"{canary}/new", "../../../../tmp/b2-evil"), b"evil")
    load(images, docker_archive("x:1", [PLAIN], members=members))
    assert not (canary / "new").exists()
    assert not os.path.exists("/tmp/b2-evil")


def test_a_blobs_directory_that_is_a_link_is_only_a_name(images: Images, canary: Path) -> None:
    archive = Oci()
    archive.image("x:1", [PLAIN])
    archive.members = {"blobs/sha256": symlink("blobs/sha256", str(canary)), **archive.members}
    load(images, archive.tar())
    assert len(images.list()) == 1


@pytest.mark.parametrize("document", ["manifest.json", "index.json", "blob", "config"])
def test_a_document_of_a_gigabyte_is_refused_before_it_is_read(
    images: Images, tmp_path: Path, document: str
) -> None:
    size = 1 << 30
    name = "huge" if document in ("blob", "config") else document
    tail = encode([{"Config": "huge", "RepoTags": ["x:1"], "Layers": []}])
    if document == "blob":
        archive = Oci()
        archive.index = [
            {"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": digest(b""), "size": size}
        ]
        name, rest = f"blobs/sha256/{digest(b'')[7:]}", archive.tar()
    else:
        rest = tar({"manifest.json": tail} if document == "config" else {})
    head = tar({name: Entry(name, size=0)})[:512]
    from tiffin.layer.tarheader import build_header

    head = build_header(name.encode(), b"0", size=size, mode=0o644)
    path = tmp_path / "huge.tar"
    with path.open("wb") as file:
        file.write(head)
        file.seek(size, os.SEEK_CUR)
        file.write(rest)
    with path.open("rb") as file, pytest.raises(LimitExceeded):
        images.load(file)
    assert stored(images) == (0, 0, 0)


@pytest.mark.parametrize(
    "document",
    [b"{}", b"[1]", b"[" * 100_000, b'[{"Layers": "x"}]', b'[{"RepoTags": [1]}]', b"\xff\xfe", b"", b"null"],
)
def test_a_malformed_manifest_is_refused(images: Images, document: bytes) -> None:
    refused(images, tar({"manifest.json": document}))


@pytest.mark.parametrize("name", ["Bad", "a b", "x:1\n", "\x1b[31mx", "sha256:" + "0" * 64 + "@", 64 * "a"])
def test_a_name_that_is_no_reference_names_nothing(images: Images, name: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        load(images, docker_archive(name, [PLAIN]))
    assert str(caught.value).isprintable()
    assert images.list() == []
