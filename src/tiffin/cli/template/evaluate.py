"""A syntax tree applied to a value (Go's text/template, exec.go, states its rules and words).

Pure and bounded: at most STEPS_MAX nodes are evaluated and OUTPUT_MAX characters written; nothing is called but the
functions of the room and the methods that the value itself offers.
"""

from tiffin.cli.template.errors import TemplateError
from tiffin.cli.template.functions import Function as Callee
from tiffin.cli.template.functions import FunctionError, arity
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
from tiffin.cli.template.values import NIL, NOTHING, Struct, kind, sprint, truth
from tiffin.typed import TYPE_CHECKING, Any, Final, NoReturn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

STEPS_MAX: Final = 1_000_000
OUTPUT_MAX: Final = 16 * 1024 * 1024
_ABSENT: Final = object()


class _BreakError(Exception):
    """{{break}}, or {{continue}} when `again`."""

    def __init__(self, again: bool) -> None:
        self.again = again


class Evaluation:
    """One application of a template. `clean` is applied to the text that each action gives."""

    def __init__(
        self, text: str, functions: "Mapping[str, Callee]", root: Any, clean: "Callable[[str], str]"
    ) -> None:
        self._text = text
        self._functions = functions
        self._variables: list[tuple[str, Any]] = [("$", root)]
        self._clean = clean
        self._out: list[str] = []
        self._room = OUTPUT_MAX
        self._steps = STEPS_MAX
        self._last: Any = None  # the word evaluated last, which some of Go's errors point at

    def run(self, nodes: "Sequence[Any]", root: Any) -> str:
        """The output. Raises TemplateError."""
        self._walk_all(nodes, root)
        return "".join(self._out)

    def _fail(self, node: Any, message: str) -> NoReturn:
        before = self._text[: node.at]
        line = before.count("\n") + 1
        column = len(before[before.rfind("\n") + 1 :].encode("utf-8", "surrogateescape"))
        raise TemplateError(f'template: :{line}:{column}: executing "" at <{node}>: {message}')

    def _step(self) -> None:
        self._steps -= 1
        if self._steps < 0:
            raise TemplateError(f"template: : more than {STEPS_MAX} steps")

    def _write(self, text: str) -> None:
        self._room -= len(text)
        if self._room < 0:
            raise TemplateError(f"template: : more than {OUTPUT_MAX} characters of output")
        self._out.append(text)

    # -- nodes -----------------------------------------------------------------------------------------------

    def _walk_all(self, nodes: "Sequence[Any]", dot: Any) -> None:
        for node in nodes:
            self._step()
            match node:
                case Text(text=text):
                    self._write(text)
                case Action(pipeline=pipeline):
                    value = self._pipeline(pipeline, dot)
                    if not pipeline.variables:
                        self._write("<no value>" if value is NOTHING else self._clean(sprint(value)))
                case Branch():
                    self._branch(node, dot)
                case Range():
                    self._range(node, dot)
                case Jump(keyword=keyword):
                    raise _BreakError(keyword == "continue")

    def _branch(self, node: Branch, dot: Any) -> None:
        known = len(self._variables)
        value = self._pipeline(node.pipeline, dot)
        if truth(value):
            self._walk_all(node.body, value if node.keyword == "with" else dot)
        else:
            self._walk_all(node.otherwise, dot)
        del self._variables[known:]

    def _range(self, node: Range, dot: Any) -> None:
        known = len(self._variables)
        value = self._pipeline(node.pipeline, dot)
        done = False
        within = len(self._variables)
        for key, item in self._items(node.pipeline, value):
            done = True
            self._step()
            self._bind(node.pipeline, key, item)
            try:
                self._walk_all(node.body, item)
            except _BreakError as jump:
                if not jump.again:
                    break
            finally:
                del self._variables[within:]
        if not done:
            self._walk_all(node.otherwise, dot)
        del self._variables[known:]

    def _bind(self, pipeline: Pipeline, key: Any, item: Any) -> None:
        names = pipeline.variables
        for name, value in zip(names, (item,) if len(names) == 1 else (key, item), strict=False):
            if pipeline.assign:
                self._assign(pipeline, name, value)
            else:
                self._set_last(name, value)

    def _items(self, node: Pipeline, value: Any) -> "Iterable[tuple[Any, Any]]":
        if value is None or value is NOTHING or value is NIL:
            return ()
        if isinstance(value, dict) and not isinstance(value, Struct):
            return ((key, value[key]) for key in sorted(value))
        if isinstance(value, (list, tuple)):
            return enumerate(value)
        if isinstance(value, int) and not isinstance(value, bool):
            if len(node.variables) > 1:
                self._fail(
                    node.commands[-1].words[0], f"can't use {value} to iterate over more than one variable"
                )
            return ((number, number) for number in range(value))
        return self._fail(self._last, f"range can't iterate over {sprint(value)}")

    # -- variables -------------------------------------------------------------------------------------------

    def _set_last(self, name: str, value: Any) -> None:
        """The variable of that name nearest to the end, made where {{range}} declares it anew."""
        self._variables.append((name, value))

    def _assign(self, pipeline: Pipeline, name: str, value: Any) -> None:
        for at in range(len(self._variables) - 1, -1, -1):
            if self._variables[at][0] == name:
                self._variables[at] = (name, value)
                return
        self._fail(pipeline.commands[-1].words[0], f"undefined variable: {name}")

    def _variable(self, name: str) -> Any:
        return next(value for known, value in reversed(self._variables) if known == name)

    # -- pipelines -------------------------------------------------------------------------------------------

    def _pipeline(self, pipeline: Pipeline, dot: Any) -> Any:
        value: Any = _ABSENT
        for command in pipeline.commands:
            value = self._command(command, dot, value)
            if value is None:
                value = NOTHING
        for name in pipeline.variables:
            if pipeline.assign:
                self._assign(pipeline, name, value)
            else:
                self._variables.append((name, value))
        return value

    def _command(self, command: Command, dot: Any, final: Any) -> Any:
        self._step()
        first, arguments = command.words[0], command.words[1:]
        match first:
            case Function():
                return self._function(first, command, arguments, dot, final)
            case Field(names=names):
                return self._fields(dot, first, names, dot, arguments, final)
            case Variable(name=name, fields=fields):
                if fields:
                    return self._fields(self._variable(name), first, fields, dot, arguments, final)
            case Chain(operand=operand, fields=fields):
                return self._fields(self._operand(operand, dot), first, fields, dot, arguments, final)
        if arguments or final is not _ABSENT:
            self._fail(first, f"can't give argument to non-function {first}")
        if isinstance(first, Nil):
            self._fail(first, "nil is not a command")
        return self._operand(first, dot)

    def _operand(self, node: Any, dot: Any) -> Any:
        """The value of a word that is given no arguments."""
        self._step()
        if not isinstance(node, Pipeline):
            self._last = node
        match node:
            case Dot():
                return dot
            case Literal(value=value):
                return value
            case Nil():
                return None
            case Field(names=names):
                return self._fields(dot, node, names, dot, (), _ABSENT)
            case Variable(name=name, fields=fields):
                found = self._variable(name)
                return self._fields(found, node, fields, dot, (), _ABSENT) if fields else found
            case Chain(operand=operand, fields=fields):
                return self._fields(self._operand(operand, dot), node, fields, dot, (), _ABSENT)
            case Pipeline():
                return self._pipeline(node, dot)
            case Function():
                return self._function(node, node, (), dot, _ABSENT)
        raise TypeError(f"not an operand: {node!r}")

    def _fields(
        self, value: Any, node: Any, names: "Sequence[str]", dot: Any, arguments: "Sequence[Any]", final: Any
    ) -> Any:
        """The field that a chain of names leads to; its last may be a method, which is given the arguments."""
        self._last = node
        for name in names[:-1]:
            value = self._field(value, node, name)
            if callable(value):
                self._fail(node, f"wrong number of args for {name}: want 1 got 0")
        found = self._field(value, node, names[-1])
        if callable(found):
            given = [self._argument(word, dot) for word in arguments]
            return self._method(found, node, names[-1], given + ([] if final is _ABSENT else [final]))
        if (arguments or final is not _ABSENT) and value is not NOTHING:
            how = "is not a method but has arguments"
            how = "has arguments but cannot be invoked as function" if isinstance(value, Struct) else how
            self._fail(node, f"{names[-1]} {how}")
        return found

    def _field(self, value: Any, node: Any, name: str) -> Any:
        """A field or a key, or a method."""
        if value is NOTHING:
            return NOTHING
        if value is None or value is NIL:
            self._fail(node, f"nil pointer evaluating interface {{}}.{name}")
        if not isinstance(value, dict):
            self._fail(node, f"can't evaluate field {name} in type interface {{}}")
        if isinstance(value, Struct):
            return self._struct_field(value, node, name)
        return value.get(name, NOTHING)

    def _struct_field(self, value: Struct, node: Any, name: str) -> Any:
        name = name if name in value else value.aliases.get(name, name)
        if name not in value:
            known = ", ".join(value)
            hint = f"; it has {known}" if len(known) < 600 else ""
            self._fail(node, f"can't evaluate field {name} in type struct{hint}")
        found = value[name]
        return NIL if found is None else found

    def _method(self, method: "Callable[..., Any]", node: Any, name: str, arguments: list[Any]) -> Any:
        """A method takes one string."""
        if len(arguments) != 1:
            self._fail(node, f"wrong number of args for {name}: want 1 got {len(arguments)}")
        if not isinstance(arguments[0], str):
            self._fail(node, f"wrong type for value; expected string; got {kind(arguments[0])}")
        return method(arguments[0])

    # -- functions -------------------------------------------------------------------------------------------

    def _argument(self, word: Any, dot: Any) -> Any:
        return self._operand(word, dot)

    def _function(self, node: Function, command: Any, words: "Sequence[Any]", dot: Any, final: Any) -> Any:
        self._last = node
        if node.name in ("and", "or"):
            return self._short_circuit(node, words, dot, final)
        callee = self._functions[node.name]
        wrong = arity(callee, len(words) + (final is not _ABSENT))
        if wrong:
            self._fail(node, f"wrong number of args for {node.name}: {wrong}")
        given = []
        for at, word in enumerate(words):
            wanted = callee.parameters[min(at, len(callee.parameters) - 1)]
            given.append(self._checked(word, self._argument(word, dot), wanted))
        if final is not _ABSENT:
            wanted = callee.parameters[min(len(words), len(callee.parameters) - 1)]
            given.append(self._checked(node, final, wanted, piped=True))
        try:
            return callee.call(*given)
        except FunctionError as error:
            self._fail(command, f"error calling {node.name}: {error}")

    def _checked(self, node: Any, value: Any, wanted: str, *, piped: bool = False) -> Any:
        """`value` when it is of the Go type `wanted`, "" for any."""
        if not wanted or kind(value) == wanted:
            return None if value is NOTHING or value is NIL else value
        if value is NOTHING:
            self._fail(self._last, f"invalid value; expected {wanted}")
        if not piped and isinstance(node, (Literal, Nil)):
            if isinstance(node, Nil):
                self._fail(node, f"cannot assign nil to {wanted}")
            word = "integer" if wanted == "int" else wanted
            self._fail(node, f"expected {word}; found {node}")
        return self._fail(self._last, f"wrong type for value; expected {wanted}; got {kind(value)}")

    def _short_circuit(self, node: Function, words: "Sequence[Any]", dot: Any, final: Any) -> Any:
        if not words and final is _ABSENT:
            self._fail(node, f"wrong number of args for {node.name}: want at least 1 got 0")
        value: Any = final
        for word in words:
            value = self._argument(word, dot)
            if truth(value) == (node.name == "or"):
                return value
        return value if final is _ABSENT else final
