"""T3: a hard link names nothing outside, and its metadata reaches nothing outside."""

import os

import pytest

from tests.suites.archives import apply_to, archive, canary, entry
from tiffin.errors import Corrupt, TiffinError
from tiffin.layer.tarstream import Kind

pytestmark = pytest.mark.root


def hard(name: str, target: object, **rest: object):
    return entry(name, Kind.HARDLINK, linkname=str(target), **rest)


def test_a_target_below_a_link_is_looked_up_inside(tmp_path):
    with canary(tmp_path) as outside, pytest.raises(Corrupt, match="a missing name"):
        link = entry("a", Kind.SYMLINK, linkname=str(outside))
        apply_to(tmp_path / "dest", archive(link, hard("b", "a/file", mode=0o777, uid=1)))


def test_metadata_on_a_link_to_a_link_stays_inside(tmp_path):
    with canary(tmp_path) as outside:
        link = entry("a", Kind.SYMLINK, linkname=f"{outside}/file", mode=0o777)
        apply_to(tmp_path / "dest", archive(link, hard("b", "a", mode=0o4777, uid=5, mtime_ns=7)))
        assert os.readlink(tmp_path / "dest" / "b") == f"{outside}/file"
        assert (tmp_path / "dest" / "b").lstat().st_ino == (tmp_path / "dest" / "a").lstat().st_ino


@pytest.mark.parametrize("target", ["../canary/file", "a/../../canary/file"])
def test_dot_dot_in_a_target_is_refused(tmp_path, target):
    with canary(tmp_path), pytest.raises(Corrupt, match=r"\.\."):
        apply_to(tmp_path / "dest", archive(hard("b", target)))


def test_an_absolute_target_is_taken_from_the_root(tmp_path):
    with canary(tmp_path) as outside:
        with pytest.raises(TiffinError):
            apply_to(tmp_path / "dest", archive(hard("b", outside / "file")))
        apply_to(tmp_path / "other", archive((entry("a"), b"x"), hard("b", "/a")))
        assert (tmp_path / "other" / "b").read_text() == "x"


@pytest.mark.parametrize(
    "members",
    [
        ["d/", hard("b", "d")],
        ["a", hard("b", ".")],
        [".wh.a", hard("b", "a")],
        [hard("a", "a")],
        [hard("b", "")],
        ["a/b", hard("a", "a/b")],
    ],
)
def test_what_is_no_file_of_this_layer_is_refused(tmp_path, members):
    with canary(tmp_path), pytest.raises(TiffinError):
        apply_to(tmp_path / "dest", archive(*members))
