"""Dockerfiles beside what they mean: each directory of `dockerfile/` is a case.

    Dockerfile      the input
    expected.txt    its stages, each with what it is made from (stages and images), and its instructions, a line each:
                    the line numbers it stands on and each field that is not at its default, as JSON. The last line has
                    the stages that a build of the last one executes
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
from tiffin.dockerfile.instructions import Arg, Copy, Env, Instruction, Run
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


def evaluated(dockerfile: Dockerfile, given: dict[str, str]) -> list[list[Instruction]]:
    """Each stage's instructions after each was expanded in what those before it left. A stage goes on from where its
    base ended; ENV comes before ARG."""
    inherited = dockerfile.evaluate_global_args(given, PREDEFINED)
    ends: list[tuple[dict[str, str], dict[str, str]]] = []
    results = []
    for stage in dockerfile.stages:
        base = dockerfile.base_stage(stage, inherited)
        args, env = ({}, {"PATH": "/usr/bin:/bin"}) if base is None else map(dict, ends[base.index])
        seen: list[Instruction] = [expand(stage.base, inherited, dockerfile.escape)]
        for instruction in stage.instructions:
            scope = {**args, **env}
            if isinstance(instruction, Arg):
                pairs = resolve_args(instruction, scope, given, inherited, dockerfile.escape)
                seen.append(instruction.replace(pairs=pairs))
                args.update((name, value) for name, value in pairs if value is not None)
                continue
            seen.append(expand(instruction, scope, dockerfile.escape))
            if isinstance(seen[-1], Env):
                env.update(seen[-1].pairs)
        ends.append((args, env))
        results.append(seen)
    return results


def graph(dockerfile: Dockerfile, stage: Stage, given: dict[str, str]) -> str:
    """`stage final on stage base, from stage build, image nginx`."""
    values = dockerfile.evaluate_global_args(given, PREDEFINED)
    base = dockerfile.base_stage(stage, values)
    on = f"stage {base.title}" if base else f"image {dockerfile.base_image(stage, values)}"
    sources = []
    for instruction in stage.instructions:
        named = [instruction.from_] if isinstance(instruction, Copy) else []
        named += [mount.from_ for mount in instruction.mounts] if isinstance(instruction, Run) else []
        for name in filter(None, named):
            found = dockerfile.source(name, instruction, stage)
            sources.append(f"stage {found.title}" if found else f"image {name}")
    taken = f", from {', '.join(dict.fromkeys(sources))}" if sources else ""
    return f"stage {stage.title} on {on}{taken}"


def outcome(case: pathlib.Path) -> tuple[str, str]:
    """The name of the file that the case's expectation is in, and its text."""
    args = case / "args.json"
    lines: list[str] = []
    given: dict[str, str] = json.loads(args.read_text()) if args.exists() else {}
    try:
        dockerfile = parse_dockerfile((case / "Dockerfile").read_bytes())
        lines += [f"# {name}={value}" for name, value in dockerfile.directives.items()]
        lines += [line(arg) for arg in dockerfile.global_args]
        stages = [[stage.base, *stage.instructions] for stage in dockerfile.stages]
        if args.exists():
            stages = evaluated(dockerfile, given)
        for stage, instructions in zip(dockerfile.stages, stages, strict=True):
            lines += [graph(dockerfile, stage, given), *(line(instruction) for instruction in instructions)]
        values = dockerfile.evaluate_global_args(given, PREDEFINED)
        reached = dockerfile.reachable(dockerfile.target(), values)
        lines.append(f"executes {', '.join(each.title for each in reached)}")
    except TiffinError as error:
        return "error.txt", f"{type(error).__name__}: {error}\n"
    return "expected.txt", "\n".join(lines) + "\n"
