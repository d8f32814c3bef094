"""Which image an index leads to."""

import json
from typing import Any

import pytest

from tiffin.errors import LimitExceeded, NotFound
from tiffin.images.indexes import all_manifests, find_manifest, wanted
from tiffin.oci.descriptor import CONFIG, INDEX, MANIFEST, Descriptor
from tiffin.oci.digest import sha256
from tiffin.oci.platform import Platform, parse_platform


class Documents:
    """Documents by digest."""

    def __init__(self) -> None:
        self.data: dict[str, bytes] = {}
        self.read_ones: list[str] = []

    def put(self, media_type: str, document: dict[str, Any]) -> dict[str, Any]:
        data = json.dumps({"schemaVersion": 2, "mediaType": media_type, **document}).encode()
        digest = f"sha256:{sha256(data)}"
        self.data[digest] = data
        return {"mediaType": media_type, "digest": digest, "size": len(data)}

    def image(self, name: str, platform: str = "", **more: Any) -> dict[str, Any]:
        config = {"mediaType": CONFIG, "digest": f"sha256:{sha256(name.encode())}", "size": 1}
        entry = self.put(MANIFEST, {"config": config, "layers": [], "annotations": {"name": name}})
        if platform:
            parts = platform.split("/")
            entry["platform"] = dict(zip(("os", "architecture", "variant"), parts, strict=False))
        return {**entry, **more}

    def index(self, *entries: dict[str, Any]) -> dict[str, Any]:
        return self.put(INDEX, {"manifests": list(entries)})

    def read(self, descriptor: Descriptor) -> bytes:
        self.read_ones.append(descriptor.digest)
        return self.data[descriptor.digest]

    def chosen(self, top: dict[str, Any], platform: str = "", host: str = "linux/amd64") -> str:
        want = wanted(parse_platform(platform) if platform else None, parse_platform(host))
        entry = Descriptor(top["mediaType"], top["digest"], top["size"])
        found = find_manifest(entry, self.read, want)
        return str(json.loads(found.data)["annotations"]["name"])


ATTACHED = {"annotations": {"vnd.docker.reference.type": "attestation-manifest"}}


def test_the_best_variant_is_chosen_whatever_the_order() -> None:
    documents = Documents()
    top = documents.index(
        documents.image("v6", "linux/arm/v6"),
        documents.image("v7", "linux/arm/v7"),
        documents.image("v5", "linux/arm/v5"),
    )
    assert documents.chosen(top, "linux/arm/v7") == "v7"
    assert documents.chosen(top, "linux/arm/v8") == "v7"
    assert documents.chosen(top, "linux/arm/v6") == "v6"
    assert documents.chosen(top, "linux/arm") == "v7"


def test_an_attestation_is_never_an_image() -> None:
    documents = Documents()
    attached = documents.image("attached", "linux/amd64", **ATTACHED)
    unknown = documents.image("unknown", "unknown/unknown")
    top = documents.index(attached, unknown, documents.image("image", "linux/amd64"))
    assert documents.chosen(top) == "image"
    with pytest.raises(NotFound, match=r"linux/amd64 in the manifest list entries: it has no platform$"):
        documents.chosen(documents.index(attached, unknown))


def test_what_states_no_platform_comes_last() -> None:
    documents = Documents()
    top = documents.index(documents.image("silent"), documents.image("ours", "linux/amd64"))
    assert documents.chosen(top) == "ours"
    assert documents.chosen(documents.index(documents.image("silent"))) == "silent"


def test_a_machine_takes_a_32_bit_image_only_when_nobody_asked() -> None:
    documents = Documents()
    top = documents.index(documents.image("small", "linux/386"))
    assert documents.chosen(top) == "small"
    with pytest.raises(NotFound):
        documents.chosen(top, "linux/amd64")


def test_indexes_within_are_searched_and_only_as_far_as_needed() -> None:
    documents = Documents()
    first = documents.index(documents.image("other", "linux/s390x"))
    second = documents.index(documents.image("ours", "linux/amd64"))
    third = documents.index(documents.image("late", "linux/amd64"))
    assert documents.chosen(documents.index(first, second, third)) == "ours"
    assert third["digest"] not in documents.read_ones


def test_a_nest_of_indexes_has_an_end() -> None:
    documents = Documents()
    entry = documents.index(documents.image("deep", "linux/amd64"))
    for _ in range(5):
        entry = documents.index(entry)
    with pytest.raises(LimitExceeded, match="deep"):
        documents.chosen(entry)
    many = [documents.index(documents.image(str(n), "linux/s390x")) for n in range(40)]
    with pytest.raises(LimitExceeded, match="documents to read"):
        documents.chosen(documents.index(*many))


def test_all_images_are_found_once_and_what_is_not_here_is_left_out() -> None:
    documents = Documents()
    one, two = documents.image("1", "linux/amd64"), documents.image("2", "linux/arm64")
    inner = documents.index(one, two)
    top = documents.index(inner, one, documents.image("a", "linux/amd64", **ATTACHED))
    del documents.data[two["digest"]]
    entry = Descriptor(top["mediaType"], top["digest"], top["size"])
    images, indexes = all_manifests(entry, lambda below: documents.data.get(below.digest))
    assert [found.descriptor.digest for found in images] == [one["digest"]]
    assert [index.descriptor.digest for index in indexes] == [top["digest"], inner["digest"]]
    assert images[0].descriptor.platform == Platform("linux", "amd64")
