import json
from pathlib import Path

import pytest

from tests.integration.images.archives import Oci, digest, docker_archive, tar
from tests.integration.images.engine import load, stored
from tiffin.errors import Conflict, InvalidArgument, NotFound
from tiffin.images import Images

pytestmark = pytest.mark.root

BASE, ONE, TWO = tar({"base": b"base"}), tar({"one": b"1"}), tar({"two": b"22"})


def add(images: Images, name: str, *layers: bytes) -> str:
    """Load an image of these layers; its ID."""
    load(images, docker_archive(name, layers))
    return images.resolve(name).id


def container(images: Images, image: str, status: str, name: str = "c" * 64) -> str:
    """A container's row, as the container room writes it."""
    with images.store.transaction() as db:
        db.execute(
            "INSERT INTO containers (id, name, image, record, auto_remove, status, created) VALUES (?,?,?,?,?,?,?)",
            (name, name[:8], image, "{}", 0, status, 1),
        )
    return name


def index_names(images: Images) -> list[str]:
    document = json.loads(Path(images.store.layout.oci, "index.json").read_bytes())
    return [
        entry.get("annotations", {}).get("org.opencontainers.image.ref.name")
        for entry in document["manifests"]
    ]


def test_an_image_is_found_by_name_id_and_a_unique_beginning(images: Images) -> None:
    image = add(images, "x:1", BASE)
    for text in ("x:1", "docker.io/library/x:1", image, image[7:], image[7:19], image[:12], image[7]):
        assert images.resolve(text).id == image
    manifest = images.resolve("x:1").manifest
    assert images.resolve(f"x@{manifest}").id == image


@pytest.mark.parametrize(
    ("text", "said"),
    [("nope", "nope:latest"), ("r.io/a:b", "r.io/a:b"), ("0" * 64, "0" * 64), ("y@sha256:" + "0" * 64, "")],
)
def test_an_unknown_image_is_named_as_docker_names_it(images: Images, text: str, said: str) -> None:
    with pytest.raises(NotFound, match=f"^No such image: {said}"):
        images.resolve(text)


def test_what_cannot_be_a_reference_is_said_to_be_none(images: Images) -> None:
    with pytest.raises(InvalidArgument, match="must be lowercase"):
        images.resolve("Nope")


def test_a_beginning_that_fits_several_ids_is_refused(images: Images) -> None:
    found: dict[str, str] = {}
    for number in range(40):
        image = add(images, f"x:{number}", tar({"n": b"%d" % number}))
        if image[7] in found:
            with pytest.raises(Conflict, match=f"multiple IDs found with provided prefix: {image[7]}"):
                images.resolve(image[7])
            return
        found[image[7]] = image
    raise AssertionError("40 IDs began differently")


def test_a_name_that_moves_leaves_its_image_dangling(images: Images) -> None:
    old, new = add(images, "x:1", ONE), add(images, "x:1", TWO)
    assert images.resolve("x:1").id == new
    assert {row.id: row.names for row in images.list()} == {old: (), new: ("docker.io/library/x:1",)}
    assert index_names(images) == [None, "docker.io/library/x:1"]


def test_tag_adds_a_name_and_the_index_follows(images: Images) -> None:
    add(images, "x:1", ONE)
    images.tag("x:1", "r.io/y:2")
    assert sorted(index_names(images)) == ["docker.io/library/x:1", "r.io/y:2"]
    with pytest.raises(NotFound):
        images.tag("z", "y")


def test_removing_one_of_two_names_only_untags(images: Images) -> None:
    add(images, "x:1", ONE)
    images.tag("x:1", "x:2")
    assert images.remove("x:1") == [("Untagged", "x:1")]
    assert images.resolve("x:2").names == ("docker.io/library/x:2",)


def test_removing_the_last_name_deletes_the_image_and_the_layers_of_it_alone(images: Images) -> None:
    add(images, "x:1", BASE, ONE)
    image = add(images, "x:2", BASE, TWO)
    records = images.remove("x:2")
    assert records[:2] == [("Untagged", "x:2"), ("Deleted", image)]
    assert [what for what, _ in records[2:]] == ["Deleted"]
    assert stored(images) == (4, 2, 0)
    images.remove("x:1")
    assert stored(images) == (0, 0, 0)
    assert index_names(images) == []


def test_an_id_with_several_repositories_needs_force(images: Images) -> None:
    image = add(images, "x:1", ONE)
    images.tag("x:1", "y:1")
    said = (
        f"unable to delete {image[7:19]} \\(must be forced\\) - image is referenced in multiple repositories"
    )
    with pytest.raises(Conflict, match=f"^conflict: {said}$"):
        images.remove(image[7:19])
    records = images.remove(image, force=True)
    assert records[:3] == [("Untagged", "x:1"), ("Untagged", "y:1"), ("Deleted", image)]


@pytest.mark.parametrize("force", [False, True])
def test_a_running_container_keeps_an_image_named_by_id(images: Images, force: bool) -> None:
    image = add(images, "x:1", ONE)
    user = container(images, image, "running")
    who = f"image is being used by running container {user[:12]}"
    said = f"unable to delete {image[7:19]} \\(cannot be forced\\) - {who}"
    with pytest.raises(Conflict, match=f"^conflict: {said}$"):
        images.remove(image, force)
    assert images.resolve("x:1")


def test_a_name_in_use_needs_force_and_a_running_containers_image_then_dangles(images: Images) -> None:
    image = add(images, "x:1", ONE)
    user = container(images, image, "running")
    said = (
        f'unable to remove repository reference "x:1" \\(must force\\) - container {user[:12]} is using its'
    )
    with pytest.raises(Conflict, match=f"^conflict: {said} referenced image {image[7:19]}$"):
        images.remove("x:1")
    assert images.remove("x:1", force=True) == [("Untagged", "x:1")]
    assert images.list()[0].names == ()


def test_an_image_forced_from_under_a_stopped_container_goes_with_it(images: Images) -> None:
    image = add(images, "x:1", ONE)
    user = container(images, image, "exited")
    said = f"image is being used by stopped container {user[:12]}"
    with pytest.raises(Conflict, match=f"must be forced\\) - {said}$"):
        images.remove(image)
    assert images.remove(image, force=True) == [("Untagged", "x:1"), ("Deleted", image)]
    assert images.list() == []
    with pytest.raises(NotFound):
        images.resolve(image)
    assert images.by_id(image).diff_ids == (digest(ONE),)  # the container can still be started
    assert images.snapshots.has_layer(digest(ONE))
    with images.store.transaction() as db:
        db.execute("DELETE FROM containers")
    images.collect()
    assert stored(images) == (0, 0, 0)


def test_an_image_that_was_forced_away_can_be_loaded_again(images: Images) -> None:
    image = add(images, "x:1", ONE)
    container(images, image, "exited")
    images.remove(image, force=True)
    assert add(images, "x:1", ONE) == image
    assert images.list()[0].names == ("docker.io/library/x:1",)


def test_collecting_waits_for_who_is_adding(images: Images) -> None:
    images.content.put_bytes(b"not named yet")
    with images.store.adding():
        assert images.collect() == 0
    assert images.collect() == 1
    assert stored(images) == (0, 0, 0)


def test_history_and_inspect_have_dockers_form(images: Images) -> None:
    archive = Oci()
    history = [
        {"created": "2020-01-01T00:00:00Z", "created_by": "ADD base"},
        {"created_by": "ENV a=b", "empty_layer": True},
        {"created_by": "RUN two", "comment": "why"},
    ]
    settings = {"Env": ["a=b"], "Cmd": ["sh"]}
    archive.image("x:1", [BASE, TWO], history=history, config=settings, created="2020-01-02T00:00:00Z")
    load(images, archive.tar())
    rows = images.history("x:1")
    assert [(row["CreatedBy"], row["Size"]) for row in rows] == [
        ("RUN two", 2),
        ("ENV a=b", 0),
        ("ADD base", 4),
    ]
    assert [row["Id"] for row in rows] == [images.resolve("x:1").id, "<missing>", "<missing>"]
    assert (rows[0]["Tags"], rows[2]["Created"]) == (["x:1"], 1577836800)
    document = images.inspect("x:1")
    assert document["RepoTags"] == ["x:1"]
    assert document["Config"]["Env"] == ["a=b"]
    assert document["Config"]["Entrypoint"] is None
    assert document["RootFS"] == {"Type": "layers", "Layers": [digest(BASE), digest(TWO)]}
    assert (document["Size"], document["Created"], document["Os"]) == (6, "2020-01-02T00:00:00Z", "linux")
