"""Rules about how a Dockerfile is written: casing, comments, forms that are out of use."""

from __future__ import annotations

from tiffin.dockerfile.instructions import Arg, Env, From, Instruction, Label, Maintainer
from tiffin.dockerfile.lint.rule import Found, Rule, found
from tiffin.dockerfile.lint.subject import Subject, keyword
from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


def _no_empty_continuation(subject: Subject) -> Iterator[Found]:
    for line in subject.dockerfile.remarks.gaps:
        yield Found(line, line, "Empty continuation line")


def _consistent_instruction_casing(subject: Subject) -> Iterator[Found]:
    written = [(instruction, keyword(instruction)) for instruction in subject.written()]
    lower = sum(word.islower() for _, word in written)
    upper = sum(word.isupper() for _, word in written)
    casing, good = ("lowercase", str.islower) if lower > upper else ("uppercase", str.isupper)
    for instruction, word in written:
        if not good(word):
            yield found(
                instruction, f"Command '{word}' should match the case of the command majority ({casing})"
            )


def _maintainer_deprecated(subject: Subject) -> Iterator[Found]:
    for instruction in subject.written():
        if isinstance(instruction, Maintainer):
            yield found(instruction, "Maintainer instruction is deprecated in favor of using label")


def _legacy_key_value_format(subject: Subject) -> Iterator[Found]:
    for instruction in subject.judged():
        if isinstance(instruction, Env | Label) and instruction.legacy:
            name = instruction.keyword
            yield found(
                instruction,
                f'"{name} key=value" should be used instead of legacy "{name} key value" format',
            )


def _invalid_definition_description(subject: Subject) -> Iterator[Found]:
    for instruction in subject.written():
        comments = subject.dockerfile.remarks.comments.get(instruction.line, ())
        names = _defined(instruction)
        if not comments or not names or comments[-1].split(" ")[0] in names:
            continue
        example = names[0] if len(names) == 1 else "<arg_key>"
        yield found(
            instruction,
            f"Comment for {instruction.keyword} should follow the format: `# {example} <description>`",
        )


def _defined(instruction: Instruction) -> list[str]:
    """What the instruction gives a name to, as a comment above it would describe it."""
    if isinstance(instruction, From):
        return [instruction.name] if instruction.name else []
    return [name for name, _ in instruction.pairs] if isinstance(instruction, Arg) else []


NO_EMPTY_CONTINUATION = Rule(
    name="NoEmptyContinuation",
    text="Empty continuation lines will become errors in a future release",
    why="An empty line behind a backslash does not end the instruction, although it looks as if it did. "
    "Remove it, or put a comment line in its place.",
    bad="FROM alpine\nRUN apk add \\\n\n    gnupg \\\n    curl\n",
    good="FROM alpine\nRUN apk add \\\n# for the signatures\n    gnupg \\\n    curl\n",
    find=_no_empty_continuation,
)
CONSISTENT_INSTRUCTION_CASING = Rule(
    name="ConsistentInstructionCasing",
    text="All commands within the Dockerfile should use the same casing (either upper or lower)",
    why="Keywords are taken in any case. One case throughout, upper by custom, keeps them apart from their "
    "arguments.",
    bad="FROM alpine\nRUN echo hello > /greeting.txt\nworkdir /srv\n",
    good="FROM alpine\nRUN echo hello > /greeting.txt\nWORKDIR /srv\n",
    find=_consistent_instruction_casing,
)
MAINTAINER_DEPRECATED = Rule(
    name="MaintainerDeprecated",
    text="The MAINTAINER instruction is deprecated, use a label instead to define an image author",
    why="A label says the same, shows up with the others and can be filtered by. The usual one is "
    "`org.opencontainers.image.authors`.",
    bad="FROM scratch\nMAINTAINER cook@example.com\n",
    good='FROM scratch\nLABEL org.opencontainers.image.authors="cook@example.com"\n',
    find=_maintainer_deprecated,
)
LEGACY_KEY_VALUE_FORMAT = Rule(
    name="LegacyKeyValueFormat",
    text="Legacy key/value format with whitespace separator should not be used",
    why="In `ENV name the rest` everything behind the name is the value, so a line cannot set two and it is"
    " easy to misread. Write `name=value`, with quotes where the value has spaces.",
    bad="FROM scratch\nENV DIR /srv\n",
    good="FROM scratch\nENV DIR=/srv\n",
    find=_legacy_key_value_format,
)
INVALID_DEFINITION_DESCRIPTION = Rule(
    name="InvalidDefinitionDescription",
    text="Comment for build stage or argument should follow the format: `# <arg/stage name> <description>`. "
    "If this is not intended to be a description comment, add an empty line or comment between the "
    "instruction and the comment.",
    why="Tools that list a Dockerfile's targets and arguments take the comment right above one for its "
    "description when it begins with the name. A comment that is something else should stand apart.",
    bad="# check=experimental=InvalidDefinitionDescription\n\n# The tag.\nARG TAG=latest\nFROM busybox:${TAG}\n",
    good="# check=experimental=InvalidDefinitionDescription\n\n# TAG is the release of busybox.\nARG TAG=latest\n"
    "# Nothing but busybox.\n\nFROM busybox:${TAG} AS base\n",
    find=_invalid_definition_description,
    experimental=True,
)
