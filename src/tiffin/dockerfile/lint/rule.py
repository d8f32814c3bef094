"""One rule of the lint, and one place where it is not kept."""

from __future__ import annotations

import re

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
        rows = text.split("\n")
        last = min(self.end_line, len(rows))
        start, end = self.line, last
        shown, wanted = 0, 4 if last == self.line else 2
        while shown < wanted:
            if start > 1:
                start -= 1
                shown += 1
            if end < len(rows):
                end += 1
                shown += 1
            shown += 1
        return [
            "",
            f"WARNING: {self.rule.name} - {self.rule.url}",
            self.detail,
            f"{file}:{self.line}",
            "-" * 20,
            *(
                f" {n:3d} | {'>>>' if self.line <= n <= last else '   '} {rows[n - 1].rstrip(chr(13))}"
                for n in range(start, end + 1)
            ),
            "-" * 20,
        ]
