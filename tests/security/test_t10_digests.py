"""T10: a digest is checked before it becomes a path, and every stated digest, size and kind before a name."""

import gzip
import io
from collections.abc import Mapping

import pytest

from tests.integration.images.archives import (
    CONFIG,
    INDEX,
    LAYER,
    MANIFEST,
    Oci,
    config,
    descriptor,
    digest,
    docker_archive,
    encode,
    tar,
)
from tests.integration.images.conftest import images
from tests.integration.images.engine import load, stored
from tests.integration.images.remote import Remote
from tiffin.errors import Corrupt, LimitExceeded, TiffinError, Unsupported
from tiffin.images import Images
from tiffin.oci.reference import parse_reference

pytestmark = pytest.mark.root
__all__ = ["images"]

PLAIN = tar({"a": b"a"})
BLOB = gzip.compress(PLAIN, mtime=0)


def refused(images: Images, archive: bytes, kind: type[TiffinError] = Corrupt, said: str = ".") -> None:
    """The archive is refused with one line, and nothing of it stays."""
    with pytest.raises(kind, match=said) as caught:
        load(images, archive)
    assert "\n" not in str(caught.value)
    assert images.list() == []
    assert stored(images) == (0, 0, 0)


def with_manifest(change: Mapping[str, object], layers: list[bytes] | None = None) -> bytes:
    archive = Oci()
    manifest = archive.manifest(config([PLAIN]), [BLOB] if layers is None else layers, **change)
    archive.index = [descriptor(MANIFEST, manifest)]
    return archive.tar()


@pytest.mark.parametrize(
    "bad", ["sha256:../x", "sha256:" + "A" * 64, "../../etc/passwd", "md5:" + "0" * 32, 7, None]
)
def test_a_malformed_digest_anywhere_is_refused(images: Images, bad: object) -> None:
    refused(
        images,
        with_manifest({"config": {"mediaType": CONFIG, "digest": bad, "size": 1}}),
        said="invalid digest",
    )
    refused(
        images,
        with_manifest({"layers": [{"mediaType": LAYER, "digest": bad, "size": 1}]}),
        said="invalid digest",
    )
    archive = Oci()
    archive.index = [{"mediaType": MANIFEST, "digest": bad, "size": 1}]
    refused(images, archive.tar(), said="invalid digest")


def test_a_config_with_a_malformed_diff_id_is_refused(images: Images) -> None:
    archive = Oci()
    document = encode({"os": "linux", "architecture": "amd64", "rootfs": {"diff_ids": ["sha256:../../x"]}})
    archive.index = [descriptor(MANIFEST, archive.manifest(document, [BLOB]))]
    refused(images, archive.tar(), said="invalid diff_id")


def test_a_layer_that_is_not_its_diff_id_is_refused(images: Images) -> None:
    other = gzip.compress(tar({"b": b"evil"}), mtime=0)
    refused(images, with_manifest({}, [other]), said="does not match its diff_id")
    refused(
        images, docker_archive("x:1", [PLAIN], members={"0/layer.tar": tar({"b": b"evil"})}), said="diff_id"
    )


def test_one_lying_layer_among_good_ones_leaves_none(images: Images) -> None:
    layers = [tar({"f": b"%d" % number * 100_000}) for number in range(6)]
    refused(
        images,
        docker_archive("x:1", layers, members={"3/layer.tar": PLAIN}),
        said="does not match its diff_id",
    )


def test_a_blob_that_is_not_its_digest_is_refused(images: Images) -> None:
    archive = Oci()
    manifest = archive.manifest(config([PLAIN]), [BLOB])
    archive.index = [descriptor(MANIFEST, manifest)]
    archive.members[f"blobs/sha256/{digest(BLOB)[7:]}"] = gzip.compress(PLAIN, 9, mtime=1)[: len(BLOB)]
    refused(images, archive.tar())
    archive.members[f"blobs/sha256/{digest(BLOB)[7:]}"] = BLOB
    archive.members[f"blobs/sha256/{digest(manifest)[7:]}"] = manifest.replace(b"linux", b"linus") + b""
    archive.members[f"blobs/sha256/{digest(config([PLAIN]))[7:]}"] = config([PLAIN]).replace(
        b"linux", b"linus"
    )
    refused(images, archive.tar(), said="does not match its digest")


@pytest.mark.parametrize("size", [0, 1, -1, len(BLOB) + 1, 2**63, "9", None, True])
def test_a_stated_size_that_is_wrong_is_refused(images: Images, size: object) -> None:
    refused(images, with_manifest({"layers": [{"mediaType": LAYER, "digest": digest(BLOB), "size": size}]}))


def test_a_document_that_is_both_image_and_index_is_refused(images: Images) -> None:
    both = with_manifest({"manifests": [descriptor(MANIFEST, b"x")]})
    refused(images, both, said="both an image and an index")


@pytest.mark.parametrize("stated", [INDEX, "application/vnd.docker.distribution.manifest.list.v2+json"])
def test_a_manifest_that_is_named_as_an_index_is_refused(images: Images, stated: str) -> None:
    archive = Oci()
    manifest = archive.manifest(config([PLAIN]), [BLOB])
    archive.index = [descriptor(stated, manifest)]
    refused(images, archive.tar(), said="but was named as")
    without = manifest.replace(b'"mediaType": "' + MANIFEST.encode() + b'", "config', b'"config')
    assert without != manifest
    archive.blob(without)
    archive.index = [descriptor(stated, without)]
    refused(images, archive.tar(), said="shape")


def test_what_is_no_container_image_is_refused(images: Images) -> None:
    chart = {"config": descriptor("application/vnd.cncf.helm.config.v1+json", config([PLAIN]))}
    refused(images, with_manifest(chart), Unsupported, "not a container image")
    refused(images, with_manifest({"schemaVersion": 1}), Unsupported)
    refused(images, with_manifest({"layers": [descriptor("text/html", BLOB)]}), Unsupported)


def test_config_and_manifest_must_count_the_same_layers(images: Images) -> None:
    refused(images, with_manifest({}, [BLOB, BLOB]), said="1 diff_ids for 2 layers")
    refused(images, docker_archive("x:1", [PLAIN], {"Layers": []}), said="1 diff_ids for 0 layers")


def test_too_many_layers_and_indexes_that_nest_without_end_are_refused(images: Images) -> None:
    refused(images, with_manifest({"layers": [descriptor(LAYER, BLOB)] * 501}), LimitExceeded)
    archive = Oci()
    inner = archive.manifest(config([PLAIN]), [BLOB])
    media_type = MANIFEST
    for _ in range(6):
        inner = encode({"schemaVersion": 2, "mediaType": INDEX, "manifests": [descriptor(media_type, inner)]})
        archive.blob(inner)
        media_type = INDEX
    archive.index = [descriptor(INDEX, inner)]
    refused(images, archive.tar(), LimitExceeded, "deep")


def test_an_image_is_not_recorded_over_a_layer_that_is_not_here(images: Images) -> None:
    archive = Oci()
    manifest = archive.manifest(config([PLAIN]), [BLOB])
    for data in (config([PLAIN]), BLOB):
        images.content.put_bytes(data)
    with pytest.raises(TiffinError, match="not unpacked here"):
        images.add_image(manifest, MANIFEST, ["x"])
    assert images.list() == []


def test_garbage_for_an_archive_is_refused(images: Images) -> None:
    whole = docker_archive("x:1", [PLAIN])
    for data in (b"", b"\0" * 4096, b"{}", io.BytesIO(b"x" * 600).getvalue(), whole[:700], whole[:-2000]):
        refused(images, data)


# -- what a registry sends -----------------------------------------------------------------------------------


def pull(images: Images, remote: Remote, text: str = "r.io/app:1") -> None:
    images.pull(remote, parse_reference(text))


def refused_pull(
    images: Images,
    remote: Remote,
    kind: type[TiffinError] = Corrupt,
    said: str = ".",
    text: str = "r.io/app:1",
) -> None:
    """The pull is refused with one line; nothing has a name, and nothing of it stays."""
    with pytest.raises(kind, match=said) as caught:
        pull(images, remote, text)
    assert "\n" not in str(caught.value)
    assert images.list() == []
    assert stored(images) == (0, 0, 0)


def remote_manifest(**change: object) -> Remote:
    """A registry whose image's manifest says something else."""
    remote = Remote()
    for data in (config([PLAIN]), BLOB):
        remote.blob(data)
    document = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": descriptor(CONFIG, config([PLAIN])),
        "layers": [descriptor(LAYER, BLOB)],
        **change,
    }
    remote.document(MANIFEST, encode(document), "1")
    return remote


def test_the_honest_image_that_the_lies_below_change_is_pulled(images: Images) -> None:
    pull(images, remote_manifest())
    assert len(images.list()) == 1


@pytest.mark.parametrize(
    "bad", ["sha256:../x", "sha256:" + "A" * 64, "../../etc/passwd", "md5:" + "0" * 32, 7, None]
)
def test_a_malformed_digest_from_a_registry_is_refused(images: Images, bad: object) -> None:
    lie = {"mediaType": LAYER, "digest": bad, "size": 1}
    refused_pull(images, remote_manifest(layers=[lie]), said="invalid digest")
    refused_pull(images, remote_manifest(config={**lie, "mediaType": CONFIG}), said="invalid digest")
    remote = Remote()
    remote.index("1", {**lie, "mediaType": MANIFEST})
    refused_pull(images, remote, said="invalid digest")


def test_a_pulled_layer_that_is_not_its_diff_id_is_refused(images: Images) -> None:
    other = gzip.compress(tar({"b": b"evil"}), mtime=0)
    remote = remote_manifest(layers=[descriptor(LAYER, other)])
    remote.blob(other)
    refused_pull(images, remote, said="does not match its diff_id")


def test_a_layer_that_is_here_is_not_believed_of_another_blob(images: Images) -> None:
    pull(images, remote_manifest())
    other = gzip.compress(tar({"b": b"evil"}), mtime=0)
    remote = remote_manifest(layers=[descriptor(LAYER, other)])
    remote.blob(other)
    before = stored(images), images.resolve("r.io/app:1")
    with pytest.raises(Corrupt, match="does not match its diff_id"):
        pull(images, remote)
    assert (stored(images), images.resolve("r.io/app:1")) == before


@pytest.mark.parametrize("sent", [BLOB[:-1], BLOB + b"\0", BLOB[:-9] + b"123456789", b""])
def test_a_pulled_blob_of_other_bytes_is_refused(images: Images, sent: bytes) -> None:
    remote = remote_manifest()
    remote.blobs[digest(BLOB)] = sent
    refused_pull(images, remote)


@pytest.mark.parametrize("size", [0, 1, -1, len(BLOB) + 1, 2**63, "9", None, True])
def test_a_stated_size_that_a_pulled_blob_has_not_is_refused(images: Images, size: object) -> None:
    lie = {"mediaType": LAYER, "digest": digest(BLOB), "size": size}
    refused_pull(images, remote_manifest(layers=[lie]))


@pytest.mark.parametrize("size", [0, 1, len(config([PLAIN])) + 1, 1 << 30])
def test_a_config_of_another_size_is_refused(images: Images, size: int) -> None:
    lie = {"mediaType": CONFIG, "digest": digest(config([PLAIN])), "size": size}
    refused_pull(images, remote_manifest(config=lie), (Corrupt, LimitExceeded))  # type: ignore[arg-type] # either


def test_a_config_of_other_bytes_is_refused(images: Images) -> None:
    remote = remote_manifest()
    remote.blobs[digest(config([PLAIN]))] = config([PLAIN]).replace(b"linux", b"linus")
    refused_pull(images, remote, said="does not match its digest")


def test_a_manifest_that_is_both_list_and_image_is_refused(images: Images) -> None:
    refused_pull(
        images, remote_manifest(manifests=[descriptor(MANIFEST, b"x")]), said="both an image and an index"
    )


@pytest.mark.parametrize("stated", [INDEX, "application/vnd.docker.distribution.manifest.v2+json"])
def test_a_manifest_that_is_served_as_something_else_is_refused(images: Images, stated: str) -> None:
    remote = remote_manifest()
    wanted = remote.named["1"]
    remote.documents[wanted] = (stated, remote.documents[wanted][1])
    refused_pull(images, remote, said="but was named as")


def test_a_manifest_that_its_index_names_as_something_else_is_refused(images: Images) -> None:
    remote = remote_manifest()
    data = remote.documents[remote.named["1"]][1]
    remote.index("1", descriptor(INDEX, data))
    refused_pull(images, remote, said="but was named as")
    remote.index("1", {**descriptor(MANIFEST, data), "size": len(data) - 1})
    refused_pull(images, remote, said="were stated")


def test_a_registry_that_answers_a_digest_with_another_document_is_refused(images: Images) -> None:
    remote = remote_manifest()
    honest = remote.named["1"]
    remote.image("evil", [tar({"b": b"evil"})])
    remote.documents[honest] = remote.documents[remote.named["evil"]]
    refused_pull(images, remote, said="does not match its digest", text=f"r.io/app:1@{honest}")
    refused_pull(images, remote, said="does not match its digest")


def test_what_is_no_image_is_not_pulled(images: Images) -> None:
    chart = descriptor("application/vnd.cncf.helm.config.v1+json", config([PLAIN]))
    refused_pull(images, remote_manifest(config=chart), Unsupported, "not a container image")
    refused_pull(images, remote_manifest(layers=[descriptor("text/html", BLOB)]), Unsupported)


def test_indexes_that_nest_without_end_are_not_followed(images: Images) -> None:
    remote = remote_manifest()
    entry = descriptor(MANIFEST, remote.documents[remote.named["1"]][1])
    for _ in range(7):
        entry = remote.index("1", entry)
    refused_pull(images, remote, LimitExceeded, "deep")
    many = [remote.index("", {**entry, "annotations": {"n": str(n)}}) for n in range(40)]
    empty = [remote.index("", annotations={"n": str(n)}) for n in range(40)]
    remote.index("1", *empty, *many)
    refused_pull(images, remote, LimitExceeded)


def test_one_blob_for_two_diff_ids_is_refused(images: Images) -> None:
    remote = remote_manifest(
        config=descriptor(CONFIG, two := config([PLAIN, tar({"b": b"b"})])),
        layers=[descriptor(LAYER, BLOB), descriptor(LAYER, BLOB)],
    )
    remote.blob(two)
    refused_pull(images, remote, said="does not match its diff_id")


def test_an_archive_cannot_name_an_image_by_a_digest_that_it_has_not(images: Images) -> None:
    archive = Oci()
    archive.image("docker.io/library/x@sha256:" + "0" * 64, [PLAIN])
    refused(images, archive.tar(), said="names another image")
