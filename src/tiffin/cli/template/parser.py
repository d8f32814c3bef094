"""Tokens to a syntax tree, with the error texts of Go's text/template/parse."""

import re

from tiffin.cli.template.errors import TemplateError
from tiffin.cli.template.lexer import Kind, Token, quoted, tokens
from tiffin.cli.template.literals import number, unquote
from tiffin.cli.template.nodes import (
    Action,
    Branch,
    Chain,
    Command,
    Dot,
    Field,
    Function,
    Jump,
    Literal,
    Nil,
    Pipeline,
    Range,
    Text,
    Variable,
)
from tiffin.typed import TYPE_CHECKING, Any, Final, NoReturn

if TYPE_CHECKING:
    from collections.abc import Container

LENGTH_MAX: Final = 64 * 1024
DEPTH_MAX: Final = 60
_OPERANDS: Final = frozenset(
    (
        Kind.BOOL, Kind.CHARACTER, Kind.DOT, Kind.FIELD, Kind.IDENTIFIER, Kind.NUMBER, Kind.NIL, Kind.STRING,
        Kind.VARIABLE, Kind.OPEN,
    )
)  # fmt: skip
_UNSUPPORTED: Final = frozenset(("block", "define", "template"))


def parse(text: str, functions: "Container[str]") -> tuple[Any, ...]:
    """The nodes of a template that may call `functions`. Raises TemplateError."""
    if len(text) > LENGTH_MAX:
        raise TemplateError(f"template: : longer than {LENGTH_MAX} characters")
    return _Parser(text, functions).parse()


class _Parser:
    def __init__(self, text: str, functions: "Container[str]") -> None:
        self._tokens = tokens(text)
        self._next = 0
        self._functions = functions
        self._variables = ["$"]
        self._line = 1
        self._action_line = 0
        self._loops = 0
        self._depth = 0

    def parse(self) -> tuple[Any, ...]:
        nodes, end = self._list()
        if end is not None:
            self._fail(f"unexpected {{{{{end.text}}}}}")
        return nodes

    # -- tokens ----------------------------------------------------------------------------------------------

    def _take(self) -> Token:
        token = self._tokens[min(self._next, len(self._tokens) - 1)]
        self._next += 1
        self._line = token.line
        return token

    def _take_word(self) -> Token:
        token = self._take()
        while token.kind == Kind.SPACE:
            token = self._take()
        return token

    def _peek(self) -> Token:
        return self._tokens[min(self._next, len(self._tokens) - 1)]

    def _peek_word(self) -> Token:
        while self._peek().kind == Kind.SPACE:
            self._take()
        return self._peek()

    def _fail(self, message: str) -> NoReturn:
        raise TemplateError(f"template: :{self._line}: {message}")

    def _unexpected(self, token: Token, context: str) -> NoReturn:
        self._line = token.line
        if token.kind == Kind.ERROR:
            extra = ""
            if self._action_line and self._action_line != token.line:
                extra = f" in action started at :{self._action_line}"
                if token.text.endswith(" action"):
                    extra = extra.removeprefix(" in action")
            self._fail(f"{token}{extra}")
        self._fail(f"unexpected {token} in {context}")

    def _deeper(self) -> None:
        self._depth += 1
        if self._depth > DEPTH_MAX:
            self._fail(f"nested deeper than {DEPTH_MAX}")

    # -- lists of nodes --------------------------------------------------------------------------------------

    def _list(self) -> tuple[tuple[Any, ...], Token | None]:
        """Nodes up to an {{end}} or {{else}}, which is given back with its keyword read; None at the text's end."""
        nodes: list[Any] = []
        while True:
            token = self._take()
            if token.kind == Kind.END:
                return tuple(nodes), None
            if token.kind == Kind.TEXT:
                nodes.append(Text(token.text))
                continue
            if token.kind != Kind.LEFT:
                self._unexpected(token, "input")
            self._action_line = token.line
            word = self._peek_word()
            if word.kind == Kind.KEYWORD and word.text in ("end", "else"):
                self._take()
                after = self._peek_word()
                chained = word.text == "else" and after.kind == Kind.KEYWORD and after.text in ("if", "with")
                if not chained:
                    self._expect_right(word.text)
                return tuple(nodes), word
            nodes.append(self._action(word))
            self._action_line = 0

    def _action(self, word: Token) -> Any:
        if word.kind != Kind.KEYWORD:
            return Action(self._statement())
        self._take()
        if word.text in _UNSUPPORTED:
            self._fail(f"{{{{{word.text}}}}} is not supported: write the template in one piece")
        if word.text in ("break", "continue"):
            self._expect_right(f"{{{{{word.text}}}}}")
            if not self._loops:
                self._fail(f"{{{{{word.text}}}}} outside {{{{range}}}}")
            return Jump(word.text)
        return self._control(word.text)

    def _statement(self) -> Pipeline:
        """The pipeline of a plain action: variables that it declares live on to the end of the list around it."""
        return self._pipeline("command", Kind.RIGHT)

    def _control(self, keyword: str) -> Any:
        """The rest of {{if}}, {{with}} or {{range}} to its {{end}}."""
        self._deeper()
        known = len(self._variables)
        pipeline = self._pipeline(keyword, Kind.RIGHT)
        self._loops += keyword == "range"
        body, end = self._list()
        self._loops -= keyword == "range"
        otherwise: tuple[Any, ...] = ()
        if end is not None and end.text == "else":
            otherwise, end = self._else(keyword)
        if end is None:
            self._fail("unexpected EOF")
        del self._variables[known:]
        self._depth -= 1
        return Range(pipeline, body, otherwise) if keyword == "range" else Branch(
            keyword, pipeline, body, otherwise
        )  # fmt: skip

    def _else(self, keyword: str) -> tuple[tuple[Any, ...], Token | None]:
        """After {{else: `if` makes a branch of its own that shares the end; else the list up to the end."""
        word = self._peek_word()
        if word.kind == Kind.KEYWORD and word.text == keyword and keyword in ("if", "with"):
            self._take()
            return (self._control(keyword),), Token(Kind.KEYWORD, "end", word.at, word.line)
        otherwise, end = self._list()
        if end is None:
            self._fail("unexpected EOF")
        if end.text == "else":
            self._fail("expected end; found {{else}}")
        return otherwise, end

    def _expect_right(self, context: str) -> None:
        token = self._take_word()
        if token.kind != Kind.RIGHT:
            self._unexpected(token, context)

    # -- pipelines -------------------------------------------------------------------------------------------

    def _pipeline(self, context: str, end: str) -> Pipeline:
        self._deeper()
        at = self._peek_word().at
        variables, assign = self._declarations(context)
        commands: list[Command] = []
        while True:
            token = self._take_word()
            if token.kind == end:
                break
            if token.kind not in _OPERANDS:
                self._unexpected(token, context)
            self._next -= 1
            commands.append(self._command())
        if not commands:
            self._fail(f"missing value for {context}")
        for stage, command in enumerate(commands[1:], 2):
            if isinstance(command.words[0], (Literal, Dot, Nil)):
                self._fail(f"non executable command in pipeline stage {stage}")
        self._depth -= 1
        return Pipeline(at, variables, assign, tuple(commands))

    def _declarations(self, context: str) -> tuple[tuple[str, ...], bool]:
        """`$x :=`, `$x =` and, for range, `$i, $x :=`; nothing is taken when there is none."""
        start, names = self._next, list[str]()
        while True:
            token = self._peek_word()
            if token.kind != Kind.VARIABLE:
                break
            self._take()
            after = self._peek_word()
            if after.kind in (Kind.ASSIGN, Kind.DECLARE):
                self._take()
                names.append(token.text)
                if after.kind == Kind.DECLARE:
                    self._variables += names
                return tuple(names), after.kind == Kind.ASSIGN
            if after.kind == Kind.COMMA:
                self._take()
                if context != "range" or names:
                    self._fail(f"too many declarations in {context}")
                names.append(token.text)
                if self._peek_word().kind not in (Kind.VARIABLE, Kind.RIGHT, Kind.CLOSE):
                    self._fail("range can only initialize variables")
                continue
            break
        self._next = start
        return (), False

    def _command(self) -> Command:
        at = self._peek_word().at
        words: list[Any] = []
        while True:
            self._peek_word()
            operand = self._operand()
            if operand is not None:
                words.append(operand)
            token = self._take()
            if token.kind == Kind.SPACE:
                continue
            if token.kind in (Kind.RIGHT, Kind.CLOSE):
                self._next -= 1
            elif token.kind != Kind.PIPE:
                self._unexpected(token, "operand")
            break
        if not words:
            self._fail("empty command")
        return Command(at, tuple(words))

    def _operand(self) -> Any:
        """A term, with the fields behind it; None where there is none."""
        term = self._term()
        after = self._peek()
        if term is None or after.kind != Kind.FIELD:
            return term
        fields = []
        while self._peek().kind == Kind.FIELD:
            fields.append(self._take().text[1:])
        match term:
            case Field(names=names):
                return Field(after.at, (*names, *fields))
            case Variable(name=name):
                return Variable(after.at, name, tuple(fields))
            case Literal() | Nil() | Dot():
                return self._fail(f"unexpected . after term {quoted(str(term))}")
        return Chain(after.at, term, tuple(fields))

    def _term(self) -> Any:
        token = self._take_word()
        match token.kind:
            case Kind.IDENTIFIER:
                if token.text not in self._functions:
                    self._fail(f"function {quoted(token.text)} not defined")
                return Function(token.at, token.text)
            case Kind.DOT:
                return Dot(token.at)
            case Kind.NIL:
                return Nil(token.at)
            case Kind.FIELD:
                return Field(token.at, (token.text[1:],))
            case Kind.VARIABLE:
                if token.text not in self._variables:
                    self._fail(f"undefined variable {quoted(token.text)}")
                return Variable(token.at, token.text)
            case Kind.BOOL:
                return Literal(token.at, token.text == "true", token.text)
            case Kind.NUMBER | Kind.CHARACTER | Kind.STRING:
                return self._constant(token)
            case Kind.OPEN:
                return self._pipeline("parenthesized pipeline", Kind.CLOSE)
        self._next -= 1
        return None

    def _constant(self, token: Token) -> Literal:
        try:
            if token.kind == Kind.NUMBER:
                return Literal(token.at, number(token.text), token.text)
            value = unquote(token.text)
            return Literal(token.at, ord(value) if token.kind == Kind.CHARACTER else value, token.text)
        except (ValueError, TypeError, OverflowError):
            if token.kind == Kind.NUMBER and re.fullmatch(r".*i", token.text):
                self._fail(f"complex number {quoted(token.text)} is not supported")
            if token.kind == Kind.NUMBER:
                overflow = re.fullmatch(r"[+-]?[0-9_]+", token.text)
                what = "integer overflow" if overflow else "illegal number syntax"
                self._fail(f"{what}: {quoted(token.text)}")
            if token.kind == Kind.CHARACTER and token.text != "''":
                self._fail(f"malformed character constant: {token.text}")
            self._fail("invalid syntax")
