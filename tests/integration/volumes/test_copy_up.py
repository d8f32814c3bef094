"""Filling a volume from a tree, with everything that only root can make in it."""

from __future__ import annotations

import os
import stat
import struct
from typing import TYPE_CHECKING

import pytest

from tiffin.errors import LimitExceeded, NoSpace
from tiffin.kernel.mounts import make_filesystem, move_mount, umount
from tiffin.state import Store, locate, open_store
from tiffin.volumes import Volumes

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.root

# struct vfs_ns_cap_data, revision 2: CAP_NET_RAW permitted and effective
CAPABILITY = struct.pack("<IIIII", 0x02000001, 1 << 13, 0, 0, 0)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = open_store(locate(str(tmp_path / "root"), str(tmp_path / "run")))
    yield opened
    opened.close()


@pytest.fixture
def image(tmp_path: Path) -> Path:
    made = tmp_path / "image"
    (made / "data").mkdir(parents=True)
    return made


def copy_up(store: Store, image: Path, path: str, name: str = "data") -> bool:
    root = os.open(image, os.O_RDONLY | os.O_DIRECTORY)
    try:
        volumes = Volumes(store)
        volumes.create(name)
        return volumes.copy_up(name, root, path)
    finally:
        os.close(root)


def filled(store: Store, name: str = "data") -> str:
    return Volumes(store).inspect(name).mountpoint


def test_everything_about_a_tree_is_kept(store: Store, image: Path) -> None:
    data = image / "data"
    (data / "deep" / "er").mkdir(parents=True)
    (data / "deep" / "er" / "file").write_bytes(b"x" * 100_000)
    os.link(data / "deep" / "er" / "file", data / "again")
    (data / "link").symlink_to("/etc/passwd")
    (data / "ping").write_bytes(b"#!")
    os.chown(data / "ping", 12, 34)
    os.chmod(data / "ping", 0o4755)
    os.setxattr(data / "ping", "security.capability", CAPABILITY)
    os.setxattr(data / "ping", "user.note", b"kept")
    os.mkfifo(data / "pipe", 0o620)
    os.mknod(data / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    os.chmod(data / "null", 0o666)
    os.lchown(data / "link", 7, 8)
    os.utime(data / "ping", ns=(1_000_000_001, 2_000_000_003))
    os.chown(data, 33, 44)
    os.chmod(data, 0o2770)
    with open(data / "sparse", "wb") as file:
        file.seek(1 << 26)
        file.write(b"end")
    os.utime(data, ns=(5, 1_234_567_891))
    assert copy_up(store, image, "/data") is True
    there = filled(store)
    top = os.stat(there)
    assert (top.st_uid, top.st_gid, stat.S_IMODE(top.st_mode), top.st_mtime_ns) == (
        33,
        44,
        0o2770,
        1_234_567_891,
    )
    ping = os.stat(f"{there}/ping")
    assert (ping.st_uid, ping.st_gid, stat.S_IMODE(ping.st_mode), ping.st_mtime_ns) == (
        12,
        34,
        0o4755,
        2_000_000_003,
    )
    assert os.getxattr(f"{there}/ping", "security.capability") == CAPABILITY
    assert os.getxattr(f"{there}/ping", "user.note") == b"kept"
    assert os.stat(f"{there}/again").st_ino == os.stat(f"{there}/deep/er/file").st_ino
    assert os.stat(f"{there}/again").st_size == 100_000
    assert os.readlink(f"{there}/link") == "/etc/passwd" and os.lstat(f"{there}/link").st_uid == 7
    assert stat.S_ISFIFO(os.stat(f"{there}/pipe").st_mode)
    assert os.stat(f"{there}/null").st_rdev == os.makedev(1, 3)
    assert stat.S_IMODE(os.stat(f"{there}/null").st_mode) == 0o666
    sparse = os.stat(f"{there}/sparse")
    assert sparse.st_size == (1 << 26) + 3 and sparse.st_blocks < 1000
    assert sorted(os.listdir(os.path.dirname(there))) == ["_data", "lock"]


def test_a_volume_with_anything_in_it_is_left_alone(store: Store, image: Path) -> None:
    (image / "data" / "file").write_text("image")
    assert copy_up(store, image, "/data")
    (image / "data" / "more").write_text("later")
    os.chmod(image / "data", 0o700)
    assert copy_up(store, image, "/data") is False
    assert os.listdir(filled(store)) == ["file"]
    assert os.stat(filled(store)).st_mode & 0o777 == 0o755


def test_an_empty_directory_gives_its_owner_and_mode(store: Store, image: Path) -> None:
    os.chown(image / "data", 5, 6)
    os.chmod(image / "data", 0o1777)
    assert copy_up(store, image, "/data")
    status = os.stat(filled(store))
    assert (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == (5, 6, 0o1777)


def test_without_a_directory_there_nothing_is_copied(store: Store, image: Path) -> None:
    (image / "file").write_text("x")
    assert copy_up(store, image, "/missing") is False
    assert copy_up(store, image, "/file") is False
    assert os.listdir(filled(store)) == []


def test_an_interrupted_copy_is_begun_anew(store: Store, image: Path) -> None:
    (image / "data" / "file").write_text("whole")
    aside = f"{os.path.dirname(Volumes(store).create('data').mountpoint)}/.tiffin-copy"
    os.makedirs(f"{aside}/left/over")
    assert copy_up(store, image, "/data")
    assert os.listdir(filled(store)) == ["file"]
    assert not os.path.exists(aside)


def test_a_tree_without_end_is_refused_and_leaves_the_volume_empty(store: Store, image: Path) -> None:
    fd = os.open(image / "data", os.O_RDONLY)
    for _ in range(300):
        os.mkdir("d", dir_fd=fd)
        deeper = os.open("d", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = deeper
    os.close(fd)
    with pytest.raises(LimitExceeded, match="deeper than 256"):
        copy_up(store, image, "/data")
    assert os.listdir(filled(store)) == []
    assert sorted(os.listdir(os.path.dirname(filled(store)))) == ["_data", "lock"]


def test_a_full_disk_leaves_the_volume_empty(tmp_path: Path, image: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    fd = make_filesystem("tmpfs", [("size", "4m")], 0, "tiffin-test")
    move_mount(fd, -100, "", str(small))
    os.close(fd)
    try:
        store = open_store(locate(str(small / "root"), str(tmp_path / "run")))
        with open(image / "data" / "big", "wb") as file:
            file.write(os.urandom(6 << 20))
        with pytest.raises(NoSpace, match="no space left to fill volume data from /data"):
            copy_up(store, image, "/data")
        assert os.listdir(filled(store)) == []
        store.close()
    finally:
        umount(str(small))
