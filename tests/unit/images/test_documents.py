"""Manifests that are served and are no image: what leads to them keeps them."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.images.engine import open_images
from tiffin.images import Images, documents
from tiffin.images.documents import GRACE_SECONDS, Document
from tiffin.oci.artifact import parse_artifact
from tiffin.oci.descriptor import INDEX, MANIFEST, encode_json

REPOSITORY = "docker.io/library/thing"
LATER = 2 * GRACE_SECONDS * 1_000_000_000


@pytest.fixture
def images(tmp_path: Path) -> Iterator[Images]:
    opened = open_images(tmp_path)
    yield opened
    opened.store.close()


def add(images: Images, document: dict[str, object], repository: str = REPOSITORY, tag: str = "") -> str:
    data = encode_json(document)
    artifact = parse_artifact(data)
    with images.store.adding():
        digest = images.content.put_bytes(data)
        with images.store.transaction() as db:
            documents.add_document(db, repository, Document(digest, artifact.media_type, len(data)), artifact)
            if tag:
                documents.set_tag(db, repository, tag, digest)
                documents.settle(db, repository, digest)
    return digest


def manifest(images: Images, text: bytes, **more: object) -> dict[str, object]:
    with images.store.adding():
        blob = {"mediaType": "text/plain", "digest": images.content.put_bytes(text), "size": len(text)}
    return {"schemaVersion": 2, "mediaType": MANIFEST, "config": blob, "layers": [], **more}


def index(*digests: str) -> dict[str, object]:
    entries = [{"mediaType": MANIFEST, "digest": digest, "size": 1} for digest in digests]
    return {"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}


def unreached(images: Images) -> set[str]:
    import time

    return {digest for _, digest in documents.unreached(images.store.db, time.time_ns() + LATER)}


def test_one_without_a_tag_has_a_day(images: Images) -> None:
    digest = add(images, manifest(images, b"a"))
    assert documents.unreached(images.store.db) == []
    assert images.collect() == 0
    assert unreached(images) == {digest}


def test_a_tag_keeps_it_and_what_is_below_it(images: Images) -> None:
    children = [add(images, manifest(images, text)) for text in (b"a", b"b")]
    inner = add(images, index(children[0]))
    top = add(images, index(inner, children[1]), tag="1")
    assert unreached(images) == set()
    with images.store.transaction() as db:
        assert documents.drop_tag(db, f"{REPOSITORY}:1")
    assert {digest for _, digest in documents.unreached(images.store.db)} == {top, inner, *children}
    images.collect()
    assert list(images.content.digests()) == []
    assert images.store.db.execute("SELECT count(*) FROM registry_blobs").fetchone() == (0,)


def test_what_refers_to_a_living_one_lives(images: Images) -> None:
    subject = add(images, manifest(images, b"a"), tag="1")
    described = {"mediaType": MANIFEST, "digest": subject, "size": 1}
    signature = add(images, manifest(images, b"s", subject=described))
    of_signature = add(
        images, manifest(images, b"t", subject={"mediaType": MANIFEST, "digest": signature, "size": 1})
    )
    lost = {"mediaType": MANIFEST, "digest": f"sha256:{'0' * 64}", "size": 1}
    orphan = add(images, manifest(images, b"o", subject=lost))
    assert unreached(images) == {orphan}
    with images.store.transaction() as db:
        documents.drop_tag(db, f"{REPOSITORY}:1")
    assert unreached(images) == {subject, signature, of_signature, orphan}


def test_repositories_do_not_keep_each_others(images: Images) -> None:
    child = manifest(images, b"a")
    here, there = add(images, child), add(images, child, "docker.io/library/other")
    assert here == there
    add(images, index(here), tag="1")
    import time

    found = documents.unreached(images.store.db, time.time_ns() + LATER)
    assert found == [("docker.io/library/other", there)]
    assert documents.by_digest(images.store.db, "docker.io/library/third", here) is None


def test_a_repository_is_its_whole_name(images: Images) -> None:
    for repository in (
        "docker.io/library/thing",
        "docker.io/library/thing-two",
        "docker.io/library/thing/two",
    ):
        add(images, manifest(images, repository.encode()), repository, "1")
    assert documents.tags(images.store.db, "docker.io/library/thing") == ["1"]
    assert len(documents.repositories(images.store.db)) == 3
    assert documents.by_tag(images.store.db, "docker.io/library/thin", "1") is None
