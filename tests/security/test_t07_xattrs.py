"""T7: a layer's attributes cannot steer overlayfs, nor the host's security modules."""

import os

import pytest

from tests.suites.archives import apply_to, archive, entry, extract_to
from tiffin.layer.tarstream import Kind

pytestmark = pytest.mark.root

FORBIDDEN = {
    "trusted.overlay.opaque": b"y",
    "trusted.overlay.redirect": b"/etc",
    "trusted.overlay.metacopy": b"",
    "trusted.overlay.origin": b"x",
    "user.overlay.opaque": b"y",
    "user.overlay.whiteout": b"y",
    "trusted.other": b"x",
    "security.selinux": b"unconfined_u:object_r:bin_t:s0",
    "security.ima": b"x",
    "system.posix_acl_access": b"\2\0\0\0",
}


@pytest.mark.parametrize("unpack", [apply_to, extract_to])
def test_only_user_attributes_and_capabilities_are_set(tmp_path, unpack):
    xattrs = FORBIDDEN | {"user.kept": b"\0raw\n", "user.overlaid": b"1"}
    unpack(tmp_path / "dest", archive(entry("d", Kind.DIRECTORY, xattrs=xattrs), entry("d/f", xattrs=xattrs)))
    for name in ("d", "d/f"):
        path = tmp_path / "dest" / name
        assert sorted(os.listxattr(path)) == ["user.kept", "user.overlaid"]
        assert os.getxattr(path, "user.kept") == b"\0raw\n"


def test_the_root_of_a_layer_takes_none_either(tmp_path):
    apply_to(tmp_path / "dest", archive(entry("./", Kind.DIRECTORY, mode=0o711, xattrs=FORBIDDEN)))
    assert os.listxattr(tmp_path / "dest") == []
    assert (tmp_path / "dest").stat().st_mode & 0o777 == 0o711
