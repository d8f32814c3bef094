"""Docker's shell words."""

from __future__ import annotations

import time

import pytest

from tiffin.dockerfile.shell_words import (
    MAX_DEPTH,
    WordError,
    expand,
    expand_document,
    expand_words,
    split_words,
)

ENV = {
    "v": "value",
    "empty": "",
    "path": "/usr/local/lib/x.tar.gz",
    "two": "a b",
    "star": "a*b?c",
    "lines": "one\ntwo\nthree",
    "korean": "\ud55c\uad6d\uc5b4",
    "pattern": "*l",
}


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("plain", "plain"),
        ("", ""),
        ("a  b", "a  b"),
        ("$v", "value"),
        ("${v}", "value"),
        ("x${v}y", "xvaluey"),
        ("$vx", ""),
        ("$unset", ""),
        ("$", "$"),
        ("a$", "a$"),
        ("$ x", "$ x"),
        ("$(echo)", "$(echo)"),
        ("$korean", "\ud55c\uad6d\uc5b4"),
        ("$$", ""),
        ("$1a", "a"),
        ("${v:-d}", "value"),
        ("${empty:-d}", "d"),
        ("${empty-d}", ""),
        ("${unset-d}", "d"),
        ("${unset:-d}", "d"),
        ("${v:+d}", "d"),
        ("${empty:+d}", ""),
        ("${empty+d}", "d"),
        ("${unset+d}", ""),
        ("${v:?no}", "value"),
        ("${empty?no}", ""),
        ("${unset:-$v}", "value"),
        ("${unset:-${empty:-${v}}}", "value"),
        ("${unset:-'a}b'}", "a}b"),
        ("${unset:-a\\}b}", "a}b"),
        ('${unset:-"$v"}', "value"),
        ("${v:+$two}", "a b"),
        ("'$v'", "$v"),
        ("'a\\'", "a\\"),
        ("\"$v 'x'\"", "value 'x'"),
        ('"a\\"b"', 'a"b'),
        ('"a\\$v"', "a$v"),
        ('"a\\nb"', "a\\nb"),
        ("\\$v", "$v"),
        ("a\\nb", "anb"),
        ("a\\\\b", "a\\b"),
        ("a\\", "a"),
        ("''", ""),
        ("a''b", "ab"),
        ("${path#*/}", "usr/local/lib/x.tar.gz"),
        ("${path##*/}", "x.tar.gz"),
        ("${path%.*}", "/usr/local/lib/x.tar"),
        ("${path%%.*}", "/usr/local/lib/x"),
        ("${path%/*}", "/usr/local/lib"),
        ("${path#nope}", "/usr/local/lib/x.tar.gz"),
        ("${path%nope}", "/usr/local/lib/x.tar.gz"),
        ("${path##*}", ""),
        ("${path#*}", "/usr/local/lib/x.tar.gz"),
        ("${path#}", "/usr/local/lib/x.tar.gz"),
        ("${path%%$pattern*}", ""),
        ("${star#a\\*}", "b?c"),
        ("${star%\\?c}", "a*b"),
        ("${star#??}", "b?c"),
        ("${lines#*o}", "ne\ntwo\nthree"),
        ("${lines##*o}", "ne\ntwo\nthree"),
        ("${lines##*w}", "one\ntwo\nthree"),
        ("${unset#x}", ""),
        ("${path/l/L}", "/usr/Local/lib/x.tar.gz"),
        ("${path//l/L}", "/usr/LocaL/Lib/x.tar.gz"),
        ("${path//\\//-}", "-usr-local-lib-x.tar.gz"),
        ("${path/l*b/Q}", "/usr/Q/x.tar.gz"),
        ("${path//l?/_}", "/usr/_ca__b/x.tar.gz"),
        ("${path/nope/Q}", "/usr/local/lib/x.tar.gz"),
        ("${path/$v/}", "/usr/local/lib/x.tar.gz"),
        ("${lines//*/x}", "x\nx\nx"),
        ("${v//a/$two}", "va blue"),
        ("${unset/a/b}", ""),
        ("${path//t?/}", "/usr/local/lib/x.r.gz"),
    ],
)
def test_a_word_expands_as_in_docker(word: str, expected: str) -> None:
    assert expand(word, ENV) == expected


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("${", "no closing '}'"),
        ("${v", "no closing '}'"),
        ("${v:-x", "no closing '}'"),
        ("${}", "bad substitution"),
        ("${:x}", "bad substitution"),
        ("${{v}}", "bad substitution"),
        ("${v!x}", "unknown modifier '!'"),
        ("${v:=x}", "unknown modifier '='"),
        ("${v^^}", "unknown modifier '^'"),
        ("'a", "no closing single quote"),
        ('"a', "no closing double quote"),
        ("${unset?}", "unset: is not allowed to be unset"),
        ("${unset:?set it to $v}", "unset: set it to value"),
        ("${empty:?}", "empty: is not allowed to be empty"),
        ("${v/a}", "no closing '/'"),
        ("${v/a/b", "no closing '}'"),
        ("${v#\\x}", "invalid escape"),
        ("${unset:-" * (MAX_DEPTH + 1) + "}" * (MAX_DEPTH + 1), "inside one another"),
        ("${v#" + "x" * 2000 + "}", "pattern longer than"),
    ],
)
def test_a_broken_word_is_refused_by_name(word: str, message: str) -> None:
    with pytest.raises(WordError) as caught:
        expand(word, ENV)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a b  c", ["a", "b", "c"]),
        ("  a\t", ["a"]),
        ("$two", ["a", "b"]),
        ('"$two"', ["a b"]),
        ("'a b' c", ["a b", "c"]),
        ("a\\ b", ["a b"]),
        ("x$two", ["xa", "b"]),
        ("$unset", []),
        ("'' a", ["a"]),
        ("${unset:-p q}", ["p", "q"]),
    ],
)
def test_words_split_after_expansion_but_not_inside_quotes(text: str, expected: list[str]) -> None:
    assert expand_words(text, ENV) == expected


def test_the_backtick_can_be_the_escape_character() -> None:
    assert expand("a`$v\\b", ENV, "`") == "a$v\\b"
    assert split_words("a` b c\\ d", "`") == ["a` b", "c\\", "d"]


def test_a_document_keeps_its_quotes_and_loses_its_backslashes() -> None:
    assert expand_document("say \"$v\" '$v' \\$v \\\\ \\n\n", ENV) == "say \"value\" 'value' $v \\ n\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a=1 b=2", ["a=1", "b=2"]),
        ('a="x y" b', ['a="x y"', "b"]),
        ("a='x\\' b", ["a='x\\'", "b"]),
        ("a=x\\ y b", ["a=x\\ y", "b"]),
        ('a="x\\" y" b', ['a="x\\" y"', "b"]),
        ('a="x y', ['a="x y']),
        ("a\\", ["a"]),
    ],
)
def test_splitting_keeps_what_expansion_will_need(text: str, expected: list[str]) -> None:
    assert split_words(text) == expected


def test_a_variable_that_doubles_itself_stops_at_the_bound() -> None:
    env = {"a": "x" * 1024}
    with pytest.raises(WordError, match="expands to more than"):
        for _ in range(64):
            env["a"] = expand("$a$a", env)
    with pytest.raises(WordError, match="expands to more than"):
        expand("${a//x/$a}", {"a": "x" * 4096})


@pytest.mark.parametrize(
    "word",
    [
        "${a##*b*b*b*b*b*b*b*b*b*c}",
        "${a%%c*b*b*b*b*b*b*b*b*b*}",
        "${a//a*b/x}",
        "${a//*a*a*a*a*a*a*b/x}",
        "${u:-" * 60 + "}" * 60,
    ],
)
def test_hostile_patterns_take_linear_time(word: str) -> None:
    def spent(size: int) -> float:
        env = {"a": "a" * size}
        began = time.process_time()
        expand(word, env)
        return time.process_time() - began

    assert min(spent(200_000) for _ in range(3)) < 2.0
