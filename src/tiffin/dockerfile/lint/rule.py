"""One rule of the lint, and one place where it is not kept."""

from __future__ import annotations

import re

from tiffin.dockerfile.excerpt import excerpt
from tiffin.dockerfile.value import Value
from tiffin.typed import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tiffin.dockerfile.instructions import Instruction
    from tiffin.dockerfile.lint.subject import Subject

_PAGE = "https://docs.docker.com/go/dockerfile/rule/"


class Found(NamedTuple):
    """Lines counted from 1, both included, and what is wrong there."""

    line: int
    end_line: int
    detail: str


def found(instruction: Instruction, detail: str) -> Found:
    """All of an instruction."""
    return Found(instruction.line, instruction.end_line, detail)


class Rule(Value):
    """One check.

    name          as the directive and Docker's reference call it
    text          what it asks for, one sentence
    why           its page: the reason, and what to do
    bad, good     the page's examples; `bad` has exactly this finding, `good` none (tests hold them to that)
    find          every place where it is not kept, in any order
    experimental  only in force where the directive asks for it
    """

    name: str
    text: str
    why: str
    bad: str
    good: str
    find: Callable[[Subject], Iterator[Found]]
    experimental: bool = False

    @property
    def url(self) -> str:
        """The page of Docker's reference about it."""
        words = re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=JSON)(?=[A-Z])", "-", self.name)
        return f"{_PAGE}{words.lower()}/"


class Finding(Value):
    """A place where a rule is not kept."""

    rule: Rule
    line: int
    end_line: int
    detail: str

    @property
    def short(self) -> str:
        """`FromAsCasing: ... (line 3)`."""
        return f"{self.rule.name}: {self.detail} (line {self.line})"

    def lines(self, file: str, text: str) -> list[str]:
        """The finding as `build --check` prints it, with its lines of the Dockerfile and some around them."""
        return [
            "",
            f"WARNING: {self.rule.name} - {self.rule.url}",
            self.detail,
            *excerpt(file, text, self.line, self.end_line),
        ]
