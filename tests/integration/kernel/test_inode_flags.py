"""chattr +T by ioctl."""

import fcntl
import os
import struct
from pathlib import Path

import pytest

from tiffin.kernel.inode_flags import spread_subdirectories

pytestmark = pytest.mark.root

TOPDIR = 0x00020000


def flags_of(fd: int) -> int:
    try:
        (flags,) = struct.unpack("=l", fcntl.ioctl(fd, 0x80086601, bytes(4)))
    except OSError:
        pytest.skip("this filesystem has no inode flags")
    return int(flags)


def test_a_directory_is_marked_once_and_keeps_its_other_flags(tmp_path: Path) -> None:
    fd = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        before = flags_of(fd)
        spread_subdirectories(fd)
        if flags_of(fd) == before:
            pytest.skip("this filesystem does not place directories by that flag")
        assert flags_of(fd) == before | TOPDIR
        spread_subdirectories(fd)
        assert flags_of(fd) == before | TOPDIR
    finally:
        os.close(fd)


def test_a_filesystem_without_flags_is_left_alone() -> None:
    fd = os.open("/proc/self", os.O_RDONLY | os.O_DIRECTORY)
    try:
        spread_subdirectories(fd)
    finally:
        os.close(fd)
