import time

import pytest

from tiffin.build.copying.globs import component_matcher, has_wildcard
from tiffin.errors import InvalidArgument


@pytest.mark.parametrize(
    ("pattern", "name", "matches"),
    [
        ("*", "anything", True),
        ("*", ".hidden", True),
        ("*.txt", "a.txt", True),
        ("*.txt", "a.txt.bak", False),
        ("?.txt", "a.txt", True),
        ("?.txt", "ab.txt", False),
        ("a*b*c", "aXXbYYc", True),
        ("a*b*c", "abcb", False),
        ("*ab", "aab", True),
        ("a**b", "ab", True),
        ("[a-c]x", "bx", True),
        ("[a-c]x", "dx", False),
        ("[^a-c]x", "dx", True),
        ("[^a-c]x", "ax", False),
        (r"\*", "*", True),
        (r"\*", "x", False),
        (r"[\]]", "]", True),
        ("[-]", "-", None),
        ("a.c", "abc", False),
        ("x+", "x+", True),
        ("*", "line\nbreak", True),
        ("[^x]", "\n", True),
    ],
)
def test_a_component_matches_as_go_does(pattern: str, name: str, matches: bool | None) -> None:
    if matches is None:
        with pytest.raises(InvalidArgument):
            component_matcher(pattern)
        return
    assert (component_matcher(pattern).fullmatch(name) is not None) is matches


@pytest.mark.parametrize("pattern", ["[", "[a", "[a-", "[]", "a\\", "[^]"])
def test_an_unfinished_pattern_is_refused(pattern: str) -> None:
    with pytest.raises(InvalidArgument, match="bad wildcard pattern"):
        component_matcher(pattern)


def test_many_stars_cost_no_more_than_linear_time() -> None:
    matcher = component_matcher("*a" * 60 + "b")
    begun = time.perf_counter()
    assert matcher.fullmatch("a" * 255) is None
    assert time.perf_counter() - begun < 0.2


def test_an_escape_counts_as_a_wildcard_for_it_has_to_be_taken_out() -> None:
    assert has_wildcard(r"a\b")
    assert not has_wildcard("a.b-c")
