"""T41: filling a volume never overwrites what is in it, and follows no link out of the image or the volume."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

import pytest

from tiffin.errors import TiffinError
from tiffin.kernel import paths
from tiffin.state import Store, locate, open_store
from tiffin.volumes import Volumes

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.root


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = open_store(locate(str(tmp_path / "root"), str(tmp_path / "run")))
    yield opened
    opened.close()


@pytest.fixture
def canary(tmp_path: Path) -> Path:
    """A host directory that nothing may read from or write to."""
    made = tmp_path / "canary"
    made.mkdir()
    (made / "secret").write_text("secret")
    return made


def _fill(store: Store, image: Path, path: str) -> bool:
    Volumes(store).create("data")
    root = os.open(image, os.O_RDONLY | os.O_DIRECTORY)
    try:
        return Volumes(store).copy_up("data", root, path)
    finally:
        os.close(root)


def _untouched(canary: Path) -> bool:
    return os.listdir(canary) == ["secret"] and (canary / "secret").read_text() == "secret"


@pytest.mark.parametrize("up", ["", "../../../../../../.."])
def test_a_link_at_the_path_resolves_inside_the_image(
    store: Store, canary: Path, tmp_path: Path, up: str
) -> None:
    image = tmp_path / "image"
    image.mkdir()
    (image / "data").symlink_to(f"{up}{canary}")
    assert _fill(store, image, "/data") is False
    assert os.listdir(Volumes(store).inspect("data").mountpoint) == []
    inside = image / str(canary).lstrip("/")
    inside.mkdir(parents=True)
    (inside / "own").write_text("the image's")
    assert _fill(store, image, "/data") is True
    assert os.listdir(Volumes(store).inspect("data").mountpoint) == ["own"]
    assert _untouched(canary)


def test_links_below_the_path_are_copied_and_not_followed(store: Store, canary: Path, tmp_path: Path) -> None:
    image = tmp_path / "image"
    (image / "data").mkdir(parents=True)
    (image / "data" / "directory").symlink_to(canary)
    (image / "data" / "file").symlink_to(canary / "secret")
    (image / "data" / "magic").symlink_to("/proc/self/root")
    before = os.stat(canary / "secret")
    assert _fill(store, image, "/data")
    there = Volumes(store).inspect("data").mountpoint
    assert all(os.path.islink(f"{there}/{name}") for name in ("directory", "file", "magic"))
    assert _untouched(canary)
    after = os.stat(canary / "secret")
    assert (before.st_uid, before.st_mode, before.st_mtime_ns) == (
        after.st_uid,
        after.st_mode,
        after.st_mtime_ns,
    )


def test_a_link_planted_in_the_volume_is_neither_followed_nor_replaced(
    store: Store, canary: Path, tmp_path: Path
) -> None:
    image = tmp_path / "image"
    (image / "data" / "x").mkdir(parents=True)
    (image / "data" / "x" / "secret").write_text("overwritten")
    there = Volumes(store).create("data").mountpoint
    os.symlink(canary, f"{there}/x")
    assert _fill(store, image, "/data") is False
    assert os.readlink(f"{there}/x") == str(canary)
    assert _untouched(canary)


def test_an_entry_swapped_for_a_link_meanwhile_leads_nowhere(
    store: Store, canary: Path, tmp_path: Path
) -> None:
    image = tmp_path / "image"
    (image / "data" / "x").mkdir(parents=True)
    (image / "data" / "x" / "own").write_text("own")
    (image / "other").symlink_to(canary)
    root = os.open(image, os.O_RDONLY | os.O_DIRECTORY)
    stop = threading.Event()

    def swap() -> None:
        while not stop.is_set():
            paths.rename_exchange(root, "data/x", root, "other")

    swapper = threading.Thread(target=swap)
    swapper.start()
    try:
        for _ in range(200):
            volumes = Volumes(store)
            volumes.create("data")
            try:
                volumes.copy_up("data", root, "/data")
            except TiffinError:
                pass  # caught in the act: refused, and nothing was moved in
            there = volumes.inspect("data").mountpoint
            for directory, _, files in os.walk(there):
                assert "secret" not in files, directory
            volumes.remove("data")
    finally:
        stop.set()
        swapper.join()
        os.close(root)
    assert _untouched(canary)


def test_a_subpath_that_is_swapped_for_a_link_leads_nowhere(store: Store, canary: Path) -> None:
    """What is mounted is a directory of the volume, or nothing is, however often one inside swaps it."""
    from tiffin.snapshot.overlay import Snapshots
    from tiffin.supervisor import volumes

    there = Volumes(store).create("data").mountpoint
    os.makedirs(f"{there}/part/sub")
    stop, swaps = threading.Event(), 0

    def swap() -> None:
        nonlocal swaps
        while not stop.is_set():
            os.rename(f"{there}/part", f"{there}/aside")
            os.symlink(canary, f"{there}/part")
            os.unlink(f"{there}/part")
            os.rename(f"{there}/aside", f"{there}/part")
            swaps += 1

    document = {"type": "volume", "source": there, "name": "data", "destination": "/x", "options": ["rbind"]}
    swapper = threading.Thread(target=swap)
    swapper.start()
    try:
        for _ in range(300):
            try:
                mount = volumes._mount(Snapshots(store), {**document, "subpath": "part"})
            except TiffinError:
                continue
            try:
                assert os.listdir(f"/proc/self/fd/{mount.fd}") == ["sub"]
            finally:
                os.close(mount.fd)
    finally:
        stop.set()
        swapper.join()
    assert swaps and _untouched(canary)


@pytest.mark.parametrize("link", ["absolute", "relative", "magic"])
def test_a_subpath_through_a_link_out_of_the_volume_is_refused(store: Store, canary: Path, link: str) -> None:
    from tiffin.snapshot.overlay import Snapshots
    from tiffin.supervisor import volumes

    there = Volumes(store).create("data").mountpoint
    target = {"absolute": str(canary), "relative": "../" * 20 + str(canary)[1:], "magic": "/proc/self/root"}[
        link
    ]
    os.symlink(target, f"{there}/part")
    document = {"type": "volume", "source": there, "name": "data", "destination": "/x", "options": ["rbind"]}
    for path in ("part", "part/secret"):
        with pytest.raises(TiffinError, match="cannot access path part"):
            volumes._mount(Snapshots(store), {**document, "subpath": path})
    assert _untouched(canary)


def test_a_volume_that_is_mounted_to_read_is_filled_once_and_never_written(
    store: Store, canary: Path, tmp_path: Path
) -> None:
    """Its place is read-only for the container alone: what the image has is in it, what is in it stays."""
    image = tmp_path / "image"
    (image / "data").mkdir(parents=True)
    (image / "data" / "file").write_text("image")
    there = Volumes(store).create("kept").mountpoint
    os.symlink(canary, f"{there}/file")
    root = os.open(image, os.O_RDONLY | os.O_DIRECTORY)
    try:
        assert Volumes(store).copy_up("kept", root, "/data") is False
        place = os.open(there, os.O_PATH | os.O_DIRECTORY)
        try:  # as a plugin's volume is filled, by descriptor
            assert Volumes(store).copy_up("kept", root, "/data", place) is False
        finally:
            os.close(place)
    finally:
        os.close(root)
    assert os.listdir(there) == ["file"] and os.path.islink(f"{there}/file")
    assert _untouched(canary)
