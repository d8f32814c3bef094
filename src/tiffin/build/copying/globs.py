"""Wildcards of COPY and ADD: Go's `filepath.Match`, one path component at a time.

`*` any run of characters but `/`, `?` one, `[a-z]` and `[^a-z]` a class, `\\` takes the next one literally.
"""

from __future__ import annotations

import re
from functools import lru_cache

from tiffin.errors import InvalidArgument

_MAGIC = re.compile(r"[*?\[\\]")


def has_wildcard(pattern: str) -> bool:
    """Whether matching is needed at all; an escape counts, for it has to be taken out."""
    return _MAGIC.search(pattern) is not None


@lru_cache(maxsize=256)
def component_matcher(pattern: str) -> re.Pattern[str]:
    """A compiled matcher (use `fullmatch`) of one component. InvalidArgument for an unfinished class or
    escape."""
    segments = [""]  # what stands between the stars; each matches a fixed number of characters
    at = 0
    while at < len(pattern):
        char = pattern[at]
        at += 1
        if char == "*":
            segments.append("")
        elif char == "?":
            segments[-1] += "."
        elif char == "[":
            text, at = _class(pattern, at)
            segments[-1] += text
        elif char == "\\":
            if at == len(pattern):
                raise InvalidArgument(f"bad wildcard pattern {pattern!r}: nothing after the last backslash")
            segments[-1] += re.escape(pattern[at])
            at += 1
        else:
            segments[-1] += re.escape(char)
    if len(segments) == 1:
        return re.compile(segments[0], re.DOTALL)
    first, *middle, last = segments
    # The leftmost place of each segment is always right, so none is ever tried again: linear, whatever the
    # pattern.
    inner = "".join(f"(?>.*?{segment})" for segment in middle if segment)
    return re.compile(f"{first}{inner}.*{last}", re.DOTALL)


def _class(pattern: str, at: int) -> tuple[str, int]:
    """The regular expression of the class that begins before `at`, and where it ends."""
    bad = InvalidArgument(
        f"bad wildcard pattern {pattern!r}: the [ is not closed; write \\[ for a literal one"
    )
    negated = pattern[at : at + 1] == "^"
    at += negated
    parts: list[str] = []
    while True:
        if at >= len(pattern):
            raise bad
        if pattern[at] == "]" and parts:
            break
        low, at = _class_char(pattern, at, bad)
        high = low
        if pattern[at : at + 1] == "-":
            high, at = _class_char(pattern, at + 1, bad)
        if low <= high:
            parts.append(f"{re.escape(low)}-{re.escape(high)}")
        else:  # Go: an empty range matches nothing
            parts.append("")
    body = "".join(parts)
    if not body:
        return ("." if negated else "(?!)"), at + 1
    return f"[{'^' if negated else ''}{body}]", at + 1


def _class_char(pattern: str, at: int, bad: InvalidArgument) -> tuple[str, int]:
    if at < len(pattern) and pattern[at] == "\\":
        at += 1
    elif at < len(pattern) and pattern[at] in "-]":
        raise bad
    if at >= len(pattern):
        raise bad
    return pattern[at], at + 1
