"""The rules of .dockerignore."""

from __future__ import annotations

import time

import pytest

from tiffin.dockerfile.ignore import IgnoreRules
from tiffin.dockerfile.ignore_pattern import Walk, matcher, tokenize
from tiffin.errors import DockerfileError


def rules(*lines: str) -> IgnoreRules:
    return IgnoreRules.parse("\n".join(lines).encode())


@pytest.mark.parametrize(
    ("pattern", "path", "expected"),
    [
        ("a", "a", True),
        ("a", "ab", False),
        ("a", "a/b", True),
        ("a", "x/a", False),
        ("/a", "a", True),
        ("//a", "a", True),
        ("a/", "a/b", True),
        ("./a", "a", True),
        ("a/../b", "b", True),
        ("../a", "a", False),
        (".", "a", False),
        ("/", "a", False),
        ("*", "a", True),
        ("*", ".a", True),
        ("*", "a/b", True),
        ("*.o", "x.o", True),
        ("*.o", "d/x.o", False),
        ("*/*.o", "d/x.o", True),
        ("*/*/temp*", "a/b/temporary.txt", True),
        ("*/*/temp*", "a/temporary.txt", False),
        ("temp?", "tempa", True),
        ("temp?", "temp", False),
        ("temp?", "temp/", False),
        ("**", "a", True),
        ("**", "a/b/c", True),
        ("**/x", "x", True),
        ("**/x", "a/b/x", True),
        ("**/x", "ax", False),
        ("**x", "a/bx", True),
        ("**/*.go", "main.go", True),
        ("**/*.go", "a/b/main.go", True),
        ("**/*.go", "main.goo", False),
        ("a/**", "a", False),
        ("a/**", "a/b/c", True),
        ("a**", "abc/d", True),
        ("a/**/b", "a/b", True),
        ("a/**/b", "a/x/y/b", True),
        ("a/**/b", "a/xb", False),
        ("**/node_modules/**/test", "p/node_modules/q/r/test", True),
        ("a**b", "ab", True),
        ("a**b", "ax/b", True),
        ("a**b", "axb", False),
        ("[ab].c", "a.c", True),
        ("[ab].c", "c.c", False),
        ("[a-c]x", "bx", True),
        ("[^a-c]x", "dx", True),
        ("[^a-c]x", "bx", False),
        ("a[^b]c", "a/c", True),
        ("[\\]]", "]", True),
        ("\\*", "*", True),
        ("\\*", "x", False),
        ("a.b", "axb", False),
        ("a+(b)|{c}$", "a+(b)|{c}$", True),
        ("d\\\u00e9", "d\u00e9", True),
        ("  spaced  ", "spaced", True),
    ],
)
def test_a_pattern_matches_as_in_docker(pattern: str, path: str, expected: bool) -> None:
    assert rules(pattern).ignored(path) is expected


def test_comments_blank_lines_carriage_returns_and_a_mark_are_skipped() -> None:
    parsed = IgnoreRules.parse(b"\xef\xbb\xbf# a\r\n\r\n  \r\nb\r\n # not a comment\r\n")
    assert [rule.pattern for rule in parsed.rules] == ["b", "# not a comment"]


def test_the_last_matching_line_decides() -> None:
    documented = rules("*.md", "!README*.md", "README-secret.md")
    assert documented.ignored("x.md")
    assert not documented.ignored("README-a.md")
    assert documented.ignored("README-secret.md")
    assert not rules("*.md", "README-secret.md", "!README*.md").ignored("README-secret.md")


def test_an_exception_brings_back_a_directory_with_all_below() -> None:
    allowed = rules("*", "!src", "!go.mod", "**/*.tmp")
    assert not allowed.ignored("src")
    assert not allowed.ignored("src/a/b.go")
    assert not allowed.ignored("go.mod")
    assert allowed.ignored("src/a/b.tmp")
    assert allowed.ignored("docs/x")


def test_an_exception_below_an_ignored_directory_is_found() -> None:
    kept = rules("build", "!build/keep/this")
    assert kept.ignored("build")
    assert kept.ignored("build/keep")
    assert not kept.ignored("build/keep/this")
    assert not kept.ignored("build/keep/this/file")
    assert kept.may_include_below("build")
    assert kept.may_include_below("build/keep")
    assert not kept.may_include_below("build/other")


def test_an_ignored_directory_need_not_be_walked_without_an_exception_for_it() -> None:
    assert not rules("a").may_include_below("a")
    assert not rules("a", "!b").may_include_below("a")
    assert rules("a", "!**/x").may_include_below("a")
    assert rules("a", "!a*").may_include_below("a")
    assert rules("a").may_include_below("b")
    assert rules("*").may_include_below("")


def test_the_rule_that_decides_can_be_named() -> None:
    parsed = rules("# first", "*", "!src", "src/x")
    deciding = [parsed.deciding_rule(path) for path in ("a", "src/y", "src/x")]
    assert [rule.line for rule in deciding if rule] == [2, 3, 4]
    assert rules("x").deciding_rule("y") is None


def test_names_that_are_not_utf8_match_as_bytes() -> None:
    name = b"caf\xe9".decode("utf-8", "surrogateescape")
    assert IgnoreRules.parse(b"caf\xe9\n").ignored(name)
    assert IgnoreRules.parse(b"ca??\n").ignored(name)


def test_without_rules_nothing_is_ignored() -> None:
    assert not IgnoreRules().ignored("a")
    assert IgnoreRules().may_include_below("a")


@pytest.mark.parametrize(
    "pattern", ["[", "[]a]", "[a", "[-a]", "[a-]", "a\\", "[z-a]", "!", "! ", "[a\\", "a" * 5000]
)
def test_a_malformed_pattern_names_its_line(pattern: str) -> None:
    with pytest.raises(DockerfileError) as caught:
        rules("fine", pattern)
    assert str(caught.value).startswith(".dockerignore:2: ")


@pytest.mark.parametrize(
    "pattern",
    [
        "*a" * 200 + "b",
        "**/a/" * 100 + "b",
        "**/*a*/" * 60 + "b",
        "a**" * 60 + "b",
        "*[^b]" * 60 + "c",
    ],
)
def test_hostile_patterns_take_linear_time(pattern: str) -> None:
    parsed = rules(pattern)
    path = "/".join(["a" * 30] * 60)
    began = time.process_time()
    parsed.ignored(path)
    assert time.process_time() - began < 5.0


def test_the_fast_way_and_the_certain_way_agree() -> None:
    for pattern in ("a*b", "**/a*c", "a/**/b*/**/c", "*/x?z", "**/a", "a**", "**a*"):
        walk = Walk(tokenize(pattern))
        for path in ("ab", "axb", "a/b", "x/axc", "a/b/c", "a/q/bb/r/c", "p/xyz", "a", "q/a", "abc/d", "za"):
            if pattern == "**a*" or pattern.startswith("**/") or "**" not in pattern[:2]:
                assert walk(path) == matcher(pattern)(path), (pattern, path)
