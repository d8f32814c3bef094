"""Pulling from a registry in memory, which counts what it sends and can break off wherever a test wants."""

import gzip
import io
import os
import threading
from pathlib import Path

import pytest

from tests.integration.images.archives import (
    CONFIG,
    LAYER,
    MANIFEST,
    config,
    descriptor,
    digest,
    encode,
    tar,
)
from tests.integration.images.engine import files_of, load, open_images, stored, verify
from tests.integration.images.remote import Remote, breaks_after, incompressible
from tiffin.errors import Corrupt, NotFound, TransferError, Unsupported
from tiffin.images import Images
from tiffin.images.pull import Pulled, PullOptions
from tiffin.images.transfer import TransferEvent
from tiffin.oci.platform import parse_platform
from tiffin.oci.reference import parse_reference

pytestmark = pytest.mark.root

BASE = tar({"base": incompressible(3 << 20)})
ONE, TWO = tar({"one": b"1" * 5000}), tar({"two": b"2" * 7000})
ARM = {"os": "linux", "architecture": "arm64"}
AMD = {"os": "linux", "architecture": "amd64"}


def pull(
    images: Images, remote: Remote, text: str = "r.io/app:1", platform: str = "", **options: bool
) -> Pulled:
    chosen = parse_platform(platform) if platform else None
    return images.pull(remote, parse_reference(text), chosen, options=PullOptions(**options))


def partials(images: Images) -> list[Path]:
    return [path for path in Path(images.store.layout.staging).iterdir() if path.name.startswith("partial-")]


def two_platforms(remote: Remote, tag: str = "1") -> dict[str, object]:
    attestation = remote.image("", [tar({"statement": b"x"})], architecture="unknown", os="unknown")
    return remote.index(
        tag,
        remote.image("", [ONE], architecture="arm64") | {"platform": ARM},
        remote.image("", [TWO]) | {"platform": AMD},
        attestation
        | {
            "platform": {"os": "unknown", "architecture": "unknown"},
            "annotations": {"vnd.docker.reference.type": "attestation-manifest"},
        },
    )


def test_an_image_comes_whole_and_gets_its_name_and_digest(images: Images) -> None:
    remote = Remote()
    manifest = remote.image("1", [BASE, ONE])
    events: list[TransferEvent] = []
    done = images.pull(remote, parse_reference("r.io/app:1"), report=events.append)
    assert done.digest == manifest["digest"] == done.image.manifest
    assert done.status == "Downloaded newer image for r.io/app:1"
    assert done.image.names == ("r.io/app:1",)
    assert done.image.digests == (f"r.io/app@{done.digest}",)
    assert files_of(images, done.image) == ["base", "one"]
    assert images.inspect("r.io/app:1")["RepoDigests"] == [f"r.io/app@{done.digest}"]
    verify(images)
    assert stored(images)[2] == 0
    assert events[0] == TransferEvent("Pulling from app", "1")
    assert [event.status for event in events[-2:]] == [f"Digest: {done.digest}", f"Status: {done.status}"]
    for layer in images.layers(done.image):
        told = [event for event in events if event.id == layer.blob[7:19]]
        assert [event.status for event in told if event.current < 0] == [
            "Pulling fs layer",
            "Download complete",
            "Pull complete",
        ]


def test_a_second_pull_asks_for_the_digest_alone(images: Images) -> None:
    remote = Remote()
    remote.image("1", [ONE])
    pull(images, remote)
    sent = remote.sent
    assert pull(images, remote).status == "Image is up to date for r.io/app:1"
    assert remote.sent == sent


def test_images_that_share_a_base_move_and_keep_only_their_own_bytes(images: Images) -> None:
    remote = Remote()
    remote.image("1", [BASE, ONE])
    remote.image("2", [BASE, TWO])
    pull(images, remote)
    sent = remote.sent
    pull(images, remote, "r.io/app:2")
    assert remote.sent - sent < 4000
    assert stored(images) == (7, 3, 0)


def test_a_tag_that_moved_names_the_new_image_and_the_old_keeps_its_digest(images: Images) -> None:
    remote = Remote()
    old = remote.image("1", [ONE])
    first = pull(images, remote).image
    remote.image("1", [TWO])
    second = pull(images, remote)
    assert second.status.startswith("Downloaded newer image")
    assert images.resolve("r.io/app:1").id == second.image.id
    assert images.resolve(f"r.io/app@{old['digest']}").id == first.id
    assert images.resolve(f"r.io/app:1@{old['digest']}").id == first.id
    assert images.by_id(first.id).names == ()


def test_a_pull_by_digest_names_no_tag(images: Images) -> None:
    remote = Remote()
    wanted = remote.image("1", [ONE])
    remote.image("1", [TWO])
    done = pull(images, remote, f"r.io/app:1@{wanted['digest']}")
    assert files_of(images, done.image) == ["one"]
    assert done.image.names == ()
    assert done.status == f"Downloaded newer image for r.io/app@{wanted['digest']}"
    assert images.resolve(f"r.io/app@{wanted['digest']}").id == done.image.id
    with pytest.raises(NotFound):
        images.resolve("r.io/app:1")


def test_a_broken_transfer_keeps_what_came_and_the_next_pull_asks_for_the_rest(images: Images) -> None:
    remote = Remote()
    remote.image("1", [BASE, ONE])
    remote.gate = breaks_after(2 << 20)
    with pytest.raises(TransferError):
        pull(images, remote)
    assert images.list() == []
    assert stored(images)[:2] == (0, 0)
    (kept,) = partials(images)
    size = kept.stat().st_size
    assert 2 << 20 <= size < (2 << 20) + 70_000
    remote.gate, remote.sent = breaks_after(1 << 40), 0
    verify_image = pull(images, remote).image
    assert size in (remote.opened[-1][1], remote.opened[-2][1])
    assert remote.sent < (1 << 20) + 10_000
    assert files_of(images, verify_image) == ["base", "one"]
    verify(images)
    assert partials(images) == []


def test_a_registry_without_ranges_sends_all_again_and_nothing_is_written_twice(images: Images) -> None:
    remote = Remote()
    remote.image("1", [BASE])
    remote.gate = breaks_after(1 << 20)
    with pytest.raises(TransferError):
        pull(images, remote)
    remote.gate, remote.ranges = breaks_after(1 << 40), False
    pull(images, remote)
    verify(images)


def test_a_beginning_that_was_damaged_on_disk_is_found_out_and_fetched_anew(images: Images) -> None:
    remote = Remote()
    remote.image("1", [BASE])
    remote.gate = breaks_after(1 << 20)
    with pytest.raises(TransferError):
        pull(images, remote)
    (kept,) = partials(images)
    with open(kept, "r+b") as file:
        file.seek(500_000)
        file.write(b"\0" * 1000)
    size = kept.stat().st_size
    remote.gate = breaks_after(1 << 40)
    pull(images, remote)
    assert [offset for _, offset in remote.opened[-2:]] == [size, 0]
    verify(images)


def test_a_beginning_waits_a_day_or_until_asked_for(images: Images) -> None:
    remote = Remote()
    remote.image("1", [BASE])
    remote.gate = breaks_after(1 << 20)
    with pytest.raises(TransferError):
        pull(images, remote)
    assert images.collect() == 0
    (kept,) = partials(images)
    os.utime(kept, (kept.stat().st_mtime - 90_000,) * 2)
    assert images.collect() == 1
    with pytest.raises(TransferError):
        pull(images, remote)
    assert images.collect(partials=True) == 1
    assert stored(images) == (0, 0, 0)


def test_two_pulls_at_once_fetch_a_layer_once(images: Images, tmp_path: Path) -> None:
    remote = Remote()
    remote.image("1", [BASE, ONE])
    remote.named["2"] = remote.named["1"]
    one_waits, failures = threading.Event(), list[BaseException]()

    def gate(offset: int) -> None:
        if offset >= 1 << 20 and not one_waits.wait(20):
            raise TransferError("nobody came to wait")

    def tell(event: TransferEvent) -> None:
        if event.status == "Waiting":
            one_waits.set()

    def other() -> None:
        second = open_images(tmp_path)
        try:
            second.pull(remote, parse_reference("r.io/app:2"), report=tell)
        except BaseException as error:
            failures.append(error)
        finally:
            second.store.close()

    remote.gate = gate
    thread = threading.Thread(target=other)
    thread.start()
    done = images.pull(remote, parse_reference("r.io/app:1"), report=tell).image
    thread.join(60)
    assert failures == []
    blobs = [layer.blob for layer in images.layers(done)]
    assert sorted(blob for blob, _ in remote.opened if blob in blobs) == sorted(blobs)
    assert images.by_id(done.id).names == ("r.io/app:1", "r.io/app:2")
    verify(images)
    assert stored(images)[2] == 0


def test_a_layer_known_from_another_blob_is_fetched_and_not_unpacked_again(images: Images) -> None:
    remote = Remote()
    remote.image("1", [BASE, ONE])
    first = pull(images, remote).image
    other = gzip.compress(BASE, 2, mtime=0)
    document = config([BASE], author="other")
    for data in (other, document):
        remote.blob(data)
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": descriptor(CONFIG, document),
        "layers": [descriptor(LAYER, other)],
    }
    remote.document(MANIFEST, encode(manifest), "2")
    before = os.stat(images.snapshots.layer_path(first.diff_ids[0])).st_ino
    second = pull(images, remote, "r.io/app:2").image
    assert images.layers(second)[0].blob == digest(other)
    assert os.stat(images.snapshots.layer_path(first.diff_ids[0])).st_ino == before
    verify(images)


def test_without_keeping_blobs_only_documents_stay(images: Images) -> None:
    remote = Remote()
    remote.image("1", [BASE, ONE])
    done = pull(images, remote, keep_compressed=False).image
    assert files_of(images, done) == ["base", "one"]
    assert stored(images) == (2, 2, 0)
    sent = remote.sent
    remote.image("2", [BASE, TWO])
    pull(images, remote, "r.io/app:2", keep_compressed=False)
    assert remote.sent - sent < 4000


def test_a_known_image_takes_on_the_manifest_that_came_last(images: Images) -> None:
    remote = Remote()
    old = remote.image("1", [ONE])
    first = pull(images, remote).image
    blob = gzip.compress(ONE, 9, mtime=7)
    remote.blob(blob)
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": descriptor(CONFIG, config([ONE])),
        "layers": [descriptor(LAYER, blob)],
    }
    new = remote.document(MANIFEST, encode(manifest), "1")
    done = pull(images, remote).image
    assert done.id == first.id
    assert done.manifest == new["digest"]
    assert [layer.blob for layer in images.layers(done)] == [digest(blob)]
    assert images.resolve(f"r.io/app@{old['digest']}").id == done.id
    images.collect()
    verify(images)


# -- platforms -----------------------------------------------------------------------------------------------


def test_of_an_index_the_hosts_image_comes_and_the_index_is_kept_whole(images: Images) -> None:
    remote = Remote()
    index = two_platforms(remote)
    done = pull(images, remote)
    assert files_of(images, done.image) == ["two"]
    assert done.digest == index["digest"]
    assert done.image.digests == (f"r.io/app@{index['digest']}",)
    images.collect()
    whole = images.content.read_bytes(str(index["digest"]), 1 << 20)
    assert b"attestation-manifest" in whole
    assert pull(images, remote).status.startswith("Image is up to date")


def test_a_second_platform_joins_the_name_and_is_what_it_stands_for_then(images: Images) -> None:
    remote = Remote()
    index = two_platforms(remote)
    amd = pull(images, remote).image
    arm = pull(images, remote, platform="linux/arm64").image
    assert images.resolve("r.io/app:1").id == arm.id
    assert images.resolve("r.io/app:1", parse_platform("linux/amd64")).id == amd.id
    assert images.resolve(f"r.io/app@{index['digest']}", parse_platform("linux/amd64")).id == amd.id
    assert images.resolve("r.io/app:1", parse_platform("arm64/v8".replace("/v8", ""))).id == arm.id
    with pytest.raises(NotFound, match=r"wanted linux/s390x, actual: linux/arm64$"):
        images.resolve("r.io/app:1", parse_platform("linux/s390x"))
    assert {row.id: row.within for row in images.list()} == {amd.id: ("r.io/app:1",), arm.id: ()}
    assert pull(images, remote).image.id == amd.id
    assert images.resolve("r.io/app:1").id == amd.id
    verify(images)


def test_a_platform_that_an_index_lacks_is_said_in_dockers_words(images: Images) -> None:
    remote = Remote()
    two_platforms(remote)
    with pytest.raises(NotFound, match=r"^no matching manifest for linux/s390x in the manifest list entries"):
        pull(images, remote, platform="linux/s390x")
    assert stored(images) == (0, 0, 0)


def test_an_image_alone_is_taken_as_it_is_unless_another_platform_was_asked_for(images: Images) -> None:
    remote = Remote()
    remote.image("1", [ONE], architecture="s390x")
    with pytest.raises(NotFound, match="wanted linux/amd64, actual: linux/s390x"):
        pull(images, remote, platform="linux/amd64")
    assert pull(images, remote).image.platform.architecture == "s390x"


def test_an_index_within_an_index_is_followed_and_kept(images: Images) -> None:
    remote = Remote()
    inner = two_platforms(remote, "")
    outer = remote.index("1", inner)
    done = pull(images, remote)
    assert files_of(images, done.image) == ["two"]
    assert done.digest == outer["digest"]
    images.collect()
    for document in (inner, outer):
        assert images.content.exists(str(document["digest"]))


def test_a_tag_of_an_index_stands_for_its_platforms_too(images: Images) -> None:
    remote = Remote()
    two_platforms(remote)
    pull(images, remote, platform="linux/arm64")
    amd = pull(images, remote).image
    images.tag("r.io/app:1", "mine")
    assert images.resolve("mine", parse_platform("linux/arm64")).id != amd.id
    assert images.resolve("mine").id == amd.id


# -- layers from elsewhere -----------------------------------------------------------------------------------


def foreign(remote: Remote, url: str) -> bytes:
    """An image whose only layer the registry does not hold."""
    blob = gzip.compress(ONE, 1, mtime=0)
    remote.blob(document := config([ONE]))
    kind = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": descriptor(CONFIG, document),
        "layers": [descriptor(kind, blob, urls=[url])],
    }
    remote.document(MANIFEST, encode(manifest), "1")
    return blob


def test_a_foreign_layer_comes_from_its_url_and_has_no_origin(images: Images) -> None:
    remote = Remote()
    blob = foreign(remote, "https://elsewhere.example/layer")
    remote.elsewhere["https://elsewhere.example/layer"] = blob
    done = pull(images, remote).image
    assert files_of(images, done) == ["one"]
    origins = dict(images.store.db.execute("SELECT blob, repository FROM blob_origins").fetchall())
    assert origins == {done.id: "r.io/app"}


def test_a_plain_tar_is_a_layer_too(images: Images) -> None:
    remote = Remote()
    remote.blob(ONE)
    remote.blob(document := config([ONE]))
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": descriptor(CONFIG, document),
        "layers": [descriptor("application/vnd.oci.image.layer.v1.tar", ONE)],
    }
    remote.document(MANIFEST, encode(manifest), "1")
    assert files_of(images, pull(images, remote).image) == ["one"]


def test_schema_1_is_refused_in_one_line(images: Images) -> None:
    remote = Remote()
    kind = "application/vnd.docker.distribution.manifest.v1+prettyjws"
    remote.document(kind, encode({"schemaVersion": 1, "fsLayers": [], "name": "app"}), "1")
    with pytest.raises(Unsupported, match="schema 1") as caught:
        pull(images, remote)
    assert "\n" not in str(caught.value)
    assert stored(images) == (0, 0, 0)


def test_a_failure_of_one_layer_ends_the_others_and_leaves_no_tree(images: Images) -> None:
    remote = Remote()
    remote.image("1", [BASE, ONE, TWO])
    gone = digest(gzip.compress(TWO, 1, mtime=0))
    del remote.blobs[gone]
    with pytest.raises(NotFound, match="unknown"):
        pull(images, remote)
    assert images.list() == []
    assert stored(images)[:2] == (0, 0)
    images.collect(partials=True)
    assert stored(images) == (0, 0, 0)


def test_a_wrong_blob_leaves_nothing(images: Images) -> None:
    remote = Remote()
    remote.image("1", [BASE])
    blob = digest(gzip.compress(BASE, 1, mtime=0))
    remote.blobs[blob] = gzip.compress(BASE, 1, mtime=5)
    with pytest.raises(Corrupt, match="does not match its digest"):
        pull(images, remote)
    assert stored(images) == (0, 0, 0)


# -- removing ------------------------------------------------------------------------------------------------


def test_the_last_tag_takes_the_digests_of_its_repository_along(images: Images) -> None:
    remote = Remote()
    manifest = remote.image("1", [ONE])
    done = pull(images, remote).image
    images.tag("r.io/app:1", "r.io/app:2")
    assert images.remove("r.io/app:1") == [("Untagged", "r.io/app:1")]
    records = images.remove("r.io/app:2")
    assert records[:3] == [
        ("Untagged", "r.io/app:2"),
        ("Untagged", f"r.io/app@{manifest['digest']}"),
        ("Deleted", done.id),
    ]
    assert stored(images) == (0, 0, 0)
    assert images.store.db.execute("SELECT count(*) FROM blob_origins").fetchone() == (0,)


def test_a_digest_can_be_removed_while_a_tag_stays(images: Images) -> None:
    remote = Remote()
    manifest = remote.image("1", [ONE])
    pull(images, remote)
    text = f"r.io/app@{manifest['digest']}"
    assert images.remove(text) == [("Untagged", text)]
    assert images.resolve("r.io/app:1").digests == ()
    assert pull(images, remote).image.digests == (text,)
    images.remove("r.io/app:1")
    pull(images, remote, text)
    assert [what for what, _ in images.remove(text)] == ["Untagged", "Deleted", "Deleted"]
    assert stored(images) == (0, 0, 0)


def test_a_name_of_an_index_takes_its_platforms_along(images: Images) -> None:
    remote = Remote()
    two_platforms(remote)
    arm = pull(images, remote, platform="linux/arm64").image
    amd = pull(images, remote).image
    images.tag("r.io/app:1", "kept")
    assert images.remove("r.io/app:1")[0] == ("Untagged", "r.io/app:1")
    assert {row.id for row in images.list()} == {arm.id, amd.id}
    images.remove("kept")
    assert [row.id for row in images.list()] == []
    assert stored(images) == (0, 0, 0)
    assert images.store.db.execute("SELECT count(*) FROM indexes").fetchone() == (0,)


# -- moving indexes in archives ------------------------------------------------------------------------------


def saved(images: Images, *names: str) -> bytes:
    out = io.BytesIO()
    images.save(names, out)
    return out.getvalue()


def test_an_index_is_saved_and_loaded_with_all_of_it_that_is_here(images: Images, tmp_path: Path) -> None:
    remote = Remote()
    index = two_platforms(remote)
    arm = pull(images, remote, platform="linux/arm64").image
    amd = pull(images, remote).image
    other = open_images(tmp_path / "other")
    try:
        assert load(other, saved(images, "r.io/app:1")) == ["r.io/app:1"]
        assert other.resolve("r.io/app:1").id == amd.id
        assert other.resolve("r.io/app:1", parse_platform("linux/arm64")).id == arm.id
        assert other.content.exists(str(index["digest"]))
        other.collect()
        verify(other)
        assert saved(other, "r.io/app:1") == saved(images, "r.io/app:1")
    finally:
        other.store.close()


def test_an_index_with_another_machines_image_alone_is_saved_as_that_image(
    images: Images, tmp_path: Path
) -> None:
    remote = Remote()
    two_platforms(remote)
    arm = pull(images, remote, platform="linux/arm64").image
    other = open_images(tmp_path / "other")
    try:
        load(other, saved(images, "r.io/app:1"))
        assert other.resolve("r.io/app:1").manifest == arm.manifest
        assert other.store.db.execute("SELECT count(*) FROM indexes").fetchone() == (0,)
    finally:
        other.store.close()


def test_an_archive_may_hold_a_part_of_an_index(images: Images, tmp_path: Path) -> None:
    remote = Remote()
    index = two_platforms(remote)
    amd = pull(images, remote).image
    other = open_images(tmp_path / "other")
    try:
        load(other, saved(images, "r.io/app:1"))
        assert [row.id for row in other.list()] == [amd.id]
        assert other.content.exists(str(index["digest"]))
        arm = pull(other, remote, platform="linux/arm64").image
        assert other.resolve("r.io/app:1", parse_platform("amd64")).id == amd.id
        assert other.resolve("r.io/app:1").id == arm.id
    finally:
        other.store.close()
