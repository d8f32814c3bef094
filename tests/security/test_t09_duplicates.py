"""T9: the last of several members with one name wins; what was there is unlinked and never followed."""

import os

import pytest

from tests.suites.archives import apply_to, archive, canary, described, entry
from tiffin.errors import Corrupt
from tiffin.layer.tarstream import Kind

pytestmark = pytest.mark.root


def test_file_link_file(tmp_path):
    with canary(tmp_path) as outside:
        link = entry("x", Kind.SYMLINK, linkname=f"{outside}/file")
        apply_to(tmp_path / "dest", archive((entry("x"), b"1"), link, (entry("x", mode=0o4777, uid=6), b"2")))
        assert (tmp_path / "dest" / "x").read_text() == "2"
        assert not (tmp_path / "dest" / "x").is_symlink()


def test_a_replaced_hard_link_leaves_the_other_name_alone(tmp_path):
    hard = entry("b", Kind.HARDLINK, linkname="a")
    apply_to(tmp_path / "dest", archive((entry("a"), b"1"), hard, (entry("b", mode=0o600), b"2")))
    assert (tmp_path / "dest" / "a").read_text() == "1"
    assert (tmp_path / "dest" / "b").read_text() == "2"


KINDS = {
    "file": entry("x"),
    "dir": entry("x", Kind.DIRECTORY, mode=0o700),
    "link": entry("x", Kind.SYMLINK, linkname="other"),
    "hard": entry("x", Kind.HARDLINK, linkname="other"),
    "fifo": entry("x", Kind.FIFO),
    "char": entry("x", Kind.CHAR, major=1, minor=3),
}


@pytest.mark.parametrize("second", KINDS)
@pytest.mark.parametrize("first", KINDS)
def test_every_kind_replaces_every_kind(tmp_path, first, second):
    apply_to(tmp_path / "dest", archive("other", KINDS[first], KINDS[second]))
    apply_to(tmp_path / "expected", archive("other", KINDS[second]))
    assert described(tmp_path / "dest") == described(tmp_path / "expected")


def test_a_file_replaces_a_whole_tree_and_a_directory_takes_new_metadata(tmp_path):
    directory = entry("d", Kind.DIRECTORY, mode=0o711, uid=4, mtime_ns=9)
    apply_to(tmp_path / "dest", archive("t/a/b/c", "t/a/d", "t", "d/", "d/kept", directory))
    tree = described(tmp_path / "dest")
    assert sorted(tree) == ["d", "d/kept", "t"]
    assert tree["d"] == "dir 0711 4:0"
    assert (tmp_path / "dest" / "d").stat().st_mtime_ns == 9


def test_a_member_below_a_file_is_refused(tmp_path):
    with pytest.raises(Corrupt, match="not a directory"):
        apply_to(tmp_path / "dest", archive("x", "x/y"))


def test_a_directory_in_the_place_of_a_link_is_a_new_one(tmp_path):
    link = entry("l", Kind.SYMLINK, linkname="real")
    apply_to(
        tmp_path / "dest",
        archive("real/", link, "l/through", entry("l", Kind.DIRECTORY, mode=0o700), "l/inside"),
    )
    tree = described(tmp_path / "dest")
    assert sorted(tree) == ["l", "l/inside", "real", "real/through"]
    assert tree["l"].startswith("dir 0700")


def test_case_matters(tmp_path):
    apply_to(tmp_path / "dest", archive((entry("A"), b"1"), (entry("a"), b"2")))
    assert sorted(os.listdir(tmp_path / "dest")) == ["A", "a"]
