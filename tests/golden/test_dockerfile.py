"""Dockerfiles beside what they mean: each directory of `dockerfile/` is a case.

`Dockerfile` is the input; `expected.json` its stages and typed instructions, or `error.txt` the class and text of the
refusal. With `args.json` (build arguments, may be empty) the stages are also evaluated in order, as a build would,
with ENV and ARG coming into force, and the words stand in the expectation as they are afterwards.
"""

from __future__ import annotations

import json
import pathlib
from typing import Any

import pytest

from tiffin.dockerfile.expand import expand, resolve_args
from tiffin.dockerfile.instructions import Arg, Env, Heredoc, Instruction
from tiffin.dockerfile.stages import Dockerfile, Stage, parse_dockerfile
from tiffin.dockerfile.value import Value
from tiffin.errors import TiffinError

CASES = sorted(path for path in (pathlib.Path(__file__).parent / "dockerfile").iterdir() if path.is_dir())


def plain(value: object) -> Any:
    """A field as JSON has it; a here-document with what differs from its defaults."""
    if isinstance(value, tuple):
        return [plain(item) for item in value]
    if isinstance(value, Value):
        named = vars(value)
        if isinstance(value, Heredoc):
            return named | {"data": value.data}
        return {name: plain(item) for name, item in named.items()}
    return value


def shown(instruction: Instruction) -> dict[str, Any]:
    """The instruction's fields, those that are empty left out."""
    fields = {name: value for name, value in plain(instruction).items() if value not in ("", [], 0, False)}
    fields.pop("source")
    return {
        "is": instruction.keyword,
        "lines": [fields.pop("line"), fields.pop("end_line")],
    } | fields


def evaluated(dockerfile: Dockerfile, stage: Stage, given: dict[str, str]) -> list[Instruction]:
    """The stage's instructions after each was expanded in the environment that those before it left."""
    inherited = dockerfile.evaluate_global_args(given, {"TARGETARCH": "amd64"})
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


def outcome(case: pathlib.Path) -> dict[str, Any] | str:
    """The document that a case's Dockerfile gives, or the refusal's text."""
    args = case / "args.json"
    try:
        dockerfile = parse_dockerfile((case / "Dockerfile").read_bytes())
        stages = []
        for stage in dockerfile.stages:
            if args.exists():
                instructions = evaluated(dockerfile, stage, json.loads(args.read_text()))
            else:
                instructions = [stage.base, *stage.instructions]
            stages.append([shown(instruction) for instruction in instructions])
        document: dict[str, Any] = {"stages": stages}
        if dockerfile.global_args:
            document["global_args"] = [shown(arg) for arg in dockerfile.global_args]
        if dockerfile.directives:
            document["directives"] = dockerfile.directives
    except TiffinError as error:
        return f"{type(error).__name__}: {error}\n"
    return document


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_dockerfile_means_what_its_case_says(case: pathlib.Path) -> None:
    error = case / "error.txt"
    if error.exists():
        assert outcome(case) == error.read_text()
    else:
        assert outcome(case) == json.loads((case / "expected.json").read_text())


def test_there_are_enough_cases() -> None:
    assert len(CASES) >= 60
