"""One pattern of a `.dockerignore`, compiled to a test of a path that never backtracks far.

A pattern is cut at its `**` into blocks and each block at its `*` into pieces of fixed length. Where the
first place that a piece fits is also the best one, an atomic group holds it there. The few patterns for which
that is not so (`a**b` inside a component, a class that takes a slash beside a star) are walked with a set of
positions instead.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import pairwise

from tiffin.typed import NamedTuple

MAX_PATTERN = 4096
MAX_WALKED = 256

Matcher = Callable[[str], bool]

_SPECIAL = re.compile(r"[*?\[\]\\]")


class Token(NamedTuple):
    """`kind` is "one" (a single character, `text` its regular expression), "star" (`*`), "deep" (`**` before
    more:
    nothing, or anything that ends in a slash) or "tail" (`**` at the end: anything)."""

    kind: str
    text: str = ""
    takes_slash: bool = False


def matcher(pattern: str) -> Matcher:
    """The test for a cleaned pattern. Raises ValueError when it is malformed."""
    if len(pattern) > MAX_PATTERN:
        raise ValueError(f"pattern longer than {MAX_PATTERN} characters")
    tokens = tokenize(pattern)
    simple = _simple(pattern)
    if simple is not None:
        return simple
    if _regular(tokens):
        compiled = re.compile(_expression(tokens))
        return lambda path: compiled.fullmatch(path) is not None
    if len(tokens) > MAX_WALKED:
        raise ValueError(f"pattern longer than {MAX_WALKED} characters, with ** inside a component")
    return Walk(tokens)


def literal_prefix(pattern: str) -> str:
    """What every match of the pattern begins with, up to its first special character."""
    special = _SPECIAL.search(pattern)
    return pattern[: special.start()] if special else pattern


def _simple(pattern: str) -> Matcher | None:
    """Patterns with at most one `**`, first or last, and nothing else special."""
    if pattern.startswith("**"):
        rest = pattern[2:]
        if _SPECIAL.search(rest):
            return None
        return lambda path: path.endswith(rest) or (rest.startswith("/") and path == rest[1:])
    if pattern.endswith("**") and not _SPECIAL.search(pattern[:-2]):
        prefix = pattern[:-2]
        return lambda path: path.startswith(prefix)
    return None if _SPECIAL.search(pattern) else (lambda path: path == pattern)


def tokenize(pattern: str) -> list[Token]:
    """Raises ValueError for an unclosed or empty class, a reversed range, or an escape of nothing."""
    tokens: list[Token] = []
    at = 0
    while at < len(pattern):
        char = pattern[at]
        at += 1
        if pattern.startswith("**", at - 1):
            at += 1
            at += pattern.startswith("/", at)
            tokens.append(Token("deep" if at < len(pattern) else "tail"))
        elif char == "*":
            tokens.append(Token("star"))
        elif char == "?":
            tokens.append(Token("one", "[^/]"))
        elif char == "[":
            token, at = _class(pattern, at)
            tokens.append(token)
        else:
            if char == "\\":
                char = pattern[at : at + 1]
                at += 1
                if not char:
                    raise ValueError("syntax error in pattern: nothing behind the last backslash")
            tokens.append(Token("one", re.escape(char), char == "/"))
    return tokens


def _class(pattern: str, at: int) -> tuple[Token, int]:
    """A `[...]` whose first character is at `at`, and where it ends."""
    negated = pattern.startswith("^", at)
    at += negated
    ranges: list[tuple[str, str]] = []
    while not (ranges and pattern.startswith("]", at)):
        low, at = _class_char(pattern, at)
        high = low
        if pattern.startswith("-", at):
            high, at = _class_char(pattern, at + 1)
        if low > high:
            raise ValueError("syntax error in pattern: a range in [] ends before it begins")
        ranges.append((low, high))
    members = "".join(f"{re.escape(low)}-{re.escape(high)}" for low, high in ranges)
    slash = any(low <= "/" <= high for low, high in ranges) != negated
    return Token("one", f"[{'^' * negated}{members}]", slash), at + 1


def _class_char(pattern: str, at: int) -> tuple[str, int]:
    if pattern.startswith("\\", at):
        at += 1
    elif pattern[at : at + 1] in ("-", "]"):
        raise ValueError("syntax error in pattern: - and ] need a backslash in []")
    char = pattern[at : at + 1]
    if not char or at + 1 >= len(pattern):
        raise ValueError("syntax error in pattern: no closing ]")
    return char, at + 1


def _regular(tokens: list[Token]) -> bool:
    """Whether placing each piece as early as it fits finds a match whenever there is one."""
    loose_class = any(token.takes_slash and token.text.startswith("[") for token in tokens)
    if loose_class and any(token.kind != "one" for token in tokens):
        return False
    before_deep = [left for left, right in pairwise(tokens) if right.kind == "deep"]
    return all(token.kind in ("one", "deep") and token.text in ("", "/") for token in before_deep)


def _expression(tokens: list[Token]) -> str:
    blocks: list[list[Token]] = [[]]
    for token in tokens:
        if token.kind == "deep":
            blocks.append([])
        else:
            blocks[-1].append(token)
    expression = "".join(_block(block) for block in blocks[:1])
    for block in blocks[1:-1]:
        expression += f"(?>(?:.*?/)??{_block(block)})"
    if len(blocks) > 1:
        expression += f"(?:.*/)?{_block(blocks[-1])}"
    return expression


def _block(tokens: list[Token]) -> str:
    """Pieces between stars, each but the last one held where it first fits."""
    tail = bool(tokens) and tokens[-1].kind == "tail"
    pieces = [""]
    for token in tokens:
        if token.kind == "star":
            pieces.append("")
        elif token.kind == "one":
            pieces[-1] += token.text
    middle = "".join(f"(?>[^/]*?{piece})" for piece in pieces[1:-1] if piece)
    last = f"[^/]*{pieces[-1]}" if len(pieces) > 1 else ""
    return pieces[0] + middle + last + (".*" if tail else "")


class Walk:
    """The slow and certain way: all positions of the pattern at once, as bits, one step a character."""

    def __init__(self, tokens: list[Token]) -> None:
        self._end = 1 << len(tokens)
        self._stars = self._places(tokens, "star")
        self._tails = self._places(tokens, "tail")
        self._deeps = self._places(tokens, "deep")
        self._free = self._stars | self._tails | self._deeps
        self._ones = [
            (1 << index, re.compile(token.text)) for index, token in enumerate(tokens) if token.kind == "one"
        ]
        self._taking: dict[str, int] = {}

    @staticmethod
    def _places(tokens: list[Token], kind: str) -> int:
        return sum(1 << index for index, token in enumerate(tokens) if token.kind == kind)

    def __call__(self, path: str) -> bool:
        at = self._settled(1)
        under_way = 0  # each `**` that has taken something and not yet come to a slash
        for char in path:
            following = (at & self._takers(char)) << 1
            if char != "/":
                following |= at & self._stars
            if char == "\n":
                under_way = 0
            else:
                following |= at & self._tails
                under_way |= at & self._deeps
                if char == "/":
                    following |= under_way << 1
            at = self._settled(following)
            if not at | under_way:
                return False
        return bool(at & self._end)

    def _takers(self, char: str) -> int:
        """The positions whose single character `char` can be."""
        known = self._taking.get(char)
        if known is None:
            known = sum(place for place, one in self._ones if one.fullmatch(char))
            if len(self._taking) < 1024:
                self._taking[char] = known
        return known

    def _settled(self, at: int) -> int:
        """With the positions reached without a character: past stars, and past `**` that takes nothing."""
        while (further := at | (at & self._free) << 1) != at:
            at = further
        return at
