"""`--mount type=image` of an image that is not here: it is fetched, as the container's own is."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.command import Tiffin
from tests.integration.crash.ground import Server, make_archive

pytestmark = pytest.mark.root


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A registry with `x:1`."""
    found = Server(tmp_path / "server")
    archive = make_archive(tmp_path / "x.tar", "docker.io/library/x:1", 1, layers=2, files=5)
    found.tiffin.ok("load", "-i", archive)
    yield found
    found.close()


def test_a_missing_image_is_fetched_to_be_mounted(tiffin: Tiffin, server: Server) -> None:
    name = f"{server.address}/x:1"
    option = f"type=image,source={name},target=/o,image-subpath=1"
    words = ("--mount", option, "busybox", "ls", "/o")
    refused = tiffin("run", "--rm", "--pull", "never", *words)
    assert refused.returncode == 125 and f"No such image: {name}" in refused.stderr
    done = tiffin("run", "--rm", *words)
    assert done.stdout.split() == ["0", "1", "2", "3", "4"], done.stderr
    assert f"Unable to find image '{name}' locally" in done.stderr
    again = tiffin("run", "--rm", *words)
    assert again.returncode == 0 and again.stderr == "", "it is here now"


def test_an_image_that_no_registry_has_is_said_to_be_so(tiffin: Tiffin, server: Server) -> None:
    option = f"type=image,source={server.address}/nope:1,target=/o"
    done = tiffin("create", "--mount", option, "busybox", "true")
    assert done.returncode == 125 and "nope:1 not found: manifest unknown" in done.stderr
    assert tiffin.ok("ps", "-aq") == ""
