"""The patterns of COPY --parents."""

import time

import pytest

from tiffin.build.copying.parents import PathPattern, split_pivot
from tiffin.errors import InvalidArgument


@pytest.mark.parametrize(
    ("source", "base", "pattern"),
    [
        ("a/./b/c", "a", "b/c"),
        ("./b/c", "", "./b/c"),
        ("./a/./b", "./a", "b"),
        ("/a/./b/./c", "/a", "b/./c"),
        ("a/b", "", "a/b"),
    ],
)
def test_the_pivot_is_the_first_dot_between_slashes(source: str, base: str, pattern: str) -> None:
    assert split_pivot(source) == (base, pattern)


@pytest.mark.parametrize(
    ("pattern", "path", "matches", "may_lead"),
    [
        ("a/b", "a", False, True),
        ("a/b", "a/b", True, True),
        ("a/b", "a/b/c/d", True, True),
        ("a/b", "a/c", False, False),
        ("a/*", "a/x", True, True),
        ("*.c", "d/x.c", False, False),
        ("**/*.c", "x.c", True, True),
        ("**/*.c", "a/b/x.c", True, True),
        ("**/*.c", "a/b", False, True),
        ("a/**/z", "a/z", True, True),
        ("a/**/z", "a/b/c/z", True, True),
        ("a/**/z", "b", False, False),
        ("a/**", "a/b", True, True),
        ("**", "x", True, True),
        ("", "anything", True, True),
        ("**/**/x", "x", True, True),
        ("a**", "abc", True, True),
        ("[ab]/?", "b/x", True, True),
    ],
)
def test_what_a_pattern_stands_for(pattern: str, path: str, matches: bool, may_lead: bool) -> None:
    found = PathPattern(pattern)
    assert found.matches(path) == matches
    assert found.may_lead_to(path) == may_lead


def test_a_hostile_pattern_costs_no_more_than_its_length_times_the_paths() -> None:
    found = PathPattern("/".join(["**", "*a*"] * 100))
    began = time.process_time()
    assert not found.matches("/".join(["aaaa"] * 99))
    assert time.process_time() - began < 5


def test_a_malformed_class_is_refused() -> None:
    with pytest.raises(InvalidArgument):
        PathPattern("a/[x")
