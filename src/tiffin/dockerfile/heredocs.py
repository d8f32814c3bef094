"""Finding here-documents on an instruction's line.

A word of the form `<<NAME`, `<<-NAME` or `3<<NAME` opens one; NAME may be quoted, which forbids expansion in
the content. As in the reference, the opener is a word of its own: `cat<<EOF` is for the shell alone, and so
is whatever stands inside quotes. White space is allowed before a NAME that looks like one, so that `$((1 <<
2))` stays a shift.
"""

from __future__ import annotations

import re

from tiffin.dockerfile.shell_words import SPACE
from tiffin.dockerfile.value import Value

_OPENER = re.compile(rf"(\d*)<<(-?)([{SPACE}]*)")
_SPACED_NAME = re.compile(r"""["'\\]?[A-Za-z_]""")


class Opener(Value):
    """One `<<NAME` at `start` to `end` of the line."""

    start: int
    end: int
    name: str
    expand: bool
    strip_tabs: bool
    descriptor: int


def find_openers(text: str) -> list[Opener]:
    """The here-documents that `text` opens, in order. An unclosed quote swallows the rest of the line."""
    openers: list[Opener] = []
    at, end = 0, len(text)
    while at < end:
        if text[at] in SPACE:
            at += 1
            continue
        found = _OPENER.match(text, at)
        start, at = at, _word_end(text, found.end() if found else at)
        if found is None:
            continue
        opener = _opener(found, text[found.end() : at], start, at)
        if opener is not None:
            openers.append(opener)
        elif found[3]:
            at = found.end()
    return openers


def _word_end(text: str, at: int) -> int:
    quote = ""
    while at < len(text):
        char = text[at]
        if char == "\\" and quote != "'":
            at += 1
        elif quote:
            quote = "" if char == quote else quote
        elif char in "'\"":
            quote = char
        elif char in SPACE:
            break
        at += 1
    return min(at, len(text))


def _opener(found: re.Match[str], word: str, start: int, end: int) -> Opener | None:
    if not word or "<" in word:
        return None
    if found[3] and (not _SPACED_NAME.match(word) or ")" in word):
        return None
    name = _unquoted(word)
    if not name or "\n" in name or len(found[1]) > 9:
        return None
    bare = re.sub(r"\\.", "", word)
    quoted = "'" in bare or '"' in bare
    descriptor = int(found[1] or "0")
    return Opener(start, end, name, not quoted, found[2] == "-", descriptor)


def _unquoted(word: str) -> str:
    """The word without its quotes and escapes, variables left alone; "" when a quote is not closed."""
    name: list[str] = []
    quote = ""
    characters = iter(word)
    for char in characters:
        if char == "\\" and quote != "'":
            escaped = next(characters, "")
            name.append(escaped if not quote or escaped in '"$\\' else char + escaped)
        elif char == quote:
            quote = ""
        elif not quote and char in "'\"":
            quote = char
        else:
            name.append(char)
    return "" if quote else "".join(name)
