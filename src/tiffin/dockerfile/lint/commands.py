"""Rules about single instructions: commands, working directories, ports, what is copied."""

from __future__ import annotations

import posixpath
import re

from tiffin.dockerfile import remote
from tiffin.dockerfile.instructions import (
    Add,
    Cmd,
    Copy,
    Entrypoint,
    Expose,
    Healthcheck,
    Instruction,
    Shell,
    Transfer,
    Workdir,
)
from tiffin.dockerfile.lint.rule import Found, Rule, found
from tiffin.dockerfile.lint.subject import Subject
from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_SUBSTITUTION = re.compile(r"\$\{[^}]*\}")


def _json_args_recommended(subject: Subject) -> Iterator[Found]:
    judged = {stage.index for stage in subject.stages}
    bases = subject.bases()
    shells: set[int] = set()
    for stage in subject.dockerfile.stages:
        base = bases.get(stage.index)
        own_shell = base is not None and base.index in shells
        for instruction in stage.instructions:
            own_shell = own_shell or isinstance(instruction, Shell)
            if own_shell or stage.index not in judged or not isinstance(instruction, Cmd | Entrypoint):
                continue
            if instruction.command.shell:
                yield found(
                    instruction,
                    f"JSON arguments recommended for {instruction.keyword} to prevent unintended behavior related to "
                    "OS signals",
                )
        if own_shell:
            shells.add(stage.index)


def _multiple_instructions_disallowed(subject: Subject) -> Iterator[Found]:
    for stage in subject.stages:
        last: dict[str, Instruction] = {}
        for instruction in stage.instructions:
            if not isinstance(instruction, Cmd | Entrypoint | Healthcheck):
                continue
            before = last.get(instruction.keyword)
            if before is not None:  # the earlier one is told of: it is the one without effect
                yield found(
                    before,
                    f"Multiple {instruction.keyword} instructions should not be used in the same stage because "
                    "only the last one will be used",
                )
            last[instruction.keyword] = instruction


def _workdir_relative_path(subject: Subject) -> Iterator[Found]:
    judged = {stage.index for stage in subject.stages}
    paths, bases = _workdirs(subject), subject.bases()
    settled: set[int] = set()
    for stage in subject.dockerfile.stages:
        base = bases.get(stage.index)
        known = base is not None and base.index in settled
        for instruction in stage.instructions:
            if not isinstance(instruction, Workdir):
                continue
            path = paths.get(instruction.line, instruction.path)
            if not known and not path.startswith("/") and stage.index in judged:
                yield found(
                    instruction,
                    f'Relative workdir "{path}" can have unexpected results if the base image changes',
                )
            known = True
        if known:
            settled.add(stage.index)


def _workdirs(subject: Subject) -> dict[int, str]:
    """The paths of WORKDIR with their words replaced, by line; nothing where there are no words to replace."""
    written = (each.path for each in subject.written() if isinstance(each, Workdir))
    if all(path.startswith("/") or path.isidentifier() for path in written):
        return {}
    visited = (visit.instruction for visit in subject.visits())
    return {each.line: each.path for each in visited if isinstance(each, Workdir)}


def _ports(subject: Subject) -> Iterator[tuple[Instruction, str, str]]:
    """The words of EXPOSE, and what is left of each without its variables."""
    for stage in subject.stages:
        for instruction in stage.instructions:
            if isinstance(instruction, Expose):
                yield from ((instruction, word, _SUBSTITUTION.sub("", word)) for word in instruction.ports)


def _expose_proto_casing(subject: Subject) -> Iterator[Found]:
    for instruction, port, rest in _ports(subject):
        protocol = rest.partition("/")[2]
        if protocol != protocol.lower():
            yield found(instruction, f"Defined protocol '{port}' in EXPOSE instruction should be lowercase")


def _expose_invalid_format(subject: Subject) -> Iterator[Found]:
    for instruction, port, rest in _ports(subject):
        if ":" in rest:
            yield found(
                instruction,
                f"EXPOSE instruction should not define an IP address or host-port mapping, found '{port}'",
            )


def _copy_ignored_file(subject: Subject) -> Iterator[Found]:
    for visit in subject.visits():
        copy = visit.instruction
        if not isinstance(copy, Transfer) or (isinstance(copy, Copy) and copy.from_):
            continue
        for source in copy.sources:
            path = posixpath.normpath("/" + source).lstrip("/")
            if path and not remote.is_git(source) and not remote.is_url(source) and subject.ignored(path):
                verb = "Add" if isinstance(copy, Add) else "Copy"
                yield found(copy, f'Attempting to {verb} file "{source}" that is excluded by .dockerignore')


JSON_ARGS_RECOMMENDED = Rule(
    name="JSONArgsRecommended",
    text="JSON arguments recommended for ENTRYPOINT/CMD to prevent unintended behavior related to OS signals",
    why="The shell form runs the program below a shell. The shell is then process 1, which does not hand on"
    " the signals that stop a container: the program is killed when the time is up. Write the JSON "
    "form; where a shell is wanted, say so with SHELL, or call it in the JSON form and let it `exec` "
    "the program.",
    bad="FROM alpine\nENTRYPOINT my-program start\n",
    good='FROM alpine\nENTRYPOINT ["my-program", "start"]\n',
    find=_json_args_recommended,
)
WORKDIR_RELATIVE_PATH = Rule(
    name="WorkdirRelativePath",
    text="Relative workdir without an absolute workdir declared within the build can have unexpected results"
    " if the base image changes",
    why="A relative WORKDIR is below the one before it, and the first one below whatever the base image "
    "has. Begin with an absolute path.",
    bad="FROM nginx\nWORKDIR usr/share/nginx/html\nCOPY public .\n",
    good="FROM nginx\nWORKDIR /usr/share/nginx/html\nCOPY public .\n",
    find=_workdir_relative_path,
)
MULTIPLE_INSTRUCTIONS_DISALLOWED = Rule(
    name="MultipleInstructionsDisallowed",
    text="Multiple instructions of the same type should not be used in the same stage",
    why="Of CMD, ENTRYPOINT and HEALTHCHECK a stage has the last one; those before it are without effect, "
    "and mislead.",
    bad='FROM alpine\nENTRYPOINT ["echo", "hello"]\nENTRYPOINT ["echo", "goodbye"]\n',
    good='FROM alpine\nENTRYPOINT ["echo"]\nCMD ["hello"]\n',
    find=_multiple_instructions_disallowed,
)
COPY_IGNORED_FILE = Rule(
    name="CopyIgnoredFile",
    text="Attempting to Copy file that is excluded by .dockerignore",
    why="What an ignore file leaves out is not in the context, so the instruction fails or copies less than"
    " it says. Take the pattern out, or the source.",
    bad="# check=experimental=CopyIgnoredFile\nFROM scratch\nCOPY ./tmp/helloworld.txt /\n",
    good="# check=experimental=CopyIgnoredFile\nFROM scratch\nCOPY ./forever/helloworld.txt /\n",
    find=_copy_ignored_file,
    experimental=True,
)
EXPOSE_PROTO_CASING = Rule(
    name="ExposeProtoCasing",
    text="Protocol in EXPOSE instruction should be lowercase",
    why="Protocols are written in lower case everywhere else, in `run -p` and in the image's config.",
    bad="FROM alpine\nEXPOSE 80/TcP\n",
    good="FROM alpine\nEXPOSE 80/tcp\n",
    find=_expose_proto_casing,
)
EXPOSE_INVALID_FORMAT = Rule(
    name="ExposeInvalidFormat",
    text="IP address and host-port mapping should not be used in EXPOSE instruction. This will become an "
    "error in a future release",
    why="An image names the ports its program listens on; addresses and ports of the host belong to the "
    "container, given with `run -p`. They are dropped from EXPOSE.",
    bad="FROM alpine\nEXPOSE 127.0.0.1:80:80\n",
    good="FROM alpine\nEXPOSE 80\n",
    find=_expose_invalid_format,
)
