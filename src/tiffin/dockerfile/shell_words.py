"""Docker's shell words: quotes, escapes and `$variables` in the arguments of a Dockerfile's instructions.

    expand(word, env) -> str            the whole text evaluated; spaces stay as they are
    expand_words(text, env) -> list     evaluated, then split at spaces neither quoted nor escaped
    expand_document(text, env) -> str   a here-document: variables and escapes; quotes are ordinary there
    split_words(text) -> list           split only: quotes, escapes and variables stay for a later `expand`

Substitutions (Dockerfile reference, "Environment replacement"): `$v ${v} ${v:-w} ${v-w} ${v:+w} ${v+w}
${v:?w} ${v?w} ${v#p} ${v##p} ${v%p} ${v%%p} ${v/p/w} ${v//p/w}`, where a word may hold further substitutions.
Unset variables are empty. Patterns know `*` and `?`, and neither crosses a newline.

Time is linear in text and values. Nesting, patterns and results are bounded: an ENV that doubles itself on
each line would otherwise fill the memory. Every refusal is a `WordError`.
"""

from __future__ import annotations

import re

from tiffin.dockerfile import glob
from tiffin.errors import InvalidArgument
from tiffin.typed import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

DEFAULT_ESCAPE = "\\"
MAX_DEPTH = 64
MAX_RESULT = 1 << 20

SPACE = (
    "\t\n\v\f\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000"
)
"""What the reference implementation (Go's unicode.IsSpace) takes for white space; Python's own set is larger.
"""

_SPACES = frozenset(SPACE)
_WORD_BREAK = re.compile(f"[{SPACE}]+")
_NAME = re.compile(r"[0-9]+|[@*#?$!-]|[^\W\d]\w*")


class WordError(InvalidArgument):
    """A word that cannot be evaluated. The caller adds file, line and instruction."""


class Watched(dict[str, str]):
    """An environment that takes down what was asked of it in vain. A copy of a watched one notes in the same place.

    missing    each name; True for one asked by `$v`, `${v}`, `${v#p}`, `${v%p}` or `${v/p/w}`, False where the form
               says itself what an unset variable means
    """

    def __init__(self, env: Mapping[str, str]) -> None:
        super().__init__(env)
        self.missing: dict[str, bool] = env.missing if isinstance(env, Watched) else {}

    def get(self, name: str, default: Any = None, /) -> Any:
        """As of any dict."""
        if name not in self:
            self.missing.setdefault(name, False)
        return super().get(name, default)

    @property
    def undefined(self) -> tuple[str, ...]:
        """The names that were taken for set."""
        return tuple(name for name, plain in self.missing.items() if plain)


def expand(word: str, env: Mapping[str, str], escape: str = DEFAULT_ESCAPE) -> str:
    """Evaluate `word` as one word: quotes and escapes removed, variables replaced."""
    return _Lexer(word, env, escape).run()[0]


def expand_words(text: str, env: Mapping[str, str], escape: str = DEFAULT_ESCAPE) -> list[str]:
    """Evaluate `text`, then split it; what came from a variable is split too, unless it stood in quotes."""
    return _Lexer(text, env, escape).run()[1]


def expand_document(text: str, env: Mapping[str, str]) -> str:
    """Evaluate a here-document. Its escape character is always the backslash, gone wherever it stands."""
    return _Lexer(text, env, DEFAULT_ESCAPE, quotes=False).run()[0]


def split_words(text: str, escape: str = DEFAULT_ESCAPE) -> list[str]:
    """Split at unquoted, unescaped white space. An unclosed quote runs to the end: `expand` refuses it."""
    words: list[str] = []
    current: list[str] = []
    quote = ""
    position, end = 0, len(text)
    while position < end:
        char = text[position]
        position += 1
        if not quote and char in _SPACES:
            if current:
                words.append("".join(current))
                current = []
            continue
        if char == escape and quote != "'":
            if position == end:
                break  # an escape with nothing behind it means nothing
            current.append(char + text[position])
            position += 1
            continue
        if quote:
            quote = "" if char == quote else quote
        elif char in "'\"":
            quote = char
        current.append(char)
    if current:
        words.append("".join(current))
    return words


class _Output:
    """The text made so far, and the same cut into words."""

    __slots__ = ("_room", "text", "word", "words")

    def __init__(self, room: int) -> None:
        self.text: list[str] = []
        self.words: list[str] = []
        self.word: list[str] = []
        self._room = room

    def solid(self, part: str) -> None:
        """Add what was quoted or escaped: white space in it does not end a word."""
        self._room -= len(part)
        if self._room < 0:
            raise WordError(f"expands to more than {MAX_RESULT} characters")
        self.text.append(part)
        self.word.append(part)

    def loose(self, part: str) -> None:
        """Add what may hold white space between words."""
        self._room -= len(part)
        if self._room < 0:
            raise WordError(f"expands to more than {MAX_RESULT} characters")
        self.text.append(part)
        pieces = _WORD_BREAK.split(part)
        for index, piece in enumerate(pieces):
            if index:
                self._finish()
            self.word.append(piece)

    def _finish(self) -> None:
        word = "".join(self.word)
        if word:
            self.words.append(word)
        self.word = []

    def result(self) -> tuple[str, list[str]]:
        self._finish()
        return "".join(self.text), self.words


class _Lexer:
    """One pass over a text. `quotes` False leaves quotes alone (here-documents)."""

    def __init__(self, text: str, env: Mapping[str, str], escape: str, *, quotes: bool = True) -> None:
        self._text, self._env, self._escape, self._quotes = text, env, escape, quotes
        stops = f"$}}/{re.escape(escape)}" + ("'\"" if quotes else "")
        self._plain = re.compile(f"[^{stops}]+")  # compiled once: `re` remembers
        self._at = 0
        self._depth = 0

    def run(self) -> tuple[str, list[str]]:
        return self._until("", keep_escapes=False)

    def _peek(self) -> str:
        return self._text[self._at : self._at + 1]

    def _next(self) -> str:
        char = self._text[self._at : self._at + 1]
        self._at += 1
        return char

    def _until(self, stop: str, *, keep_escapes: bool) -> tuple[str, list[str]]:
        """Evaluate up to and past the character `stop`, or to the end when it is ""."""
        out = _Output(MAX_RESULT)
        while self._at < len(self._text):
            plain = self._plain.match(self._text, self._at)
            if plain:
                self._at = plain.end()
                out.loose(plain.group())
                continue
            char = self._peek()
            if char == stop:
                self._at += 1
                return out.result()
            if char == "$":
                out.loose(self._dollar())
            elif char == "'" and self._quotes:
                out.solid(self._single_quoted())
            elif char == '"' and self._quotes:
                out.solid(self._double_quoted(keep_escapes=keep_escapes))
            elif char == self._escape:
                self._at += 1
                if keep_escapes:
                    out.solid(char)
                out.solid(self._next())
            else:
                self._at += 1
                out.loose(char)
        if stop:
            raise WordError(f"no closing '{stop}' of a '${{'")
        return out.result()

    def _single_quoted(self) -> str:
        end = self._text.find("'", self._at + 1)
        if end < 0:
            raise WordError("no closing single quote")
        quoted = self._text[self._at + 1 : end]
        self._at = end + 1
        return quoted

    def _double_quoted(self, *, keep_escapes: bool) -> str:
        self._at += 1
        out = _Output(MAX_RESULT)
        while self._at < len(self._text):
            plain = self._plain.match(self._text, self._at)
            if plain:
                self._at = plain.end()
                out.solid(plain.group())
                continue
            char = self._peek()
            if char == '"':
                self._at += 1
                return out.result()[0]
            if char == "$":
                out.solid(self._dollar())
                continue
            self._at += 1
            if char == self._escape:
                if keep_escapes:
                    out.solid(char)
                if self._peek() in ('"', "$", self._escape):  # before anything else it stands for itself
                    char = self._next()
            out.solid(char)
        raise WordError("no closing double quote")

    def _dollar(self) -> str:
        self._at += 1
        if self._peek() != "{":
            name = self._name()
            return self._value(name) if name else "$"
        self._at += 1
        if self._peek() in ("{", "}", ":"):
            raise WordError("bad substitution: '${' needs a variable's name")
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise WordError(f"more than {MAX_DEPTH} substitutions inside one another")
        value = self._substitution(self._name())
        self._depth -= 1
        return value

    def _value(self, name: str) -> str:
        value = self._env.get(name)
        if value is None and isinstance(self._env, Watched):
            self._env.missing[name] = True
        return value or ""

    def _name(self) -> str:
        found = _NAME.match(self._text, self._at)
        if not found:
            return ""
        self._at = found.end()
        return found.group()

    def _substitution(self, name: str) -> str:
        """What follows the name in `${name...}`, the closing brace included."""
        operator = self._next()
        if operator == "}":
            return self._value(name)
        if operator == "":
            raise WordError("no closing '}' of a '${'")
        if operator == "/":
            return self._replace(name)
        value = self._env.get(name)
        if operator == ":":
            operator = self._next()
            if value == "" and operator in ("+", "-"):
                value = None
            elif operator == "?":
                return self._required(name, value, empty_too=True)
        if operator == "?":
            return self._required(name, value, empty_too=False)
        if operator in ("#", "%"):
            return self._trim(operator, self._value(name))
        if operator not in ("+", "-"):
            raise WordError(f"unknown modifier {operator!r} in '${{{name}...}}'")
        word = self._until("}", keep_escapes=False)[0]
        if operator == "-":
            return word if value is None else value
        return "" if value is None else word

    def _required(self, name: str, value: str | None, *, empty_too: bool) -> str:
        word = self._until("}", keep_escapes=False)[0]
        if value is None:
            raise WordError(f"{name}: {word or 'is not allowed to be unset'}")
        if empty_too and not value:
            raise WordError(f"{name}: {word or 'is not allowed to be empty'}")
        return value

    def _trim(self, operator: str, value: str) -> str:
        longest = self._peek() == operator
        if longest:
            self._at += 1
        pattern = self._pattern(self._until("}", keep_escapes=True)[0])
        if operator == "#":
            return value[pattern.prefix(value, longest=longest) :]
        return value[: pattern.suffix(value, longest=longest)]

    def _replace(self, name: str) -> str:
        every = self._peek() == "/"
        if every:
            self._at += 1
        pattern = self._pattern(self._until("/", keep_escapes=True)[0])
        replacement = self._until("}", keep_escapes=True)[0]
        value = self._value(name)
        return _bounded_join(_replaced(value, pattern, replacement, every=every))

    def _pattern(self, text: str) -> glob.ShellPattern:
        try:
            return glob.ShellPattern(text)
        except ValueError as error:
            raise WordError(str(error)) from error


def _replaced(value: str, pattern: glob.ShellPattern, replacement: str, *, every: bool) -> Iterable[str]:
    at = 0
    while at <= len(value) and (found := pattern.search(value, at)) is not None:
        start, end = found
        yield value[at:start]
        if start == end:  # `*` met an empty line: nothing to replace there
            yield value[start : start + 1]
            at = start + 1
            continue
        yield replacement
        at = end
        if not every:
            break
    yield value[at:]


def _bounded_join(parts: Iterable[str]) -> str:
    kept: list[str] = []
    room = MAX_RESULT
    for part in parts:
        room -= len(part)
        if room < 0:
            raise WordError(f"expands to more than {MAX_RESULT} characters")
        kept.append(part)
    return "".join(kept)
