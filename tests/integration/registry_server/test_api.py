"""The endpoints, by raw HTTP (distribution-spec 1.1)."""

import json
import os

import pytest

from tests.command import Tiffin
from tests.registry_server import (
    INDEX,
    MANIFEST,
    Served,
    artifact,
    collect,
    descriptor,
    digest_of,
    encode,
    serving,
)

pytestmark = [pytest.mark.root, pytest.mark.registry]

NOTHING = digest_of(b"nothing has this digest")


def layer_of(shelf: Served) -> tuple[str, int]:
    """Digest and size of busybox's layer."""
    found = shelf("GET", "/v2/busybox/manifests/latest").document["layers"][0]
    return found["digest"], found["size"]


# -- pulling -------------------------------------------------------------------------------------------------


def test_the_base_says_that_this_is_a_registry(shelf: Served) -> None:
    for path in ("/v2/", "/v2"):
        answer = shelf("GET", path)
        assert (answer.status, answer.document) == (200, {})
        assert answer.headers["docker-distribution-api-version"] == "registry/2.0"


def test_a_manifest_is_the_same_by_tag_and_by_digest_and_under_the_names_full_form(shelf: Served) -> None:
    by_tag = shelf("GET", "/v2/busybox/manifests/latest")
    assert by_tag.headers["content-type"] == MANIFEST
    assert by_tag.headers["docker-content-digest"] == digest_of(by_tag.body)
    for path in (f"busybox/manifests/{digest_of(by_tag.body)}", "library/busybox/manifests/latest"):
        assert shelf("GET", f"/v2/{path}").body == by_tag.body
        head = shelf("HEAD", f"/v2/{path}")
        assert head.status == 200
        assert head.body == b""
        assert head.headers["docker-content-digest"] == digest_of(by_tag.body)
        assert int(head.headers["content-length"]) == len(by_tag.body)


def test_a_blob_comes_whole_and_in_ranges(shelf: Served) -> None:
    digest, size = layer_of(shelf)
    whole = shelf("GET", f"/v2/busybox/blobs/{digest}")
    assert (whole.status, len(whole.body), digest_of(whole.body)) == (200, size, digest)
    head = shelf("HEAD", f"/v2/busybox/blobs/{digest}")
    assert (head.status, int(head.headers["content-length"]), head.body) == (200, size, b"")
    for asked, expected in [
        ("bytes=0-0", whole.body[:1]),
        ("bytes=10-19", whole.body[10:20]),
        (f"bytes={size - 5}-", whole.body[-5:]),
        ("bytes=-7", whole.body[-7:]),
        (f"bytes=5-{size * 2}", whole.body[5:]),
    ]:
        part = shelf("GET", f"/v2/busybox/blobs/{digest}", Range=asked)
        assert (part.status, part.body) == (206, expected), asked
        assert part.headers["content-range"].endswith(f"/{size}")


@pytest.mark.parametrize("asked", ["bytes=99999999999-", "bytes=5-2", "bytes=x", "bytes=-", "lines=1-2"])
def test_a_range_that_is_none_is_refused(shelf: Served, asked: str) -> None:
    digest, size = layer_of(shelf)
    answer = shelf("GET", f"/v2/busybox/blobs/{digest}", Range=asked)
    assert (answer.status, answer.code) == (416, "RANGE_INVALID")
    assert answer.headers["content-range"] == f"bytes */{size}"


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/v2/busybox/manifests/none", 404, "MANIFEST_UNKNOWN"),
        ("GET", f"/v2/busybox/manifests/{NOTHING}", 404, "MANIFEST_UNKNOWN"),
        ("GET", "/v2/none/manifests/latest", 404, "MANIFEST_UNKNOWN"),
        ("GET", "/v2/busybox/manifests/sha256:abc", 400, "DIGEST_INVALID"),
        ("GET", "/v2/busybox/manifests/-x", 404, "MANIFEST_UNKNOWN"),
        ("PUT", "/v2/busybox/manifests/-x", 400, "TAG_INVALID"),
        ("GET", f"/v2/busybox/blobs/{NOTHING}", 404, "BLOB_UNKNOWN"),
        ("GET", "/v2/busybox/blobs/sha256:../../../etc/passwd", 404, "NAME_UNKNOWN"),
        ("GET", "/v2/busybox/blobs/md5:abc", 400, "DIGEST_INVALID"),
        ("GET", "/v2/none/tags/list", 404, "NAME_UNKNOWN"),
        ("GET", "/v2/busybox/tags/list?n=x", 400, "PAGINATION_NUMBER_INVALID"),
        ("GET", "/v2/busybox/blobs/uploads/none", 404, "BLOB_UPLOAD_UNKNOWN"),
        ("GET", "/v2/busybox/referrers/x", 400, "DIGEST_INVALID"),
        ("DELETE", "/v2/busybox/manifests/none", 404, "MANIFEST_UNKNOWN"),
        ("DELETE", f"/v2/busybox/blobs/{NOTHING}", 404, "BLOB_UNKNOWN"),
        ("POST", "/v2/busybox/manifests/x", 405, "UNSUPPORTED"),
        ("OPTIONS", "/v2/", 405, "UNSUPPORTED"),
        ("GET", "/", 404, "NAME_UNKNOWN"),
    ],
)
def test_refusals_have_the_specifications_form(
    shelf: Served, method: str, path: str, status: int, code: str
) -> None:
    answer = shelf(method, path)
    assert (answer.status, answer.code) == (status, code)
    assert answer.headers["content-type"] == "application/json"


# -- listing -------------------------------------------------------------------------------------------------


def test_tags_and_repositories_come_in_pages(shelf: Served) -> None:
    for tag in ("b", "a", "d", "c"):
        assert shelf.push_artifact("pages/one", tag).status == 201
    seen, path = [], "/v2/pages/one/tags/list?n=3"
    while path:
        answer = shelf("GET", path)
        seen.append(answer.document["tags"])
        path = answer.headers.get("link", "").partition(">")[0].removeprefix("<")
    assert seen == [["a", "b", "c"], ["d"]]
    assert shelf("GET", "/v2/pages/one/tags/list?n=0").document["tags"] == []
    assert shelf("GET", "/v2/pages/one/tags/list?n=9&last=b").document["tags"] == ["c", "d"]
    names = shelf("GET", "/v2/_catalog").document["repositories"]
    assert names == sorted(names)
    assert {"busybox", "pages/one"} <= set(names)
    assert shelf("GET", "/v2/_catalog?n=1").document["repositories"] == names[:1]


def test_names_of_other_registries_are_served_below_their_host(served: Served, tiffin: Tiffin) -> None:
    for name in ("ghcr.io/user/app:1", "user/app:2", "localhost:5000/x:1", "localhost/y:1"):
        tiffin.ok("tag", "busybox", name)
    names = served("GET", "/v2/_catalog").document["repositories"]
    assert names == ["busybox", "ghcr.io/user/app", "localhost/y", "user/app"]
    assert served("GET", "/v2/ghcr.io/user/app/tags/list").document["tags"] == ["1"]
    assert served("HEAD", "/v2/ghcr.io/user/app/manifests/1").status == 200


# -- uploads -------------------------------------------------------------------------------------------------


def begin(shelf: Served, name: str = "up") -> str:
    answer = shelf("POST", f"/v2/{name}/blobs/uploads/")
    assert answer.status == 202
    assert answer.headers["range"] == "0-0"
    assert answer.headers["docker-upload-uuid"] in answer.headers["location"]
    return answer.headers["location"]


def test_a_blob_is_pushed_in_one_request(shelf: Served) -> None:
    data = os.urandom(5 << 20)
    digest = shelf.push_blob("up", data)
    assert shelf("GET", f"/v2/up/blobs/{digest}").body == data


def test_a_blob_is_pushed_by_post_and_put(shelf: Served) -> None:
    data = os.urandom(3000)
    answer = shelf("PUT", f"{begin(shelf)}?digest={digest_of(data)}", data)
    assert answer.status == 201
    assert answer.headers["location"] == f"/v2/up/blobs/{digest_of(data)}"
    assert answer.headers["docker-content-digest"] == digest_of(data)
    assert shelf("HEAD", answer.headers["location"]).status == 200


@pytest.mark.parametrize("last_with_put", [False, True])
def test_a_blob_is_pushed_in_pieces(shelf: Served, last_with_put: bool) -> None:
    data = os.urandom(300_000)
    where, offset = begin(shelf), 0
    for length in (1, 99_999, 100_000) if last_with_put else (1, 99_999, 100_000, 100_000):
        stated = f"{offset}-{offset + length - 1}"
        answer = shelf("PATCH", where, data[offset : offset + length], Content_Range=stated)
        offset += length
        assert (answer.status, answer.headers["range"]) == (202, f"0-{offset - 1}")
        status = shelf("GET", where)
        assert (status.status, status.headers["range"]) == (204, f"0-{offset - 1}")
    answer = shelf("PUT", f"{where}?digest={digest_of(data)}", data[offset:])
    assert answer.status == 201
    assert shelf("GET", answer.headers["location"]).body == data
    assert shelf("GET", where).status == 404


def test_a_piece_without_a_stated_place_is_appended_also_chunked(shelf: Served) -> None:
    where = begin(shelf)
    assert shelf("PATCH", where, b"one ").status == 202
    assert shelf("PATCH", where, iter([b"two ", b"three"])).status == 202
    assert shelf("PUT", f"{where}?digest={digest_of(b'one two three')}").status == 201


def test_a_piece_in_the_wrong_place_is_refused_and_says_where_to_go_on(shelf: Served) -> None:
    where = begin(shelf)
    shelf("PATCH", where, b"12345", Content_Range="0-4")
    for stated in ("0-4", "6-9", "4-8"):
        answer = shelf("PATCH", where, b"x" * 5, Content_Range=stated)
        assert (answer.status, answer.code) == (416, "RANGE_INVALID")
        assert (answer.headers["range"], answer.headers["location"]) == ("0-4", where)
    for stated in ("5-6", "words", "5"):
        assert shelf("PATCH", where, b"x" * 5, Content_Range=stated).code == "SIZE_INVALID"
    assert shelf("PATCH", where, iter([b"xyz"]), Content_Range="5-9").code == "SIZE_INVALID"
    assert shelf("PUT", f"{where}?digest={digest_of(b'12345')}").status == 201


def test_an_upload_with_the_wrong_digest_leaves_nothing(served: Served, tiffin: Tiffin) -> None:
    where = begin(served)
    served("PATCH", where, b"data")
    assert served("PUT", where).code == "DIGEST_INVALID"
    assert served("PUT", f"{where}?digest={NOTHING}").code == "DIGEST_INVALID"
    assert served("GET", where).status == 404
    assert served("POST", f"/v2/up/blobs/uploads/?digest={NOTHING}", b"data").code == "DIGEST_INVALID"
    assert served("HEAD", f"/v2/up/blobs/{NOTHING}").status == 404
    (arrivals,) = (tiffin.root / "staging").iterdir()
    assert list(arrivals.iterdir()) == []


def test_an_upload_can_be_cancelled(shelf: Served) -> None:
    where = begin(shelf)
    assert shelf("DELETE", where).status == 204
    assert shelf("PATCH", where, b"x").code == "BLOB_UPLOAD_UNKNOWN"


def test_an_upload_belongs_to_its_repository(shelf: Served) -> None:
    where = begin(shelf)
    assert shelf("PATCH", where.replace("/up/", "/other/"), b"x").code == "BLOB_UPLOAD_UNKNOWN"


def test_a_blob_that_is_here_is_mounted(shelf: Served) -> None:
    digest, _ = layer_of(shelf)
    answer = shelf("POST", f"/v2/mounted/blobs/uploads/?mount={digest}&from=busybox")
    assert (answer.status, answer.headers["location"]) == (201, f"/v2/mounted/blobs/{digest}")
    answer = shelf("POST", f"/v2/mounted/blobs/uploads/?mount={NOTHING}&from=busybox")
    assert answer.status == 202
    assert "/blobs/uploads/" in answer.headers["location"]


def test_an_upload_that_is_too_large_is_refused(tiffin: Tiffin) -> None:
    with serving(tiffin, "--max-blob-size", "1k") as served:
        digest = served.push_blob("small", b"x" * 1024)
        assert served("HEAD", f"/v2/small/blobs/{digest}").status == 200
        for body in (b"x" * 1025, iter([b"x" * 1000, b"x" * 25])):
            answer = served("PUT", f"{begin(served)}?digest={NOTHING}", body)
            assert (answer.status, answer.code) == (413, "SIZE_INVALID")


# -- manifests -----------------------------------------------------------------------------------------------


def test_a_manifest_whose_blobs_are_missing_is_refused(shelf: Served) -> None:
    document = artifact(layers=[descriptor(b"not sent", "text/plain")])
    shelf.push_blob("m", b"{}")
    answer = shelf.push_manifest("m", "1", document)
    assert (answer.status, answer.code) == (400, "MANIFEST_BLOB_UNKNOWN")
    assert shelf("GET", "/v2/m/manifests/1").status == 404


@pytest.mark.parametrize(
    ("document", "media_type"),
    [
        (b"no json", MANIFEST),
        (b"[]", MANIFEST),
        ({"schemaVersion": 1}, "application/vnd.docker.distribution.manifest.v1+prettyjws"),
        ({"schemaVersion": 2}, MANIFEST),
        (artifact(mediaType=INDEX), MANIFEST),
        (artifact(mediaType=None), INDEX),
        (artifact(manifests=[]), MANIFEST),
        (artifact(config={"mediaType": "x", "size": 2, "digest": "sha256:../../etc"}), MANIFEST),
        (artifact(layers=[{"mediaType": "x", "size": -1, "digest": NOTHING}]), MANIFEST),
        (artifact(annotations={"a": 1}), MANIFEST),
        (artifact(subject="x"), MANIFEST),
        (artifact(), "not a type"),
        (artifact(mediaType="text/plain"), "text/plain"),
    ],
)
def test_what_is_no_manifest_is_refused(shelf: Served, document: object, media_type: str) -> None:
    shelf.push_blob("m", b"{}")
    answer = shelf.push_manifest("m", "bad", document, media_type)
    assert (answer.status, answer.code) == (400, "MANIFEST_INVALID")
    assert shelf("HEAD", "/v2/m/manifests/bad").status == 404


def test_a_manifest_under_anothers_digest_is_refused(shelf: Served) -> None:
    shelf.push_blob("m", b"{}")
    assert shelf.push_manifest("m", NOTHING, artifact()).code == "DIGEST_INVALID"


def test_a_manifest_of_more_than_four_mebibytes_is_refused(shelf: Served) -> None:
    answer = shelf.push_manifest("m", "big", artifact(annotations={"a": "x" * (4 << 20)}))
    assert (answer.status, answer.code) == (413, "SIZE_INVALID")


def test_an_artifact_is_kept_and_given_back_and_is_no_image(served: Served, tiffin: Tiffin) -> None:
    document = artifact(artifactType="application/x-thing", annotations={"a": "b"})
    assert served.push_artifact(
        "thing", "v1", artifactType="application/x-thing", annotations={"a": "b"}
    ).status
    assert collect(tiffin) == 0
    for reference in ("v1", digest_of(encode(document))):
        assert served("GET", f"/v2/thing/manifests/{reference}").body == encode(document)
    assert served("GET", f"/v2/thing/blobs/{digest_of(b'{}')}").body == b"{}"
    assert "thing" not in tiffin.ok("images")


def test_an_image_takes_the_tag_of_an_artifact_and_the_other_way_round(
    served: Served, tiffin: Tiffin
) -> None:
    assert served.push_artifact("thing", "v1").status == 201
    tiffin.ok("tag", "busybox", "thing:v1")
    image = served("GET", "/v2/busybox/manifests/latest").body
    assert served("GET", "/v2/thing/manifests/v1").body == image
    assert served.push_artifact("thing", "v1").status == 201
    assert served("GET", "/v2/thing/manifests/v1").document == artifact()
    assert "thing" not in tiffin.ok("images")
    assert served.push_manifest("thing", "v1", image).status == 201
    assert "thing" in tiffin.ok("images")
    tiffin.ok("rmi", "thing:v1")
    assert served("GET", "/v2/thing/manifests/v1").status == 404


def test_one_image_has_each_of_its_manifests_under_its_own_tag(served: Served) -> None:
    oci = served("GET", "/v2/busybox/manifests/latest").document
    again = encode({**oci, "annotations": {"made": "otherwise"}})
    assert served.push_manifest("same", "oci", encode(oci)).status == 201
    assert served.push_manifest("same", "other", again).status == 201
    assert served("GET", "/v2/same/manifests/oci").body == encode(oci)
    assert served("GET", "/v2/same/manifests/other").body == again
    assert served("GET", f"/v2/same/manifests/{digest_of(again)}").body == again


def test_an_index_keeps_the_images_of_other_platforms_and_its_tag_is_the_one_for_this_machine(
    served: Served, tiffin: Tiffin
) -> None:
    here = served("GET", "/v2/busybox/manifests/latest").body
    config = encode(
        {"architecture": "s390x", "os": "linux", "rootfs": {"type": "layers", "diff_ids": [NOTHING]}}
    )
    layer = descriptor(b"a layer of s390x", "application/vnd.oci.image.layer.v1.tar+gzip")
    there = encode(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": descriptor(config, "application/vnd.oci.image.config.v1+json"),
            "layers": [layer],
        }
    )
    served.push_blob("multi", config)
    served.push_blob("multi", b"a layer of s390x")
    entries = [
        descriptor(there, MANIFEST, platform={"os": "linux", "architecture": "s390x"}),
        descriptor(here, MANIFEST, platform={"os": "linux", "architecture": machine()}),
    ]
    index = encode({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries})
    refused = served.push_manifest("multi", "1", index, INDEX)
    assert (refused.status, refused.code) == (400, "MANIFEST_BLOB_UNKNOWN")
    for data in (there, here):
        assert served.push_manifest("multi", digest_of(data), data).status == 201
    assert "multi" not in tiffin.ok("images")
    assert served.push_manifest("multi", "1", index, INDEX).status == 201
    tiffin.ok("tag", "multi:1", "again:2")
    tiffin.ok("rmi", "multi:1")
    assert collect(tiffin) == 0
    assert tiffin.ok("run", "--rm", "--network", "none", "again:2", "echo", "hi") == "hi"
    for path in ("multi/manifests/1", "again/manifests/1"):
        assert served("GET", f"/v2/{path}").status == 404
    for data in (index, there, here):
        assert served("GET", f"/v2/again/manifests/{digest_of(data)}").body == data
    assert served("GET", "/v2/again/manifests/2").body == index
    assert served("GET", f"/v2/again/blobs/{layer['digest']}").body == b"a layer of s390x"
    tiffin.ok("rmi", "again:2")
    tiffin.ok("rmi", "busybox")
    collect(tiffin)
    assert list((tiffin.root / "oci/blobs/sha256").iterdir()) == []


def machine() -> str:
    from tiffin.oci.platform import host_platform

    return host_platform().architecture


# -- referrers -----------------------------------------------------------------------------------------------


def test_what_refers_to_an_image_is_listed_and_filtered(served: Served, tiffin: Tiffin) -> None:
    image = served("GET", "/v2/busybox/manifests/latest").body
    subject = descriptor(image, MANIFEST)
    empty = served("GET", f"/v2/busybox/referrers/{subject['digest']}")
    assert (empty.status, empty.headers["content-type"]) == (200, INDEX)
    assert empty.document["manifests"] == []
    pushed = {}
    for kind in ("application/x-signature", "application/x-sbom"):
        answer = served.push_artifact(
            "busybox", "", artifactType=kind, subject=subject, annotations={"k": kind}
        )
        assert answer.status == 201
        assert answer.headers["oci-subject"] == subject["digest"]
        pushed[kind] = answer.headers["docker-content-digest"]
    assert collect(tiffin) == 0
    found = served("GET", f"/v2/busybox/referrers/{subject['digest']}").document["manifests"]
    assert {entry["artifactType"]: entry["digest"] for entry in found} == pushed
    assert all(entry["annotations"] == {"k": entry["artifactType"]} for entry in found)
    answer = served("GET", f"/v2/busybox/referrers/{subject['digest']}?artifactType=application/x-sbom")
    assert [entry["digest"] for entry in answer.document["manifests"]] == [pushed["application/x-sbom"]]
    assert answer.headers["oci-filters-applied"] == "artifactType"
    assert served("DELETE", f"/v2/busybox/manifests/{pushed['application/x-sbom']}").status == 202
    found = served("GET", f"/v2/busybox/referrers/{subject['digest']}").document["manifests"]
    assert [entry["digest"] for entry in found] == [pushed["application/x-signature"]]


def test_a_referrer_may_come_before_what_it_refers_to(shelf: Served) -> None:
    subject = {"mediaType": MANIFEST, "digest": NOTHING, "size": 3}
    answer = shelf.push_artifact("early", "", subject=subject)
    assert answer.headers["oci-subject"] == NOTHING
    (found,) = shelf("GET", f"/v2/early/referrers/{NOTHING}").document["manifests"]
    assert found["artifactType"] == "application/vnd.oci.empty.v1+json"


# -- deleting ------------------------------------------------------------------------------------------------


def test_deleting_a_tag_lets_the_image_go_with_its_last_name(served: Served, tiffin: Tiffin) -> None:
    tiffin.ok("tag", "busybox", "web:1")
    tiffin.ok("tag", "busybox", "web:2")
    assert served("DELETE", "/v2/web/manifests/1").status == 202
    assert served("GET", "/v2/web/tags/list").document["tags"] == ["2"]
    digest = served("HEAD", "/v2/web/manifests/2").headers["docker-content-digest"]
    assert served("DELETE", f"/v2/web/manifests/{digest}").status == 202
    assert served("GET", f"/v2/web/manifests/{digest}").status == 404
    assert served("GET", "/v2/web/tags/list").status == 404
    assert tiffin.ok("images", "-q") != ""
    assert served("DELETE", "/v2/busybox/manifests/latest").status == 202
    assert tiffin.ok("images", "-q") == ""
    assert list((tiffin.root / "oci/blobs/sha256").iterdir()) == []


def test_blobs_that_went_with_their_manifest_can_be_deleted_after_it(served: Served) -> None:
    needed, _ = layer_of(served)
    assert served("DELETE", "/v2/busybox/manifests/latest").status == 202
    assert served("HEAD", f"/v2/busybox/blobs/{needed}").status == 404
    assert served("DELETE", f"/v2/busybox/blobs/{needed}").status == 202
    assert served("DELETE", f"/v2/busybox/blobs/{needed}").status == 404


def test_what_a_container_uses_is_not_deleted(served: Served, tiffin: Tiffin) -> None:
    tiffin.ok("create", "busybox", "true")
    answer = served("DELETE", "/v2/busybox/manifests/latest")
    assert (answer.status, answer.code) == (409, "DENIED")


def test_a_blob_is_deleted_unless_a_manifest_needs_it(served: Served) -> None:
    digest = served.push_blob("x", b"loose")
    assert served("DELETE", f"/v2/x/blobs/{digest}").status == 202
    assert served("GET", f"/v2/x/blobs/{digest}").status == 404
    needed, _ = layer_of(served)
    answer = served("DELETE", f"/v2/busybox/blobs/{needed}")
    assert (answer.status, answer.code) == (405, "UNSUPPORTED")
    assert served("HEAD", f"/v2/busybox/blobs/{needed}").status == 200


# -- pushes as a whole ---------------------------------------------------------------------------------------


def test_a_pushed_image_runs_and_its_blobs_survive_a_collection_before_they_are_named(
    served: Served, other: Tiffin
) -> None:
    manifest = served("GET", "/v2/busybox/manifests/latest").document
    with serving(other) as peer:
        for entry in (manifest["config"], *manifest["layers"]):
            peer.push_blob("box", served("GET", f"/v2/busybox/blobs/{entry['digest']}").body)
        assert collect(other) == 0
        answer = peer.push_manifest("box", "1", manifest)
        assert answer.status == 201, answer
    assert other.ok("run", "--rm", "--network", "none", "box:1", "echo", "from a push") == "from a push"
    (found,) = json.loads(other.ok("image", "inspect", "box:1"))
    assert found["Descriptor"]["digest"] == answer.headers["docker-content-digest"]
    assert found["RepoDigests"] == [f"box@{answer.headers['docker-content-digest']}"]
    assert list((other.root / "staging").iterdir()) == []
    assert other.ok("rmi", "box:1").splitlines()[0] == "Untagged: box:1"
    assert list((other.root / "oci/blobs/sha256").iterdir()) == []
