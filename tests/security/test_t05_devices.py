"""T5: device numbers out of range are refused; those in range are made as they are said.

That a device of a layer cannot be opened in a container is the mount's (nodev) and the cgroup's work.
"""

import os
import stat

import pytest

from tests.suites.archives import apply_to, archive, described, entry, patched, raw_member
from tiffin.errors import Corrupt
from tiffin.layer.tarstream import Kind

pytestmark = pytest.mark.root


@pytest.mark.parametrize("field", [329, 337])
@pytest.mark.parametrize("number", [2**32, 2**20, 2**62, -1])
def test_numbers_out_of_range_are_refused(tmp_path, field, number):
    raw = number.to_bytes(8, "big", signed=number < 0)
    base_256 = bytes([raw[0] | 0x80]) + raw[1:]
    for flag in (b"3", b"4"):
        header = patched(raw_member(b"dev", flag), field, base_256)
        with pytest.raises(Corrupt, match="no device"):
            apply_to(tmp_path / "dest", header)
    assert described(tmp_path / "dest") == {}


def test_devices_and_fifos_keep_their_numbers_modes_and_owners(tmp_path):
    members = [
        entry("null", Kind.CHAR, mode=0o666, uid=3, gid=4, major=1, minor=3),
        entry("disk", Kind.BLOCK, mode=0o660, major=4095, minor=2**20 - 1),
        entry("pipe", Kind.FIFO, mode=0o4711, uid=9, mtime_ns=5),
    ]
    apply_to(tmp_path / "dest", archive(*members))
    null, disk, pipe = ((tmp_path / "dest" / name).lstat() for name in ("null", "disk", "pipe"))
    assert (os.major(null.st_rdev), os.minor(null.st_rdev), null.st_uid, null.st_gid) == (1, 3, 3, 4)
    assert stat.S_IMODE(null.st_mode) == 0o666
    assert (os.major(disk.st_rdev), os.minor(disk.st_rdev)) == (4095, 2**20 - 1)
    assert (stat.S_IMODE(pipe.st_mode), pipe.st_uid, pipe.st_mtime_ns) == (0o4711, 9, 5)
