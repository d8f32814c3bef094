"""Manifest lists: made, annotated, pushed, and read by skopeo and docker; images looked at where they are."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.command import BUSYBOX, Tiffin
from tests.integration.images.archives import Oci, tar
from tests.integration.peers import need, run
from tests.registries import RunningRegistry, docker_registry, make_tls
from tiffin.oci.descriptor import DOCKER_LIST, INDEX

pytestmark = [pytest.mark.root, pytest.mark.registry]


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRegistry]:
    with docker_registry(tmp_path_factory.mktemp("plain")) as registry:
        yield registry


def push(tiffin: Tiffin, tmp_path: Path, name: str, architecture: str, **more: str) -> str:
    """Load an image for this architecture and push it; its manifest's digest."""
    oci = Oci()
    oci.image(name, [tar({architecture: os.urandom(5000)})], architecture=architecture, **more)
    (tmp_path / "image.tar").write_bytes(oci.tar())
    tiffin.ok("load", "-i", tmp_path / "image.tar")
    return tiffin.ok("push", name).rpartition("digest: ")[2].split()[0]


def raw(name: str) -> dict[str, object]:
    found: dict[str, object] = json.loads(
        run(need("skopeo"), "inspect", "--raw", "--tls-verify=false", f"docker://{name}")
    )
    return found


def test_a_list_of_two_images_is_read_by_others(
    shared: Tiffin, plain: RunningRegistry, tmp_path: Path
) -> None:
    base = f"{plain.host}/lists/app"
    amd = push(shared, tmp_path, f"{base}:1-amd64", "amd64")
    arm = push(shared, tmp_path, f"{base}:1-arm64", "arm64", variant="v8")
    told = shared.ok("manifest", "create", f"{base}:1", f"{base}:1-amd64", f"{base}:1-arm64")
    assert told == f"Created manifest list {base}:1"
    here = json.loads(shared.ok("manifest", "inspect", f"{base}:1"))
    digest = shared.ok("manifest", "push", "--purge", f"{base}:1")
    assert raw(f"{base}:1") == here == json.loads(shared.ok("manifest", "inspect", f"{base}:1"))
    assert here["mediaType"] == INDEX
    assert [entry["digest"] for entry in here["manifests"]] == [amd, arm]
    assert here["manifests"][1]["platform"] == {"architecture": "arm64", "os": "linux", "variant": "v8"}
    client = [need("docker"), "manifest", "inspect", "--insecure", f"{base}@{digest}"]
    environment = os.environ | {"DOCKER_CONFIG": str(tmp_path / "docker")}
    seen = json.loads(run(*client, env=environment))
    assert [entry["digest"] for entry in seen["manifests"]] == [amd, arm]
    chosen = run(
        need("skopeo"), "--override-arch", "arm64", "inspect", "--tls-verify=false", f"docker://{base}:1"
    )
    assert json.loads(chosen)["Architecture"] == "arm64"
    assert "No such manifest" in shared.fails("manifest", "push", f"{base}:1")  # --purge forgot it


def test_images_of_other_repositories_and_registries_come_along(
    shared: Tiffin, plain: RunningRegistry, tmp_path: Path
) -> None:
    with docker_registry(tmp_path) as other:
        near, far = f"{plain.host}/near/app:1", f"{other.host}/far/app:1"
        target = f"{plain.host}/together/app:1"
        digests = [push(shared, tmp_path, near, "amd64"), push(shared, tmp_path, far, "arm64")]
        shared.ok("manifest", "create", target, near, far, BUSYBOX)  # the last is nowhere but here
        told = shared("manifest", "push", target)
        assert told.returncode == 0, told.stderr
        assert "Mounted from near/app" in told.stderr
        listed = raw(target)["manifests"]
        assert isinstance(listed, list)
        assert [entry["digest"] for entry in listed][:2] == digests
        shared.ok("manifest", "rm", target)
    for architecture in ("amd64", "arm64"):
        run(need("skopeo"), "--override-arch", architecture, "copy", "--src-tls-verify=false",
            f"docker://{target}", f"oci:{tmp_path}/{architecture}")  # fmt: skip


def test_annotations_say_what_a_config_does_not(
    shared: Tiffin, plain: RunningRegistry, tmp_path: Path
) -> None:
    base = f"{plain.host}/annotated/app"
    push(shared, tmp_path, f"{base}:arm", "arm")
    shared.ok("manifest", "create", f"{base}:1", f"{base}:arm")
    shared.ok("manifest", "annotate", f"{base}:1", f"{base}:arm", "--variant", "v6", "--os-version", "10.0.1",
              "--os-features", "win32k,other")  # fmt: skip
    shared.ok("manifest", "push", f"{base}:1")
    listed = raw(f"{base}:1")["manifests"]
    assert isinstance(listed, list)
    assert listed[0]["platform"] == {
        "architecture": "arm",
        "os": "linux",
        "variant": "v6",
        "os.version": "10.0.1",
        "os.features": ["win32k", "other"],
    }
    assert "does not exist in" in shared.fails("manifest", "annotate", f"{base}:1", "absent", "--os", "linux")
    text = shared.fails("manifest", "annotate", f"{base}:1", f"{base}:arm", "--arch", "a b\n")
    assert "invalid value" in text


def test_a_list_is_amended_only_on_request_and_images_of_docker_make_dockers_list(
    shared: Tiffin, plain: RunningRegistry, tmp_path: Path
) -> None:
    base = f"{plain.host}/docker/app"
    push(shared, tmp_path, f"{base}:oci", "amd64")
    run(need("skopeo"), "copy", "-f", "v2s2", "--src-tls-verify=false", "--dest-tls-verify=false",
        f"docker://{base}:oci", f"docker://{base}:v2s2")  # fmt: skip
    shared.ok("manifest", "create", f"{base}:1", f"{base}:v2s2")
    assert json.loads(shared.ok("manifest", "inspect", f"{base}:1"))["mediaType"] == DOCKER_LIST
    assert "--amend" in shared.fails("manifest", "create", f"{base}:1", f"{base}:oci")
    shared.ok("manifest", "create", "-a", f"{base}:1", f"{base}:oci")
    mixed = json.loads(shared.ok("manifest", "inspect", f"{base}:1"))
    assert (mixed["mediaType"], len(mixed["manifests"])) == (INDEX, 2)
    shared.ok("manifest", "push", f"{base}:1")
    shared.ok("manifest", "create", f"{base}:2", f"{base}:1")  # of all that a list lists
    assert len(json.loads(shared.ok("manifest", "inspect", f"{base}:2"))["manifests"]) == 2
    shared.ok("manifest", "rm", f"{base}:1", f"{base}:2")
    assert "No such manifest" in shared.fails("manifest", "rm", f"{base}:1")


def test_verbose_shows_each_manifest_whole(shared: Tiffin, plain: RunningRegistry, tmp_path: Path) -> None:
    base = f"{plain.host}/verbose/app"
    digest = push(shared, tmp_path, f"{base}:amd64", "amd64")
    one = json.loads(shared.ok("manifest", "inspect", "-v", f"{base}:amd64"))
    assert (one["Ref"], one["Descriptor"]["digest"]) == (f"{base}:amd64", digest)
    assert one["OCIManifest"] == raw(f"{base}:amd64")
    shared.ok("manifest", "create", f"{base}:1", f"{base}:amd64")
    (listed,) = json.loads(shared.ok("manifest", "inspect", "-v", f"{base}:1"))
    assert listed["Descriptor"]["platform"]["architecture"] == "amd64"
    shared.ok("manifest", "push", "-p", f"{base}:1")
    (there,) = json.loads(shared.ok("manifest", "inspect", "-v", f"{base}:1"))
    assert there["OCIManifest"] == one["OCIManifest"]
    missing = shared.fails("manifest", "inspect", f"{base}:nope")
    assert missing == f"tiffin: no such manifest: {base}:nope"


def test_insecure_is_asked_for(shared: Tiffin, tmp_path: Path) -> None:
    with docker_registry(tmp_path, tls=make_tls(tmp_path)) as registry:
        name = f"{registry.host.replace('127.0.0.1', 'localhost')}/x"
        assert "no such manifest" in shared.fails("manifest", "inspect", "--insecure", name)


def test_a_remote_image_is_inspected_without_being_pulled(
    shared: Tiffin, plain: RunningRegistry, tmp_path: Path
) -> None:
    base = f"{plain.host}/inspected/app"
    digest = push(shared, tmp_path, f"{base}:amd64", "amd64", created="2024-01-02T03:04:05Z")
    arm = push(shared, tmp_path, f"{base}:arm64", "arm64")
    shared.ok("manifest", "create", f"{base}:1", f"{base}:amd64", f"{base}:arm64")
    index = shared.ok("manifest", "push", "-p", f"{base}:1")
    local = json.loads(shared.ok("image", "inspect", f"{base}:amd64"))[0]
    shared.ok("rmi", "-f", f"{base}:amd64", f"{base}:arm64")
    before = sorted(path.name for path in (shared.root / "oci/blobs/sha256").iterdir())
    (found,) = json.loads(shared.ok("image", "inspect", "--remote", "--platform", "amd64", f"{base}:1"))
    for key in ("Id", "Created", "Config", "Architecture", "Os", "RootFS"):
        assert found[key] == local[key]
    assert found["RepoDigests"] == [f"{base}@{index}"]
    assert found["Descriptor"]["digest"] == digest
    (found,) = json.loads(shared.ok("image", "inspect", "--remote", "--platform", "linux/arm64", f"{base}:1"))
    assert found["Descriptor"]["digest"] == arm
    refused = shared("image", "inspect", "--remote", "--platform", "s390x", f"{base}:1")
    assert "no matching manifest for linux/s390x" in refused.stderr
    assert before == sorted(path.name for path in (shared.root / "oci/blobs/sha256").iterdir())
