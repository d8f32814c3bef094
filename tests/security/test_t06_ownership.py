"""T6: setuid bits and file capabilities survive unpacking, since owner, mode and attributes are set in this
order.

That host users cannot reach the store is the state room's (0700).
"""

import os
import stat

import pytest

from tests.suites.archives import apply_to, archive, entry, extract_to
from tiffin.layer.tarstream import Kind

pytestmark = pytest.mark.root
CAP_NET_RAW = bytes.fromhex("0100000200200000000000000000000000000000")


@pytest.mark.parametrize("uid", [0, 1000, 2**31, 2**32 - 2])
def test_setuid_and_capabilities_survive_any_owner(tmp_path, uid):
    member = entry("ping", mode=0o6755, uid=uid, gid=uid, xattrs={"security.capability": CAP_NET_RAW})
    apply_to(tmp_path / "dest", archive((member, b"elf")))
    status = (tmp_path / "dest" / "ping").stat()
    assert (stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid) == (0o6755, uid, uid)
    assert os.getxattr(tmp_path / "dest" / "ping", "security.capability") == CAP_NET_RAW


def test_directories_keep_sticky_and_setgid_bits_and_do_not_pass_their_group_on(tmp_path):
    apply_to(tmp_path / "dest", archive(entry("d", Kind.DIRECTORY, mode=0o3777, gid=7), "d/file", "d/sub/"))
    assert stat.S_IMODE((tmp_path / "dest" / "d").stat().st_mode) == 0o3777
    for name in ("file", "sub"):
        status = (tmp_path / "dest" / "d" / name).stat()
        assert (status.st_uid, status.st_gid) == (0, 0)
    assert stat.S_IMODE((tmp_path / "dest" / "d" / "sub").stat().st_mode) == 0o755


def test_implied_parents_are_roots_and_0755_whatever_the_umask(tmp_path):
    before = os.umask(0o077)
    try:
        apply_to(tmp_path / "dest", archive(entry("a/b/file", uid=5, mode=0o666)))
    finally:
        os.umask(before)
    for name in ("a", "a/b"):
        status = (tmp_path / "dest" / name).stat()
        assert (stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid) == (0o755, 0, 0)
    assert stat.S_IMODE((tmp_path / "dest" / "a/b/file").stat().st_mode) == 0o666


def test_an_archive_may_be_given_one_owner(tmp_path):
    extract_to(tmp_path / "dest", archive(entry("a", uid=3, mode=0o4755)), owner=(8, 9))
    status = (tmp_path / "dest" / "a").stat()
    assert (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == (8, 9, 0o4755)
