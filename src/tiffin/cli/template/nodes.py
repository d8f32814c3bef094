"""The syntax tree of a template. `str()` of an operand is the text by which Go's errors show it; `at` is where it
begins in the template."""

from tiffin.typed import Any, NamedTuple


class Dot(NamedTuple):
    """`.`"""

    at: int

    def __str__(self) -> str:
        return "."


class Nil(NamedTuple):
    """`nil`"""

    at: int

    def __str__(self) -> str:
        return "nil"


class Field(NamedTuple):
    """`.Name.Other`"""

    at: int
    names: tuple[str, ...]

    def __str__(self) -> str:
        return "".join(f".{name}" for name in self.names)


class Variable(NamedTuple):
    """`$name.Field`; `name` has its dollar sign."""

    at: int
    name: str
    fields: tuple[str, ...] = ()

    def __str__(self) -> str:
        return ".".join((self.name, *self.fields))


class Function(NamedTuple):
    """A function's name."""

    at: int
    name: str

    def __str__(self) -> str:
        return self.name


class Literal(NamedTuple):
    """A constant; `text` as written."""

    at: int
    value: Any
    text: str

    def __str__(self) -> str:
        return self.text


class Command(NamedTuple):
    """One stage of a pipeline: a function and its arguments, or one operand."""

    at: int
    words: tuple[Any, ...]

    def __str__(self) -> str:
        return " ".join(f"({word})" if isinstance(word, Pipeline) else str(word) for word in self.words)


class Pipeline(NamedTuple):
    """`$a, $b := first | second`; `assign` for `=`."""

    at: int
    variables: tuple[str, ...]
    assign: bool
    commands: tuple[Command, ...]

    def __str__(self) -> str:
        sign = " = " if self.assign else " := "
        head = ", ".join(self.variables) + sign if self.variables else ""
        return head + " | ".join(map(str, self.commands))


class Chain(NamedTuple):
    """`(pipeline).Field`"""

    at: int
    operand: Any
    fields: tuple[str, ...]

    def __str__(self) -> str:
        inner = f"({self.operand})" if isinstance(self.operand, Pipeline) else str(self.operand)
        return ".".join((inner, *self.fields))


class Text(NamedTuple):
    """What stands between the actions."""

    text: str


class Action(NamedTuple):
    """`{{pipeline}}`"""

    pipeline: Pipeline


class Branch(NamedTuple):
    """`{{if}}` or `{{with}}`, by `keyword`."""

    keyword: str
    pipeline: Pipeline
    body: tuple[Any, ...]
    otherwise: tuple[Any, ...]


class Range(NamedTuple):
    """`{{range}}`"""

    pipeline: Pipeline
    body: tuple[Any, ...]
    otherwise: tuple[Any, ...]


class Jump(NamedTuple):
    """`{{break}}` or `{{continue}}`, by `keyword`."""

    keyword: str
