"""Images for several platforms under one name, and names and digests, as pulls bring them and removals take them."""

import gzip
import io
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.integration.images.engine import files_of, load, open_images, stored, verify
from tests.integration.images.pulling import ONE, pull, two_platforms
from tests.integration.images.remote import Remote, decoded
from tiffin.errors import NotFound
from tiffin.images import Images
from tiffin.oci.platform import parse_platform

pytestmark = pytest.mark.root


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


@pytest.mark.skipif(not shutil.which("skopeo"), reason="needs skopeo")
def test_a_saved_index_is_an_index_to_others(images: Images, tmp_path: Path) -> None:
    remote = Remote()
    two_platforms(remote)
    pull(images, remote, platform="linux/arm64")
    pull(images, remote)
    (tmp_path / "saved.tar").write_bytes(saved(images, "r.io/app:1"))
    for choice, expected in (("amd64", b"2" * 7000), ("arm64", b"1" * 5000)):
        target = tmp_path / choice
        command = [
            "skopeo",
            "--override-arch",
            choice,
            "copy",
            "--quiet",
            f"oci-archive:{tmp_path}/saved.tar",
        ]
        subprocess.run([*command, f"dir:{target}"], check=True, capture_output=True)
        manifest = decoded((target / "manifest.json").read_bytes())
        layer = (target / manifest["layers"][0]["digest"][7:]).read_bytes()
        assert expected in gzip.decompress(layer)
