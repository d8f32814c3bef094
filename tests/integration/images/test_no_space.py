"""A disk that fills up while an image is loaded: one typed error, and the space is free again."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.images.archives import docker_archive, tar
from tests.integration.images.engine import load, open_images, stored, verify
from tiffin.errors import NoSpace
from tiffin.images import Images

pytestmark = pytest.mark.root


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Images]:
    """An engine whose root is a filesystem of 8 MiB."""
    (tmp_path / "root").mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", tmp_path / "root"], check=True)
    try:
        images = open_images(tmp_path)
        yield images
        images.store.close()
    finally:
        subprocess.run(["umount", tmp_path / "root"], check=True)


@pytest.mark.parametrize("noise", [True, False])
@pytest.mark.parametrize("seekable", [True, False])
def test_a_full_disk_is_said_and_nothing_stays(
    small: Images, tmp_path: Path, noise: bool, seekable: bool
) -> None:
    """Incompressible data fills it with the blob, zeros with the unpacked tree, a pipe with its copy."""
    load(small, docker_archive("kept:1", [tar({"a": b"a"})]))
    data = os.urandom(12 << 20) if noise else bytes(12 << 20)
    for _ in range(2):
        with pytest.raises(NoSpace, match=r"(?i)no space left"):
            _load(small, docker_archive("x:1", [tar({"big": data})]), tmp_path if seekable else None)
        assert stored(small) == (3, 1, 0)
    assert [row.names for row in small.list()] == [("docker.io/library/kept:1",)]
    verify(small)


def _load(images: Images, archive: bytes, directory: Path | None) -> None:
    if directory is None:
        load(images, archive)
        return
    (directory / "x.tar").write_bytes(archive)
    with (directory / "x.tar").open("rb") as file:
        images.load(file)
