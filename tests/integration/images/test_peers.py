"""Other tools read the store and the archives that `save` writes, and what they write loads here."""

import json
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.images import busybox_tar
from tests.integration.images.engine import open_images, verify
from tests.integration.peers import Docker, docker, need, run
from tiffin.images import Images

pytestmark = [pytest.mark.root, pytest.mark.peer]
__all__ = ["docker"]

NAME = "docker.io/library/box:1"


@pytest.fixture
def box(images: Images, tmp_path: Path) -> Path:
    """An archive of a busybox image, which is in `images` too."""
    with busybox_tar().open("rb") as file:
        images.import_(file, NAME)
    images.tag(NAME, "ghcr.io/someone/box:2")
    archive = tmp_path / "box.tar"
    with archive.open("wb") as out:
        images.save([NAME], out)
    return archive


Podman = Callable[..., str]


@pytest.fixture
def podman(tmp_path: Path) -> Iterator[Podman]:
    """Run podman on storage of the test's own."""
    run_directory = tempfile.mkdtemp(prefix="tiffin-podman-")  # it takes no path of more than 50 characters
    where = ["--root", f"{tmp_path}/podman", "--runroot", run_directory, "--storage-driver", "vfs"]
    yield lambda *words: run(need("podman"), *where, *map(str, words))
    run("rm", "-r", run_directory)


def same_image(tmp_path: Path, archive: Path, images: Images, name: str = NAME) -> None:
    """The archive loads into a fresh engine with the same ID and DiffIDs."""
    other = open_images(tmp_path / "other")
    try:
        with archive.open("rb") as file:
            assert name in other.load(file)
        assert other.resolve(name).id == images.resolve(NAME).id
        assert other.resolve(name).diff_ids == images.resolve(NAME).diff_ids
        verify(other)
    finally:
        other.store.close()


def test_skopeo_and_umoci_read_the_store_as_it_stands(images: Images, box: Path, tmp_path: Path) -> None:
    store = images.store.layout.oci
    for name in (NAME, "ghcr.io/someone/box:2"):
        found = json.loads(run(need("skopeo"), "inspect", f"oci:{store}:{name}"))
        assert found["Digest"] == images.resolve(NAME).manifest
        bundle = tmp_path / name.replace("/", "_")
        run(need("umoci"), "unpack", "--image", f"{store}:{name}", str(bundle))
        assert os.readlink(bundle / "rootfs/bin/sh") == "busybox"
    assert set(run(need("umoci"), "ls", "--layout", store).split()) == {NAME, "ghcr.io/someone/box:2"}


@pytest.mark.parametrize("kind", ["oci-archive", "docker-archive"])
def test_skopeo_reads_the_archive_as_either_kind(images: Images, box: Path, kind: str) -> None:
    config = json.loads(run(need("skopeo"), "inspect", "--config", f"{kind}:{box}"))
    assert config["rootfs"]["diff_ids"] == list(images.resolve(NAME).diff_ids)


@pytest.mark.parametrize("form", ["", "oci-archive", "docker-archive"])
def test_podman_loads_each_form_under_the_same_name_and_id(
    images: Images, box: Path, tmp_path: Path, podman: Podman, form: str
) -> None:
    with box.open("wb") as out:
        images.save([NAME], out, form)
    assert NAME in podman("load", "-i", box)
    assert podman("images", "-q", "--no-trunc").strip() == images.resolve(NAME).id
    podman("rmi", "-af")


@pytest.mark.parametrize("form", ["docker-archive", "oci-archive"])
def test_what_podman_saves_loads_here(
    images: Images, box: Path, tmp_path: Path, podman: Podman, form: str
) -> None:
    podman("load", "-i", box)
    podman("save", "--format", form, "-o", tmp_path / "saved.tar", NAME)
    podman("rmi", "-af")
    same_image(tmp_path, tmp_path / "saved.tar", images)


@pytest.mark.parametrize("form", ["", "docker-archive"])
def test_docker_loads_the_archive_and_what_it_saves_loads_here(
    images: Images, box: Path, tmp_path: Path, docker: Docker, form: str
) -> None:
    images.tag(NAME, "box:also")
    with box.open("wb") as out:
        images.save([NAME, "box:also"], out, form)
    loaded = docker("load", "-i", str(box))
    assert "Loaded image: box:1" in loaded
    assert "Loaded image: box:also" in loaded
    found = json.loads(docker("image", "inspect", "box:1"))[0]
    assert found["Id"] == images.resolve(NAME).id
    assert found["RootFS"]["Layers"] == list(images.resolve(NAME).diff_ids)
    docker("save", "-o", str(tmp_path / "saved.tar"), "box:1")
    same_image(tmp_path, tmp_path / "saved.tar", images)
    docker("rmi", "-f", "box:1", "box:also")


def test_an_image_that_docker_built_loads_here_with_its_layers(
    tmp_path: Path, docker: Docker, images: Images
) -> None:
    context = tmp_path / "context"
    context.mkdir()
    (context / "one").write_text("1")
    (context / "Dockerfile").write_text(
        "FROM scratch\nCOPY one /a/\nENV x=y\nCOPY one /b/\nCOPY one /a/two\n"
    )
    docker("build", "-q", "-t", "built:1", str(context))
    docker("save", "-o", str(tmp_path / "built.tar"), "built:1")
    with (tmp_path / "built.tar").open("rb") as file:
        assert images.load(file) == ["docker.io/library/built:1"]
    theirs = json.loads(docker("image", "inspect", "built:1"))[0]
    ours = images.inspect("built:1")
    for key in ("Id", "RepoTags", "RootFS", "Size", "Created", "Architecture", "Os"):
        assert ours[key] == theirs[key]
    said = [
        line.split(" ", 1)
        for line in docker(
            "history", "--format", "{{.ID}} {{.CreatedBy}}", "--no-trunc", "built:1"
        ).splitlines()
    ]
    assert [row["CreatedBy"] for row in images.history("built:1")] == [text for _, text in said]
    verify(images)
    docker("rmi", "-f", "built:1")


def test_skopeo_copies_the_store_to_an_archive_that_loads_here(
    images: Images, box: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "copy.tar"
    run(need("skopeo"), "copy", "-q", f"oci:{images.store.layout.oci}:{NAME}", f"oci-archive:{copy}:box:3")
    same_image(tmp_path, copy, images, "docker.io/library/box:3")
