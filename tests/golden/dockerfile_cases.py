"""Dockerfiles beside what they mean: each directory of `dockerfile/` is a case.

    Dockerfile      the input
    expected.txt    its stages: a line an instruction, with the line numbers it stands on and each field that is not at
                    its default, as JSON
    error.txt       instead: the class and text of the refusal
    args.json       optional: build arguments, may be {}. The stages are then evaluated in order, as a build would, with
                    ENV and ARG coming into force, and the words stand in the expectation as they are afterwards

To add a case: write its Dockerfile, run `python -m tests.golden.update NAME`, and read what it wrote against the
Dockerfile reference before it is committed: the script records what the code does, not what is right.
"""

from __future__ import annotations

import json
import pathlib
from typing import Any

from tiffin.dockerfile.command import Heredoc
from tiffin.dockerfile.expand import expand, resolve_args
from tiffin.dockerfile.instructions import Arg, Env, Instruction
from tiffin.dockerfile.stages import Dockerfile, Stage, parse_dockerfile
from tiffin.dockerfile.value import Value
from tiffin.errors import TiffinError

ROOT = pathlib.Path(__file__).parent / "dockerfile"
PREDEFINED = {"TARGETPLATFORM": "linux/amd64", "TARGETARCH": "amd64", "BUILDPLATFORM": "linux/amd64"}


def cases() -> list[pathlib.Path]:
    """Every case, by name."""
    return sorted(path for path in ROOT.iterdir() if (path / "Dockerfile").exists())


def plain(value: object) -> Any:
    """A field as JSON has it; of values only what differs from their defaults, and a here-document's text."""
    if isinstance(value, tuple):
        return [plain(item) for item in value]
    if isinstance(value, Value):
        named = {
            name: getattr(value, name)
            for name in value._fields
            if getattr(value, name) != value._defaults.get(name, ...)
        }
        if isinstance(value, Heredoc) and value.data != value.content:
            named["data"] = value.data
        return {name: plain(item) for name, item in named.items()}
    return value


def line(instruction: Instruction) -> str:
    """`2-3 RUN command=...`."""
    fields = plain(instruction)
    first, last = fields.pop("line"), fields.pop("end_line")
    for hidden in ("source", "mount_texts"):
        fields.pop(hidden, None)
    lines = f"{first}-{last}" if last != first else str(first)
    shown = (f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in fields.items())
    return " ".join([lines, instruction.keyword, *shown])


def evaluated(dockerfile: Dockerfile, stage: Stage, given: dict[str, str]) -> list[Instruction]:
    """The stage's instructions after each was expanded in the environment that those before it left."""
    inherited = dockerfile.evaluate_global_args(given, PREDEFINED)
    results: list[Instruction] = [expand(stage.base, inherited, dockerfile.escape)]
    env = {"PATH": "/usr/bin:/bin"}
    for instruction in stage.instructions:
        if isinstance(instruction, Arg):
            pairs = resolve_args(instruction, env, given, inherited, dockerfile.escape)
            results.append(instruction.replace(pairs=pairs))
            env.update((name, value) for name, value in pairs if value is not None)
            continue
        results.append(expand(instruction, env, dockerfile.escape))
        if isinstance(results[-1], Env):
            env.update(results[-1].pairs)
    return results


def outcome(case: pathlib.Path) -> tuple[str, str]:
    """The name of the file that the case's expectation is in, and its text."""
    args = case / "args.json"
    lines: list[str] = []
    try:
        dockerfile = parse_dockerfile((case / "Dockerfile").read_bytes())
        lines += [f"# {name}={value}" for name, value in dockerfile.directives.items()]
        lines += [line(arg) for arg in dockerfile.global_args]
        for stage in dockerfile.stages:
            if args.exists():
                instructions = evaluated(dockerfile, stage, json.loads(args.read_text()))
            else:
                instructions = [stage.base, *stage.instructions]
            lines += [f"stage {stage.title}", *(line(instruction) for instruction in instructions)]
    except TiffinError as error:
        return "error.txt", f"{type(error).__name__}: {error}\n"
    return "expected.txt", "\n".join(lines) + "\n"
