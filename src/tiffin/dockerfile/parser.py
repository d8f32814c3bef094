"""Dockerfile text to typed instructions.

    bytes -> Source (lines.py) -> Node (here) -> Instruction (grammar.py) -> stages (stages.py)

Pure and linear: no variable is expanded, no file read, and whatever the bytes are, nothing is raised but
DockerfileError (the text is wrong) and Unsupported (it asks for what tiffin lacks).
"""

from __future__ import annotations

import re

from tiffin.dockerfile import grammar
from tiffin.dockerfile.command import Heredoc
from tiffin.dockerfile.flags import split_flags
from tiffin.dockerfile.instructions import Instruction, Onbuild
from tiffin.dockerfile.lines import LogicalLine, Remarks, Source
from tiffin.dockerfile.place import Place, nearest, shown
from tiffin.dockerfile.shell_words import DEFAULT_ESCAPE, SPACE
from tiffin.dockerfile.value import Value
from tiffin.errors import DockerfileError

MAX_INSTRUCTIONS = 10_000
MAX_HEREDOCS = 100

_KEYWORD = re.compile(r"[\t\v\f\r ]+")
_WITH_HEREDOCS = frozenset({"RUN", "COPY", "ADD"})


class Document(Value):
    """A parsed file: its instructions in order, its escape character, its parser directives by lower-case
    name.
    """

    file: str
    instructions: tuple[Instruction, ...]
    escape: str
    directives: dict[str, str]
    remarks: Remarks


def parse(data: bytes, filename: str = "Dockerfile") -> Document:
    """Parse a whole Dockerfile; `filename` is only for messages. At least one instruction is required."""
    source = Source(data, filename)
    instructions: list[Instruction] = []
    for line in source.logical():
        if len(instructions) == MAX_INSTRUCTIONS:
            raise Place(filename, line.first).error(f"more than {MAX_INSTRUCTIONS} instructions")
        instructions.append(_instruction(source, line))
    if not instructions:
        raise Place(filename).error("no instructions: a Dockerfile begins with FROM")
    remarks = Remarks(source.comments, tuple(source.gaps))
    return Document(filename, tuple(instructions), source.escape, source.directives, remarks)


def parse_instruction(text: str, *, file: str, line: int = 0, escape: str = DEFAULT_ESCAPE) -> Instruction:
    """Parse one instruction that stands outside a Dockerfile, such as a `--change` of commit and import.

    `file` and `line` are what errors and the instruction itself will name. Comments and directives have no
    place in it.
    """
    source = Source(text.encode("utf-8", "surrogateescape"), file)
    source.escape = escape
    try:
        lines = source.logical()
        first = next(lines, None)
        if first is None:
            raise Place(file, line).error("empty instruction")
        instruction = _instruction(source, first, Place(file, line))
        if next(lines, None) is not None:
            raise Place(file, line).error("more than one instruction")
    except DockerfileError as error:
        if error.line == line:
            raise
        moved = Place(file, line, error.instruction)
        raise moved.error(error.reason) from error
    return instruction


def parse_trigger(trigger: str, *, image: str, line: int) -> Instruction:
    """Parse what ONBUILD left in `image`, for the FROM on `line`. FROM, MAINTAINER and ONBUILD cannot come of
    it.
    """
    file = f"ONBUILD of {shown(image)}"
    instruction = parse_instruction(trigger, file=file, line=line)
    if instruction.keyword in grammar.NOT_IN_ONBUILD:
        raise Place(file, line).error(f"{instruction.keyword} is not allowed as an ONBUILD trigger")
    return instruction


def _instruction(source: Source, line: LogicalLine, place: Place | None = None) -> Instruction:
    """Parse the logical line just read from `source`; `place` stands in for the line's own."""
    place = place or Place(source.file, line.first)
    node = _node(line.text, place, source, line)
    if node.keyword == "ONBUILD":
        return _onbuild(node, source, line)
    return grammar.build(node)


def _node(text: str, place: Place, source: Source, line: LogicalLine) -> grammar.Node:
    text = text.strip(SPACE)
    word, _, rest = _cut(text)
    keyword = word.upper()
    if keyword not in grammar.KEYWORDS:
        raise place.error(f"unknown instruction: {shown(word)}{nearest(keyword, grammar.KEYWORDS)}")
    place = Place(place.file, place.line, keyword)
    flags, rest = split_flags(rest)
    heredocs: list[tuple[int, int, Heredoc]] = []
    last = line.last
    if keyword in _WITH_HEREDOCS and "<<" in rest and grammar.json_words(rest, place) is None:
        from tiffin.dockerfile.heredocs import find_openers  # as rare as here-documents

        openers = find_openers(rest)
        if len(openers) > MAX_HEREDOCS:
            raise place.error(f"more than {MAX_HEREDOCS} here-documents")
        for opener in openers:
            found = source.document(opener.name, strip_tabs=opener.strip_tabs)
            if found is None:
                raise place.error(
                    f"unterminated here-document: no line is {shown(opener.name)} and nothing else"
                )
            content, last = found
            document = Heredoc(opener.name, content, opener.expand, opener.strip_tabs, opener.descriptor)
            heredocs.append((opener.start, opener.end, document))
    return grammar.Node(
        place=place,
        end_line=place.line + last - line.first if place.line else 0,
        source=text,
        flags=flags,
        rest=rest.strip(SPACE),
        escape=source.escape,
        heredocs=tuple(heredocs),
    )


def _cut(text: str) -> tuple[str, str, str]:
    found = _KEYWORD.search(text)
    return (text[: found.start()], found.group(), text[found.end() :]) if found else (text, "", "")


def _onbuild(node: grammar.Node, source: Source, line: LogicalLine) -> Onbuild:
    """Keep the trigger's text, here-documents included, after parsing it once for its errors."""
    grammar.no_flags(node)
    if not node.rest:
        raise node.place.error("requires at least one argument")
    word = _cut(node.rest)[0].upper()
    if word in grammar.NOT_IN_ONBUILD:
        raise node.place.error(f"{word} is not allowed as an ONBUILD trigger")
    trigger = _node(node.rest, node.place, source, line)
    grammar.build(trigger)
    documents = [document for _, _, document in trigger.heredocs]
    text = "\n".join([trigger.source, *(document.content + document.name for document in documents)])
    return Onbuild(line=node.line, end_line=trigger.end_line, source=node.source, trigger=text)
