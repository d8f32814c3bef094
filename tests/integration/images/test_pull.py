"""Pulling from a registry in memory, which counts what it sends and can break off wherever a test wants."""

import gzip
import os
import random
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
)
from tests.integration.images.engine import files_of, open_images, stored, verify
from tests.integration.images.pulling import BASE, ONE, TWO, partials, pull
from tests.integration.images.remote import Remote, breaks_after
from tiffin.errors import Corrupt, NotFound, TiffinError, TransferError, Unsupported
from tiffin.images import Images
from tiffin.images.transfer import TransferEvent
from tiffin.oci.reference import parse_reference

pytestmark = pytest.mark.root


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


# -- faults --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
def test_whatever_goes_wrong_an_image_is_whole_or_absent(images: Images, seed: int) -> None:
    chance = random.Random(seed)
    remote = Remote()
    remote.image("1", [BASE, ONE, TWO])
    honest = dict(remote.blobs)
    for _ in range(12):
        remote.blobs = dict(honest)
        remote.ranges = chance.random() < 0.7
        remote.piece = chance.choice((1000, 1 << 14, 1 << 18))
        remote.gate = breaks_after(chance.randrange(4 << 20)) if chance.random() < 0.6 else lambda _: None
        victim = chance.choice(list(honest))
        if chance.random() < 0.4:
            remote.blobs[victim] = spoiled(honest[victim], chance)
        try:
            image = pull(images, remote, keep_compressed=chance.random() < 0.7).image
        except TiffinError:
            assert images.list() == []
        else:
            assert files_of(images, image) == ["base", "one", "two"]
            images.remove("r.io/app:1")
        assert stored(images)[:2] == (0, 0)
        assert len(partials(images)) == stored(images)[2]
    remote.blobs, remote.gate = honest, lambda _: None
    pull(images, remote)
    verify(images)
    assert stored(images)[2] == 0


def spoiled(data: bytes, chance: random.Random) -> bytes:
    """Truncated, longer, or with a few bytes changed."""
    kind, at = chance.randrange(3), chance.randrange(len(data))
    if kind == 0:
        return data[:at]
    if kind == 1:
        return data + bytes(at % 5000 + 1)
    return data[:at] + bytes((data[at] ^ 0x55,)) + data[at + 1 :]


def test_a_layer_that_changed_since_it_broke_off_is_found_out(images: Images) -> None:
    """T16: what is kept and what comes now are hashed as one."""
    remote = Remote()
    remote.image("1", [BASE])
    blob = digest(gzip.compress(BASE, 1, mtime=0))
    remote.gate = breaks_after(1 << 20)
    with pytest.raises(TransferError):
        pull(images, remote)
    remote.gate = breaks_after(1 << 40)
    data = remote.blobs[blob]
    remote.blobs[blob] = data[: 2 << 20] + bytes(1000) + data[(2 << 20) + 1000 :]
    with pytest.raises(Corrupt):
        pull(images, remote)
    assert stored(images) == (0, 0, 0)
