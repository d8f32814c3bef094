import pytest

from tiffin.errors import Corrupt, LimitExceeded
from tiffin.layer.limits import DEFAULT_LIMITS
from tiffin.layer.names import clean_name, shown


@pytest.mark.parametrize(
    ("name", "clean"),
    [
        ("a", "a"),
        ("./a", "a"),
        ("/a//b/./c/", "a/b/c"),
        (".", ""),
        ("./", ""),
        ("/", ""),
        ("", ""),
        ("..a/b..", "..a/b.."),
    ],
)
def test_names_become_relative_to_the_root(name, clean):
    assert clean_name(name, DEFAULT_LIMITS) == clean


@pytest.mark.parametrize("name", ["..", "../a", "a/..", "a/../b", "/..", "./../a"])
def test_dot_dot_is_refused_wherever_it_stands(name):
    with pytest.raises(Corrupt, match=r"has '\.\.' in its name"):
        clean_name(name, DEFAULT_LIMITS)


def test_long_and_deep_names_are_refused():
    assert clean_name("n" * 255, DEFAULT_LIMITS) == "n" * 255
    assert clean_name(".wh." + "n" * 255, DEFAULT_LIMITS)
    for name in ("n" * 256, "é" * 128, ".wh." + "n" * 256, "a/" * 513):
        with pytest.raises(LimitExceeded):
            clean_name(name, DEFAULT_LIMITS)


def test_names_in_messages_are_one_short_line_without_escapes():
    assert shown("a\n\x1b[2J") == r"'a\n\x1b[2J'"
    assert len(shown("x" * 5000)) < 200
