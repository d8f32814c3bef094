"""T4: a whiteout hides what it names in the layers below, and nothing else (image-spec,
layer.md#whiteouts)."""

import itertools
import os

import pytest

from tests.suites.archives import apply_to, archive, canary, described, entry, extract_to
from tiffin.errors import Corrupt
from tiffin.layer.tarstream import Kind

pytestmark = pytest.mark.root
OPAQUE = "trusted.overlay.opaque"


def is_opaque(path) -> bool:
    return OPAQUE in os.listxattr(path)


@pytest.mark.parametrize("name", [".wh.", ".wh..", ".wh...", "d/.wh.", "d/.wh..", "d/.wh..."])
def test_a_whiteout_for_nothing_or_for_the_parent_is_refused(tmp_path, name):
    with canary(tmp_path), pytest.raises(Corrupt, match="whiteout for nothing"):
        apply_to(tmp_path / "dest", archive("d/", "d/keep", name))
    assert (tmp_path / "dest" / "d" / "keep").exists()


def test_the_golden_tree(tmp_path):
    apply_to(
        tmp_path / "dest",
        archive(
            ".wh.gone",
            "d/.wh.gone",
            "d/kept",
            "o/before",
            "o/.wh..wh..opq",
            "o/after",
            ".wh..wh.plnk/",
            ".wh..wh.plnk/1.2",
            ".wh..wh.aufs",
        ),
    )
    file, directory = "file 0644 0:0 e3b0c44298fc1c14 0", "dir 0755 0:0"
    assert described(tmp_path / "dest") == {
        "d": directory,
        "d/gone": "whiteout",
        "d/kept": file,
        "gone": "whiteout",
        "o": f"{directory} {OPAQUE}=79",
        "o/after": file,
        "o/before": file,
    }


@pytest.mark.parametrize(
    "order", list(itertools.permutations(["o/", "o/file", "o/.wh..wh..opq", "o/sub/file"]))
)
def test_opaque_hides_the_layers_below_and_never_its_siblings(tmp_path, order):
    apply_to(tmp_path / "dest", archive(*order))
    assert is_opaque(tmp_path / "dest" / "o")
    assert set(described(tmp_path / "dest")) == {"o", "o/file", "o/sub", "o/sub/file"}


@pytest.mark.parametrize("order", list(itertools.permutations([".wh.x", "x/", "x/file"])))
def test_a_directory_beside_its_whiteout_is_opaque_whichever_came_first(tmp_path, order):
    apply_to(tmp_path / "dest", archive(*order))
    assert is_opaque(tmp_path / "dest" / "x")
    assert (tmp_path / "dest" / "x" / "file").exists()


@pytest.mark.parametrize("order", list(itertools.permutations([".wh.x", "x"])))
def test_a_file_beside_its_whiteout_stays_whichever_came_first(tmp_path, order):
    apply_to(tmp_path / "dest", archive(*order))
    assert (tmp_path / "dest" / "x").is_file()


def test_a_whiteout_twice_is_one(tmp_path):
    apply_to(tmp_path / "dest", archive(".wh.x", ".wh.x"))
    assert described(tmp_path / "dest") == {"x": "whiteout"}


def test_an_opaque_root_is_marked_on_the_root(tmp_path):
    apply_to(tmp_path / "dest", archive("a", ".wh..wh..opq"))
    assert is_opaque(tmp_path / "dest")


def test_a_whiteout_below_a_linked_parent_stays_inside(tmp_path):
    with canary(tmp_path) as outside:
        apply_to(tmp_path / "dest", archive(entry("a", Kind.SYMLINK, linkname=str(outside)), "a/.wh.file"))
        assert (outside / "file").exists()


@pytest.mark.parametrize("unpack", [apply_to, extract_to])
def test_a_literal_device_0_0_is_refused(tmp_path, unpack):
    with pytest.raises(Corrupt, match="poses as a whiteout"):
        unpack(tmp_path / "dest", archive(entry("x", Kind.CHAR)))
    assert described(tmp_path / "dest") == {}


def test_what_stands_below_a_whiteout_name_is_refused(tmp_path):
    with pytest.raises(Corrupt, match="below a whiteout"):
        apply_to(tmp_path / "dest", archive(".wh.d/file"))


def test_a_plain_archive_has_no_whiteouts(tmp_path):
    extract_to(tmp_path / "dest", archive("a", ".wh.a", ".wh..wh..opq"))
    assert sorted(described(tmp_path / "dest")) == [".wh..wh..opq", ".wh.a", "a"]
