"""Whatever the text is: a Dockerfile, a word and an ignore file are understood or refused by a tiffin error."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tiffin.dockerfile import grammar
from tiffin.dockerfile.chmod import parse_chmod
from tiffin.dockerfile.expand import expand
from tiffin.dockerfile.ignore import IgnoreRules
from tiffin.dockerfile.ignore_pattern import Walk, matcher, tokenize
from tiffin.dockerfile.instructions import Onbuild
from tiffin.dockerfile.lint import RULES, Options, Subject, check
from tiffin.dockerfile.mount_flag import read_mount
from tiffin.dockerfile.parser import parse, parse_trigger
from tiffin.dockerfile.place import Place
from tiffin.dockerfile.shell_words import WordError, expand_document, expand_words, split_words
from tiffin.dockerfile.shell_words import expand as expand_word
from tiffin.dockerfile.stages import parse_dockerfile
from tiffin.errors import DockerfileError, InvalidArgument, TiffinError

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
        "--mount=",
        "--mount=type=cache,target=/c",
        "--chmod=u=rwX",
        "--link",
        "--exclude=",
        "--checksum=",
        "--platform=",
        "--network=",
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
        report = check(Subject(dockerfile), Options.of(dockerfile, {}))
        shown = data.decode().removeprefix("\ufeff")
        for finding in report.findings:
            assert finding.lines("D", shown)[3] == f"D:{finding.line}"
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


MOUNT_WORDS = [
    "type=",
    "cache",
    "bind",
    "secret",
    "ssh",
    "tmpfs",
    "target=",
    "/x",
    "ro",
    "rw",
    "id=",
    "mode=0700",
    "size=1m",
    ",",
    '"',
    '""',
    "=",
    "$a",
    "${a:-/y}",
    "${",
    "'",
    "\\",
    "from=",
    "s",
    "sharing=locked",
    "required",
    "uid=1",
]
fields = st.lists(st.sampled_from([*MOUNT_WORDS, " "]), max_size=14).map("".join)


@given(fields, st.sampled_from("\\`"))
@settings(max_examples=800, deadline=None)
def test_any_mount_is_read_or_refused_and_the_two_readings_agree(text: str, escape: str) -> None:
    place = Place("Dockerfile", 2, "RUN")
    try:
        early = read_mount(text, place, escape)
    except DockerfileError as error:
        assert str(error).isprintable()
        return
    try:
        late = read_mount(text, place, escape, lambda word: expand_word(word, ENV, escape))
    except (DockerfileError, WordError):
        return
    assert early.from_ == late.from_
    if not set(text) & set("$'\"\\`"):
        assert early == late


@given(st.text("ugoa+-=rwxXst,07 8", max_size=20), st.integers(0, 0o7777), st.booleans())
@settings(max_examples=500, deadline=None)
def test_any_mode_applies_or_is_refused(text: str, mode: int, directory: bool) -> None:
    try:
        parsed = parse_chmod(text)
    except InvalidArgument:
        return
    assert 0 <= parsed.apply(mode, directory) <= 0o7777


@given(st.text("skip=error;tralX, \x00=", max_size=40))
@settings(max_examples=300, deadline=None)
def test_any_check_directive_is_read_or_refused(text: str) -> None:
    try:
        Options.parse(text, Place("Dockerfile")).unknown(RULES)
    except DockerfileError as error:
        assert str(error).isprintable()


def _work(run: Callable[[], object]) -> int:
    """How many calls of Python functions, and steps of their loops, `run` makes: the same on every machine."""
    steps = 0

    def count(_frame: object, _event: str, _arg: object) -> Any:
        nonlocal steps
        steps += 1
        return count

    before = sys.gettrace()
    sys.settrace(count)
    try:
        run()
    except TiffinError:
        pass
    finally:
        sys.settrace(before)
    return steps


def _parsed(text: str) -> Callable[[int], Callable[[], object]]:
    return lambda size: lambda: parse_dockerfile(b"FROM a\n" + text.encode() * size)


def _expanded(text: str) -> Callable[[int], Callable[[], object]]:
    return lambda size: lambda: expand_words(text * size, ENV)


def _documented(text: str) -> Callable[[int], Callable[[], object]]:
    return lambda size: lambda: expand_document(text * size, ENV)


def _mounted(text: str) -> Callable[[int], Callable[[], object]]:
    place = Place("Dockerfile", 2, "RUN")
    return lambda size: (
        lambda: read_mount("target=/x," + text * size, place, "\\", lambda word: expand_word(word, ENV))
    )


def _ignoring(pattern: str, path: str) -> Callable[[int], Callable[[], object]]:
    return lambda size: lambda: IgnoreRules.parse(pattern.encode()).ignored(path * size)


def _linted(text: str) -> Callable[[int], Callable[[], object]]:
    dockerfile = {size: parse_dockerfile(b"FROM scratch\n" + text.encode() * size) for size in (100, 200)}
    return lambda size: lambda: check(Subject(dockerfile[size]), Options())


@pytest.mark.parametrize(
    "task",
    [
        _parsed("RUN a \\\n  b\n"),
        _parsed("RUN a \\\n"),
        _parsed("COPY <<A /x\nb\nA\n"),
        _parsed("ENV a=\"$b ${c:-d}\" e='f g'\n"),
        _parsed("RUN --mount=type=cache,target=/x --network=none y\n"),
        _parsed("# c\n\n"),
        _parsed("RUN <<A"),
        _parsed("RUN --mount=target=/x "),
        _parsed("FROM a AS b\n"),
        _expanded("a b "),
        _expanded("$a ${a} ${b:-x}"),
        _expanded("\"'"),
        _expanded("${a/x/y}${A##*}"),
        _expanded("${b:-"),
        _expanded("\\"),
        _documented("$a 'x' \\$ \n"),
        _mounted("id=$a,"),
        _mounted('"'),
        _mounted(","),
        _ignoring("**/a/**/b", "a/b/"),
        _ignoring("*a*b", "ab"),
        _ignoring("a**b*c", "abc"),
        _linted("ENV A=$B\n"),
        _linted("ARG A_TOKEN\nCMD x\nWORKDIR y\n"),
    ],
)
def test_twice_the_text_is_little_over_twice_the_work(
    task: Callable[[int], Callable[[], object]],
) -> None:
    once, twice = _work(task(100)), _work(task(200))
    assert twice <= 2.2 * once + 2000
