"""Go's text/template, as users write it in --format.

    Template("{{.Name}}: {{join .Tags \", \"}}").render({"Name": "web", "Tags": ["1", "2"]})    # web: 1, 2

What a template may be applied to is said in values.py. Lexer, parser and evaluator are bounded and pure: whatever the
text, nothing is raised but TemplateError, whose one line is Go's. Not here: {{define}}, {{block}}, {{template}} and
complex numbers. Loaded only by a command that is given a template.
"""

from tiffin.cli.template.errors import TemplateError
from tiffin.cli.template.evaluate import Evaluation
from tiffin.cli.template.functions import FUNCTIONS, HEADING_FUNCTIONS
from tiffin.cli.template.nodes import Action, Branch, Chain, Command, Field, Pipeline, Range, Variable
from tiffin.cli.template.parser import parse
from tiffin.cli.template.values import NilList, NilMap, Struct, Texts, json_text
from tiffin.typed import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

__all__ = ["NilList", "NilMap", "Struct", "Template", "TemplateError", "Texts", "json_text"]

_NAMES = frozenset((*FUNCTIONS, "and", "or"))


def _same(text: str) -> str:
    return text


class Template:
    """A template that has been read."""

    def __init__(self, text: str) -> None:
        """Raises TemplateError: "template: :1: unclosed action"."""
        self.text = text
        self._nodes = parse(text, _NAMES)

    def render(self, value: Any, *, clean: "Callable[[str], str]" = _same) -> str:
        """The template applied to `value`; `clean` goes over what the actions give, and not over the text between
        them. Raises TemplateError."""
        return Evaluation(self.text, FUNCTIONS, value, clean).run(self._nodes, value)

    def render_headings(self, headings: Struct) -> str:
        """The template applied to column headings, which no function changes. Raises TemplateError."""
        return Evaluation(self.text, HEADING_FUNCTIONS, headings, _same).run(self._nodes, headings)

    def fields(self) -> frozenset[str]:
        """The names of all fields that it mentions."""
        return frozenset(_fields(self._nodes))


def _fields(nodes: "Iterable[Any]") -> "Iterator[str]":
    for node in nodes:
        match node:
            case Field(names=names):
                yield from names
            case Variable(fields=names):
                yield from names
            case Chain(operand=operand, fields=names):
                yield from names
                yield from _fields((operand,))
            case Action(pipeline=pipeline):
                yield from _fields((pipeline,))
            case Branch() | Range():
                yield from _fields((node.pipeline, *node.body, *node.otherwise))
            case Pipeline(commands=commands):
                yield from _fields(commands)
            case Command(words=words):
                yield from _fields(words)
