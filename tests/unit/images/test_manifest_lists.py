"""Manifest lists as files: kept whole, changed by one at a time, believed in nothing."""

import os
import threading
from pathlib import Path

import pytest

from tiffin.errors import Conflict, Corrupt, InvalidArgument, NotFound
from tiffin.images.manifest_lists import Annotation, ListEntry, ManifestLists
from tiffin.oci.descriptor import DOCKER_LIST, DOCKER_MANIFEST, INDEX, MANIFEST, Descriptor
from tiffin.oci.platform import Platform
from tiffin.state import locate


@pytest.fixture
def lists(tmp_path: Path) -> ManifestLists:
    return ManifestLists(locate(str(tmp_path / "root"), str(tmp_path / "run")))


def entry(number: int, media_type: str = MANIFEST, reference: str = "") -> ListEntry:
    platform = Platform("linux", "arm64")
    descriptor = Descriptor(media_type, f"sha256:{number:064x}", 7, {}, platform)
    return ListEntry(reference or f"docker.io/library/x:{number}", "docker.io/library/x", descriptor)


def test_a_list_comes_back_as_it_was_made(lists: ManifestLists) -> None:
    made = lists.create("app", [entry(1), entry(2)], amend=False)
    assert lists.get("docker.io/library/app:latest") == made
    assert lists.find("other") is None
    lists.remove("app")
    with pytest.raises(NotFound, match="No such manifest: app:latest"):
        lists.get("app")


def test_the_same_image_is_listed_once_under_its_first_name(lists: ManifestLists) -> None:
    lists.create("app", [entry(1), entry(1, reference="docker.io/library/y:1")], amend=False)
    made = lists.create("app", [entry(1), entry(2)], amend=True)
    assert [each.reference for each in made.entries] == ["docker.io/library/x:1", "docker.io/library/x:2"]
    with pytest.raises(Conflict, match="no --amend flag"):
        lists.create("app", [entry(3)], amend=False)


def test_an_image_is_annotated_by_name_or_digest(lists: ManifestLists) -> None:
    same = "docker.io/library/many:1"
    lists.create("app", [entry(1), entry(2, reference=same), entry(3, reference=same)], amend=False)
    lists.annotate("app", "x:1", Annotation(architecture="arm", variant="v6"))
    lists.annotate("app", f"x@sha256:{3:064x}", Annotation(os="windows", os_features=("a",)))
    made = lists.annotate("app", f"x@sha256:{3:064x}", Annotation(os_features=("a", "b")))
    assert made.entries[0].descriptor.platform == Platform("linux", "arm", "v6")
    assert made.entries[2].descriptor.platform == Platform("windows", "arm64")
    assert made.entries[2].os_features == ("a", "b")
    with pytest.raises(Conflict, match="name one by its digest"):
        lists.annotate("app", "many:1", Annotation(os="windows"))
    with pytest.raises(InvalidArgument, match="invalid value"):
        lists.annotate("app", "x:1", Annotation(os="\x1b[2J"))


def test_all_of_dockers_makes_dockers(lists: ManifestLists) -> None:
    assert lists.create("a", [entry(1, DOCKER_MANIFEST)], amend=False).encode()[1] == DOCKER_LIST
    assert lists.create("a", [entry(2)], amend=True).encode()[1] == INDEX


def test_a_damaged_file_is_refused(lists: ManifestLists, tmp_path: Path) -> None:
    lists.create("app", [entry(1)], amend=False)
    (path,) = (tmp_path / "root/manifests").glob("*.json")
    assert path.stat().st_mode & 0o777 == 0o600
    good = path.read_bytes()
    for bad in (b"", b"[]", good.replace(b"app", b"ape"), good.replace(b'"sha256:', b'"../..:'), good[:-2]):
        path.write_bytes(bad)
        with pytest.raises(Corrupt):
            lists.get("app")


def test_several_who_amend_lose_nothing(lists: ManifestLists) -> None:
    lists.create("app", [], amend=False)
    threads = [
        threading.Thread(target=lists.create, args=("app", [entry(number)]), kwargs={"amend": True})
        for number in range(1, 21)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(lists.get("app").entries) == 20
    assert not [name for name in os.listdir(lists.directory) if name.endswith(".new")]
