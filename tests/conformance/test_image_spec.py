"""What tiffin writes is valid by the schemas of the image specification."""

import io
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT4

from tests.integration.images.archives import docker_archive, tar
from tests.integration.images.conftest import images
from tests.integration.images.engine import load
from tiffin.images import Images
from tiffin.images.archive import Archive
from tiffin.images.manifest_lists import Annotation, ListEntry, ManifestLists
from tiffin.oci.descriptor import MANIFEST, Descriptor
from tiffin.oci.platform import Platform
from tiffin.state import locate

pytestmark = pytest.mark.root
__all__ = ["images"]

SCHEMAS = Path(__file__).parent / "image-spec"


def _retrieve(uri: str) -> Resource[Any]:
    """Their references name files, whatever the identifier in force says that they are relative to."""
    return Resource.from_contents(json.loads((SCHEMAS / uri.rpartition("/")[2]).read_text()), DRAFT4)


def valid(document: Any, schema: str) -> None:
    contents = json.loads((SCHEMAS / schema).read_text())
    registry: Registry[Any] = Registry(retrieve=_retrieve)  # type: ignore[call-arg] # attrs, unseen by mypy
    jsonschema.Draft4Validator(contents, registry=registry).validate(document)


def test_the_schemas_refuse_what_is_invalid() -> None:
    with pytest.raises(jsonschema.ValidationError):
        valid(
            {"schemaVersion": 2, "config": {"mediaType": "x", "digest": "?", "size": 1}},
            "image-manifest-schema.json",
        )


def test_the_store_is_a_valid_layout_of_valid_images(images: Images) -> None:
    load(images, docker_archive("x:1", [tar({"a": b"a"}), tar({"b": b"b"})]))
    load(images, docker_archive("x:1", [tar({"a": b"a"})]))  # the first is dangling now
    images.import_(io.BytesIO(tar({"c": b"c"})), "r.io/y:2")
    oci = Path(images.store.layout.oci)
    valid(json.loads((oci / "oci-layout").read_bytes()), "image-layout-schema.json")
    index = json.loads((oci / "index.json").read_bytes())
    valid(index, "image-index-schema.json")
    assert len(index["manifests"]) == 3
    for entry in index["manifests"]:
        manifest = json.loads(images.content.read_bytes(entry["digest"], entry["size"]))
        valid(manifest, "image-manifest-schema.json")
        config = manifest["config"]
        valid(json.loads(images.content.read_bytes(config["digest"], config["size"])), "config-schema.json")


def test_an_empty_store_is_a_valid_layout(images: Images) -> None:
    valid(json.loads(Path(images.store.layout.oci, "index.json").read_bytes()), "image-index-schema.json")


def test_an_archive_is_a_valid_layout(images: Images) -> None:
    load(images, docker_archive("x:1", [tar({"a": b"a"})]))
    packed = io.BytesIO()
    images.save(["x:1"], packed)
    packed.seek(0)
    with Archive(packed, images.store.layout) as archive:
        valid(archive.read_json("oci-layout"), "image-layout-schema.json")
        valid(archive.read_json("index.json"), "image-index-schema.json")


def test_a_manifest_list_is_a_valid_index(tmp_path: Path) -> None:
    lists = ManifestLists(locate(str(tmp_path / "root"), str(tmp_path / "run")))
    platform = Platform("windows", "arm64", "v8")
    descriptor = Descriptor(MANIFEST, f"sha256:{'1' * 64}", 405, {"a": "b"}, platform)
    lists.create("x", [ListEntry("docker.io/library/y:1", "r.io/y", descriptor)], amend=False)
    made = lists.annotate("x", "y:1", Annotation(os_version="10.0", os_features=("win32k",)))
    document = json.loads(made.encode()[0])
    valid(document, "image-index-schema.json")
    assert document["manifests"][0]["platform"]["os.features"] == ["win32k"]
