"""A template's text to tokens, in one pass (Go's text/template/parse, lex.go, states its rules)."""

import re

from tiffin.typed import Final, NamedTuple


class Kind:
    """What a token is. Those named by one word are shown by it in errors."""

    TEXT: Final = "text"
    LEFT: Final = "left"
    RIGHT: Final = "right"
    SPACE: Final = "space"
    FIELD: Final = "field"
    DOT: Final = "dot"
    VARIABLE: Final = "variable"
    IDENTIFIER: Final = "identifier"
    KEYWORD: Final = "keyword"
    BOOL: Final = "bool"
    NIL: Final = "nil"
    NUMBER: Final = "number"
    STRING: Final = "string"
    CHARACTER: Final = "character"
    OPEN: Final = "("
    CLOSE: Final = ")"
    PIPE: Final = "|"
    ASSIGN: Final = "="
    DECLARE: Final = ":="
    COMMA: Final = ","
    ERROR: Final = "error"
    END: Final = "EOF"


class Token(NamedTuple):
    """A piece of the template: its text, where it begins, and in which line (from 1)."""

    kind: str
    text: str
    at: int
    line: int

    def __str__(self) -> str:
        """As Go's errors show it."""
        if self.kind == Kind.END:
            return "EOF"
        if self.kind == Kind.ERROR:
            return self.text
        if self.kind in (Kind.KEYWORD, Kind.DOT, Kind.NIL):
            return f"<{self.text}>"
        return quoted(self.text[:10]) + "..." if len(self.text) > 10 else quoted(self.text)


KEYWORDS: Final = frozenset(
    ("block", "break", "continue", "define", "else", "end", "if", "range", "template", "with")
)
_SPACES: Final = " \t\r\n"
_NUMBER: Final = re.compile(
    r"[+-]?(?:0[xX][0-9a-fA-F_]*(?:\.[0-9a-fA-F_]*)?(?:[pP][+-]?[0-9_]*)?|0[bB][01_]*|0[oO][0-7_]*"
    r"|[0-9_]*(?:\.[0-9_]*)?(?:[eE][+-]?[0-9_]*)?)i?"
)
_STRING: Final = re.compile(r'"(?:[^"\\\n]|\\[^\n])*"')
_CHARACTER: Final = re.compile(r"'(?:[^'\\\n]|\\[^\n])*'")
_SINGLE: Final = {"|": Kind.PIPE, "=": Kind.ASSIGN, ",": Kind.COMMA}


def quoted(text: str) -> str:
    """Go's %q: double quotes, what is not printable escaped."""
    return '"' + "".join(map(_escaped, text)) + '"'


def _escaped(character: str) -> str:
    named = {
        '"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r",
        "\a": "\\a", "\b": "\\b", "\f": "\\f", "\v": "\\v",
    }  # fmt: skip
    if character in named:
        return named[character]
    code = ord(character)
    if character.isprintable():
        return character
    if code < 0x80:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def tokens(text: str) -> list[Token]:
    """The tokens, the last an END or, where the text is wrong, an ERROR."""
    lexer = _Lexer(text)
    try:
        lexer.run()
    except _WrongError as error:
        lexer.found.append(Token(Kind.ERROR, str(error), lexer.at, lexer.line))
    return lexer.found


class _WrongError(Exception):
    """The text is wrong at the lexer's place."""


class _Lexer:
    def __init__(self, text: str) -> None:
        self.text = text
        self.found: list[Token] = []
        self.at = 0
        self.line = 1
        self._depth = 0

    def run(self) -> None:
        """Text and actions in turn."""
        trim = False
        while True:
            start = self.text.find("{{", self.at)
            end = len(self.text) if start < 0 else start
            trim_left = start >= 0 and self.text[start + 2 : start + 3] == "-" and self._is_space(start + 3)
            self._take_text(end, trim, trim_left)
            if start < 0:
                self._emit(Kind.END, self.at)
                return
            after = start + 2 + (2 if trim_left else 0)
            if self.text.startswith("/*", after):
                trim = self._comment(after)
                continue
            self._emit(Kind.LEFT, start + 2)
            self._advance(after)
            trim = self._action()

    def _take_text(self, end: int, trim_before: bool, trim_after: bool) -> None:
        piece = self.text[self.at : end]
        kept = piece.lstrip(_SPACES) if trim_before else piece
        kept = kept.rstrip(_SPACES) if trim_after else kept
        if kept:
            self.found.append(Token(Kind.TEXT, kept, self.at, self.line))
        self._advance(end)

    def _comment(self, start: int) -> bool:
        """Skip `/* ... */}}`; whether the text behind it is trimmed."""
        end = self.text.find("*/", start + 2)
        if end < 0:
            raise _WrongError("unclosed comment")
        self._advance(end + 2)
        trim = self._trim_right()
        if not trim and not self.text.startswith("}}", self.at):
            raise _WrongError("comment ends before closing delimiter")
        self._advance(self.at + (4 if trim else 2))
        return trim

    def _action(self) -> bool:
        """Tokens up to the closing delimiter; whether the text behind it is trimmed."""
        self._depth = 0
        while True:
            trim = self._trim_right()
            if trim or self.text.startswith("}}", self.at):
                if self._depth:
                    raise _WrongError("unclosed left paren")
                self._advance(self.at + (2 if trim else 0))
                self._emit(Kind.RIGHT, self.at + 2)
                return trim
            if self.at >= len(self.text):
                raise _WrongError("unclosed action")
            self._inside(self.text[self.at])

    def _inside(self, character: str) -> None:
        if character in _SPACES:
            self._space()
        elif character in _SINGLE:
            self._emit(_SINGLE[character], self.at + 1)
        elif character == ":":
            if not self.text.startswith(":=", self.at):
                raise _WrongError("expected :=")
            self._emit(Kind.DECLARE, self.at + 2)
        elif character in "\"'`":
            self._quoted(character)
        elif character == "$":
            self._word(Kind.VARIABLE)
        elif character in "+-0123456789" or (character == "." and self._digit(self.at + 1)):
            self._number()
        elif character == ".":
            self._word(Kind.FIELD)
        elif _is_word(character):
            self._word("")
        elif character == "(":
            self._depth += 1
            self._emit(Kind.OPEN, self.at + 1)
        elif character == ")":
            self._depth -= 1
            if self._depth < 0:
                raise _WrongError("unexpected right paren")
            self._emit(Kind.CLOSE, self.at + 1)
        elif character.isascii() and character.isprintable():
            self._emit(character, self.at + 1)
        else:
            raise _WrongError(f"unrecognized character in action: {_unicode(character)}")

    def _space(self) -> None:
        end = self.at
        while self._is_space(end):
            end += 1
        if self.text.startswith("-}}", end):  # the last space belongs to the trim marker
            end -= 1
        if end > self.at:
            self._emit(Kind.SPACE, end)

    def _word(self, kind: str) -> None:
        """`.field`, `$variable`, or a bare word."""
        end = self.at + (1 if kind else 0)
        while end < len(self.text) and _is_word(self.text[end]):
            end += 1
        word = self.text[self.at : end]
        if not self._terminated(end):
            raise _WrongError(f"bad character {_unicode(self.text[end])}")
        if kind == Kind.FIELD and word == ".":
            kind = Kind.DOT
        elif not kind:
            kind = Kind.KEYWORD if word in KEYWORDS else _CONSTANTS.get(word, Kind.IDENTIFIER)
        self._emit(kind, end)

    def _number(self) -> None:
        match = _NUMBER.match(self.text, self.at)
        end = match.end() if match else self.at
        if end == self.at or (end < len(self.text) and _is_word(self.text[end])):
            end = min(end + 1, len(self.text))
            raise _WrongError(f"bad number syntax: {quoted(self.text[self.at : end])}")
        if self.text[end : end + 1] in ("+", "-"):  # it could only be a complex one
            match = _NUMBER.match(self.text, end)
            end = match.end() if match else end + 1
            raise _WrongError(f"bad number syntax: {quoted(self.text[self.at : end])}")
        self._emit(Kind.NUMBER, end)

    def _quoted(self, mark: str) -> None:
        if mark == "`":
            end = self.text.find("`", self.at + 1)
            if end < 0:
                raise _WrongError("unterminated raw quoted string")
            self._emit(Kind.STRING, end + 1)
            return
        match = (_STRING if mark == '"' else _CHARACTER).match(self.text, self.at)
        if match is None:
            what = "quoted string" if mark == '"' else "character constant"
            raise _WrongError(f"unterminated {what}")
        self._emit(Kind.STRING if mark == '"' else Kind.CHARACTER, match.end())

    def _terminated(self, at: int) -> bool:
        """Whether a word may end before `at`."""
        if at >= len(self.text) or self.text[at] in _SPACES or self.text[at] in ".,|:)(":
            return True
        return self.text.startswith("}}", at)

    def _trim_right(self) -> bool:
        return self._is_space(self.at) and self.text.startswith("-}}", self.at + 1)

    def _is_space(self, at: int) -> bool:
        return at < len(self.text) and self.text[at] in _SPACES

    def _digit(self, at: int) -> bool:
        return self.text[at : at + 1] in tuple("0123456789")

    def _emit(self, kind: str, end: int) -> None:
        self.found.append(Token(kind, self.text[self.at : end], self.at, self.line))
        self._advance(end)

    def _advance(self, to: int) -> None:
        self.line += self.text.count("\n", self.at, to)
        self.at = to


_CONSTANTS: Final = {"true": Kind.BOOL, "false": Kind.BOOL, "nil": Kind.NIL}


def _is_word(character: str) -> bool:
    return character == "_" or character.isalpha() or character.isdecimal()


def _unicode(character: str) -> str:
    shown = f" '{character}'" if character.isprintable() else ""
    return f"U+{ord(character):04X}{shown}"
