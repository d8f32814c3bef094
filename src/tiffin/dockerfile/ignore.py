"""`.dockerignore`: which files of a context directory are left out, with Docker's rules.

A line is a pattern: `*` and `?` and `[classes]` within a path component, `**` across them, `!` before an
exception, `#` first on the line a comment. Leading and trailing slashes mean nothing, `.` and `/` match
nothing. The last line that matches decides, and what matched a directory holds for all below it, until a
later line matches more closely.

    rules = IgnoreRules.parse(data) rules.ignored("src/a.o")            leave it out?
    rules.may_include_below("vendor")   when a directory is left out: is it still worth walking, for an
    exception?

Matching is linear in the path: hostile patterns cost no more than the honest ones. Go's and Docker's
peculiarities are kept where a pattern in use could depend on them: `foo**` matches `foobar/x`, `**foo`
matches `x/barfoo`, and a negated class may match a slash.
"""

from __future__ import annotations

import posixpath

from tiffin.dockerfile.ignore_pattern import Matcher, literal_prefix, matcher
from tiffin.dockerfile.place import Place, shown
from tiffin.dockerfile.shell_words import SPACE
from tiffin.typed import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_BYTES = 1 << 20
MAX_RULES = 10_000
_MAX_CACHED = 4096
_BOM = b"\xef\xbb\xbf"


class Rule(NamedTuple):
    """One line that means something. `pattern` is cleaned and without its `!`."""

    line: int
    pattern: str
    exception: bool
    matches: Matcher


class IgnoreRules:
    """The rules of one file, in order. Without any, nothing is ignored. Not shared between threads: it
    caches.
    """

    def __init__(self, rules: tuple[Rule, ...] = ()) -> None:
        self.rules = rules
        self._below = tuple(literal_prefix(rule.pattern) for rule in rules if rule.exception)
        self._seen: dict[str, tuple[bool, int]] = {}

    @classmethod
    def parse(cls, data: bytes, filename: str = ".dockerignore") -> IgnoreRules:
        """Raises DockerfileError, naming the line, for a malformed pattern and for a file past its bounds."""
        if len(data) > MAX_BYTES:
            raise Place(filename).error(f"larger than {MAX_BYTES} bytes")
        rules: list[Rule] = []
        text = data.removeprefix(_BOM).decode("utf-8", "surrogateescape")
        for number, line in enumerate(text.split("\n"), 1):
            pattern, exception = _cleaned(line, Place(filename, number))
            if not pattern:
                continue
            if len(rules) == MAX_RULES:
                raise Place(filename, number).error(f"more than {MAX_RULES} patterns")
            try:
                rules.append(Rule(number, pattern, exception, matcher(pattern)))
            except ValueError as error:
                raise Place(filename, number).error(f"{shown(pattern)}: {error}") from error
        return cls(tuple(rules))

    def ignored(self, path: str) -> bool:
        """Whether `path`, relative to the context and with no `.` or `..` in it, is left out."""
        return bool(self.rules) and self._decide(path)[0]

    def deciding_rule(self, path: str) -> Rule | None:
        """The rule by which `path` is left out or, an exception, kept; None when no rule speaks of it."""
        hits = self._decide(path)[1] if self.rules else 0
        return self.rules[hits.bit_length() - 1] if hits else None

    def may_include_below(self, directory: str) -> bool:
        """Whether anything below `directory` can be kept. False only when walking it would be in vain."""
        if not self.ignored(directory):
            return True
        start = directory + "/"
        return any(start.startswith(prefix) or prefix.startswith(start) for prefix in self._below)

    def _decide(self, path: str) -> tuple[bool, int]:
        """Left out or not, and the set of the rules (as bits) that matched `path` or what it lies in."""
        ignored, hits = False, 0
        for parent in _parents(path):
            known = self._seen.get(parent)
            if known is None:
                known = self._judge(parent, hits)
                if len(self._seen) >= _MAX_CACHED:
                    self._seen.clear()
                self._seen[parent] = known
            ignored, hits = known
        return self._judge(path, hits) if path else (ignored, hits)

    def _judge(self, path: str, inherited: int) -> tuple[bool, int]:
        ignored, hits = False, 0
        for index, rule in enumerate(self.rules):
            bit = 1 << index
            # As in Docker a rule that could change nothing is not asked, and so not handed down either.
            if inherited & bit or (rule.exception == ignored and rule.matches(path)):
                hits |= bit
                ignored = not rule.exception
        return ignored, hits


def _parents(path: str) -> Iterator[str]:
    at = path.find("/")
    while at >= 0:
        yield path[:at]
        at = path.find("/", at + 1)


def _cleaned(line: str, place: Place) -> tuple[str, bool]:
    """The pattern of a line, "" when it has none, and whether it is an exception."""
    if line.startswith("#"):
        return "", False
    pattern = line.strip(SPACE)
    exception = pattern.startswith("!")
    if exception:
        pattern = pattern[1:].strip(SPACE)
        if not pattern:
            raise place.error("illegal exclusion pattern: ! with nothing behind it")
    if not pattern:
        return "", False
    if "\0" in pattern:
        raise place.error("NUL character in a pattern")
    # POSIX lets normpath keep a double slash at the start; here it is one.
    absolute = pattern.startswith("/")
    pattern = posixpath.normpath("/" * absolute + pattern.lstrip("/"))
    return (pattern[1:] if absolute and len(pattern) > 1 else pattern), exception
