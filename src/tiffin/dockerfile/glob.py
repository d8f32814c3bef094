"""Patterns without backtracking: the `*` and `?` of `${v#p}` and `${v/p/w}`.

A pattern is cut at its stars into pieces of fixed length. Placing each piece as early as it goes (and the
last as late as it goes, where the longest match is wanted) finds every match that backtracking would, in one
pass.
"""

from __future__ import annotations

import re

MAX_PATTERN = 1024


class ShellPattern:
    """`*` is any run and `?` any one character, never a newline; a backslash takes `* ? \\ } /` literally.

    Raises ValueError for another escape, and for a pattern longer than MAX_PATTERN: its length multiplies the
    time.
    """

    __slots__ = ("_backwards", "_pieces")

    def __init__(self, text: str) -> None:
        if len(text) > MAX_PATTERN:
            raise ValueError(f"pattern longer than {MAX_PATTERN} characters")
        pieces = _pieces(text)
        self._pieces = [_compile(piece) for piece in pieces]
        self._backwards = [_compile(piece[::-1]) for piece in reversed(pieces)]

    def prefix(self, value: str, *, longest: bool) -> int:
        """Where the shortest or longest match at the start of `value` ends; 0 when there is none."""
        return max(_match(self._pieces, value, 0, longest=longest), 0)

    def suffix(self, value: str, *, longest: bool) -> int:
        """Where the shortest or longest match at the end of `value` begins; its length when there is none."""
        return len(value) - max(_match(self._backwards, value[::-1], 0, longest=longest), 0)

    def search(self, value: str, start: int) -> tuple[int, int] | None:
        """The first match at or after `start`, the longest there, as (begin, end)."""
        first = self._pieces[0]
        while (found := first.search(value, start)) is not None:
            end = _match(self._pieces, value, found.start(), longest=True)
            if end >= 0:
                return found.start(), end
            # Later on the same line less follows, so what failed here fails there too.
            newline = value.find("\n", found.end())
            if newline < 0:
                return None
            start = max(found.start() + 1, newline + 1 - (found.end() - found.start()))
            if start > len(value):
                return None
        return None


def _pieces(text: str) -> list[list[str | None]]:
    """The pattern cut at its stars; None stands for `?`."""
    pieces: list[list[str | None]] = [[]]
    characters = iter(text)
    for char in characters:
        if char == "*":
            pieces.append([])
        elif char == "?":
            pieces[-1].append(None)
        elif char == "\\":
            escaped = next(characters, "")
            if escaped not in ("*", "?", "\\", "}", "/"):
                raise ValueError(f"invalid escape '\\{escaped}' in the pattern of a substitution")
            pieces[-1].append(escaped)
        else:
            pieces[-1].append(char)
    return pieces


def _compile(piece: list[str | None]) -> re.Pattern[str]:
    return re.compile("".join("[^\n]" if char is None else re.escape(char) for char in piece))


def _match(pieces: list[re.Pattern[str]], value: str, start: int, *, longest: bool) -> int:
    """The end of a match that begins at `start`, or -1."""
    found = pieces[0].match(value, start)
    if found is None:
        return -1
    for piece in pieces[1:-1]:
        found = _after_star(piece, value, found.end())
        if found is None:
            return -1
    if len(pieces) == 1:
        return found.end()
    if longest:
        return _last_after_star(pieces[-1], value, found.end())
    found = _after_star(pieces[-1], value, found.end())
    return -1 if found is None else found.end()


def _after_star(piece: re.Pattern[str], value: str, start: int) -> re.Match[str] | None:
    """The earliest `piece` that a star from `start` reaches on its line."""
    found = piece.search(value, start)
    if found is None or value.find("\n", start, found.start()) >= 0:
        return None
    return found


def _last_after_star(piece: re.Pattern[str], value: str, start: int) -> int:
    """Where the latest `piece` ends that a star from `start` reaches on its line, or -1."""
    line_end = value.find("\n", start)
    if line_end < 0:
        line_end = len(value)
    if not piece.pattern:
        return line_end
    for begin in range(line_end, start - 1, -1):
        found = piece.match(value, begin)
        if found is not None:
            return found.end()
    return -1
