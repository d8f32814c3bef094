"""Whatever the text is: a Dockerfile, a word and an ignore file are understood or refused by a tiffin error."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from tiffin.dockerfile import grammar
from tiffin.dockerfile.expand import expand
from tiffin.dockerfile.ignore import IgnoreRules
from tiffin.dockerfile.ignore_pattern import Walk, matcher, tokenize
from tiffin.dockerfile.instructions import Onbuild
from tiffin.dockerfile.parser import parse, parse_trigger
from tiffin.dockerfile.shell_words import expand as expand_word
from tiffin.dockerfile.shell_words import expand_document, expand_words, split_words
from tiffin.dockerfile.stages import parse_dockerfile
from tiffin.errors import TiffinError

KEYWORDS = [*grammar.KEYWORDS, "RUNN"]
PIECES = [
    *KEYWORDS,
    *" \t\n\r\\`'\"$#=[],/-{}:?*+%!<|&.0aZ\x00\x85\u00a0\u00e9",
    *(
        "\\\n",
        "<<",
        "<<-",
        "EOF",
        "\nEOF\n",
        "--",
        "--from=",
        "--chown=",
        "--interval=",
        "AS",
        "NONE",
        "1s",
        "a=b",
    ),
    *('["a"]', '["', '", "', '"]', '["\\ud800"]', "${a", ":-", "}", " CMD ", "# escape=`\n", "80/tcp"),
]
text = st.lists(st.sampled_from(PIECES), max_size=60).map("".join)
lines = st.lists(st.tuples(st.sampled_from(KEYWORDS), text), max_size=8).map(
    lambda pairs: "FROM a\n" + "".join(f"{keyword} {rest}\n" for keyword, rest in pairs)
)
ENV = {"a": "x y", "A": "*/\\", "b": ""}


@given(st.one_of(st.binary(max_size=400), text.map(str.encode), lines.map(str.encode)))
@settings(max_examples=600, deadline=None)
def test_any_bytes_parse_or_are_refused(data: bytes) -> None:
    try:
        dockerfile = parse_dockerfile(data)
        for stage in dockerfile.stages:
            dockerfile.base_stage(stage, ENV)
            for instruction in stage.instructions:
                str(instruction).encode()
                if isinstance(instruction, Onbuild):
                    again = parse_trigger(instruction.trigger, image="x", line=1)
                    assert again.keyword == instruction.trigger.split()[0].upper()
                expand(instruction, ENV, dockerfile.escape)
    except TiffinError as error:
        assert str(error).isprintable()


@given(lines)
@settings(max_examples=300, deadline=None)
def test_lines_of_instructions_follow_one_another(content: str) -> None:
    try:
        instructions = parse(content.encode()).instructions
    except TiffinError:
        return
    last = 0
    for instruction in instructions:
        assert last < instruction.line <= instruction.end_line
        last = instruction.end_line
    assert last <= content.count("\n") + 1


@given(text, st.sampled_from("\\`"))
@settings(max_examples=600, deadline=None)
def test_any_word_expands_or_is_refused(word: str, escape: str) -> None:
    for evaluate in (expand_word, expand_words):
        try:
            evaluate(word, ENV, escape)
        except TiffinError:
            continue
    try:
        expand_document(word, ENV)
    except TiffinError:
        pass
    assert "".join("".join(split_words(word, escape)).split()) in (
        "".join(word.split()),
        "".join(word.removesuffix(escape).split()),
    )


@given(st.text("ab$\\'\"{}: ", max_size=30))
@settings(max_examples=300, deadline=None)
def test_single_quotes_protect_everything(content: str) -> None:
    content = content.replace("'", "")
    assert expand_word(f"'{content}'", {"a": "no"}) == content


patterns = st.lists(
    st.sampled_from(["a", "b", "/", "*", "**", "**/", "/**/", "?", "[ab]", "[^a]", "\\*", "."]), max_size=9
)
paths = st.lists(st.text("ab.*", min_size=1, max_size=4), min_size=1, max_size=5).map("/".join)


@given(patterns.map("".join), paths)
@settings(max_examples=2000, deadline=None)
def test_the_fast_and_the_certain_matching_agree(pattern: str, path: str) -> None:
    try:
        fast = matcher(pattern)
        walk = Walk(tokenize(pattern))
    except ValueError:
        return
    # Docker tests these by the ends of the text alone, without the slash that the pattern would ask for.
    by_ends = pattern.startswith("**") and not any(char in pattern[2:] for char in "*?[]\\")
    assert fast(path) == walk(path) or by_ends


@given(
    st.lists(st.one_of(patterns.map("".join), patterns.map(lambda p: "!" + "".join(p))), max_size=6), paths
)
@settings(max_examples=1000, deadline=None)
def test_a_directory_is_never_skipped_over_something_kept(rules: list[str], path: str) -> None:
    try:
        parsed = IgnoreRules.parse("\n".join(rules).encode())
    except TiffinError:
        return
    if parsed.ignored(path):
        return
    parts = path.split("/")
    assert all(parsed.may_include_below("/".join(parts[:depth])) for depth in range(1, len(parts)))
    assert not IgnoreRules.parse("\n".join(rules).encode()).ignored(path)


@given(st.binary(max_size=300))
@settings(max_examples=300, deadline=None)
def test_any_ignore_file_is_understood_or_refused(data: bytes) -> None:
    try:
        parsed = IgnoreRules.parse(data)
    except TiffinError:
        return
    parsed.ignored("a/b")
