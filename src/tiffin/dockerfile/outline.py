"""What a Dockerfile offers to whoever builds it: its stages, and the arguments, secrets, agents and caches that a
target takes. A comment right above that begins with the name of what it stands over is its description.
"""

from __future__ import annotations

from tiffin.dockerfile.expand import expand, resolve_args
from tiffin.dockerfile.instructions import Arg, Env, From, Run
from tiffin.dockerfile.shell_words import Watched
from tiffin.dockerfile.shell_words import expand as expand_word
from tiffin.dockerfile.value import Value
from tiffin.errors import DockerfileError, InvalidArgument
from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tiffin.dockerfile.stages import Dockerfile, Stage


class Target(Value):
    """A stage that can be built. `name` is "" for one that has only its number; `base` and `platform` are as FROM has
    them; lines are counted from 1, both included."""

    name: str
    index: int
    default: bool
    description: str
    base: str
    platform: str
    line: int
    end_line: int


class Parameter(Value):
    """What a target takes: kind is "arg", "secret", "ssh" or "cache". `value` is an argument's, with what was given;
    `required` whether a build fails without the secret or agent."""

    kind: str
    name: str
    value: str
    description: str
    required: bool
    line: int
    end_line: int


class Outline(Value):
    """One target, and its parameters in the order of their lines."""

    target: Target
    parameters: tuple[Parameter, ...]


def targets(dockerfile: Dockerfile) -> tuple[Target, ...]:
    """Every stage, in order."""
    return tuple(_target(dockerfile, stage) for stage in dockerfile.stages)


def outline(
    dockerfile: Dockerfile, target: str, given: Mapping[str, str], predefined: Mapping[str, str]
) -> Outline:
    """What the target, by default the last stage, takes with all the stages that it needs. `given` is --build-arg,
    `predefined` the platform arguments, which are nobody's to give. Raises DockerfileError."""
    stage = dockerfile.target(target)
    values = dockerfile.evaluate_global_args(given, predefined)
    stages = dockerfile.reachable(stage, values)
    found: dict[tuple[str, str], Parameter] = {}
    taken: set[str] = set()
    for each in stages:
        for parameter in _parameters(dockerfile, each, given, values):
            before = found.setdefault((parameter.kind, parameter.name), parameter)
            if parameter.required and not before.required:
                found[parameter.kind, parameter.name] = before.replace(required=True)
            taken.add(parameter.name)
        words = Watched({})
        for word in (each.base.image, each.base.platform):
            _try_to_expand(word, words, dockerfile.escape)
        taken.update(words.undefined)
    for arg in dockerfile.global_args:
        for name, _ in arg.pairs:
            if name in taken:
                description = _description(dockerfile, arg.line, name)
                inner = found.get(("arg", name))
                described = description or (inner.description if inner is not None else "")
                found["arg", name] = Parameter(
                    "arg", name, values.get(name, ""), described, False, arg.line, arg.end_line
                )
    kept = [one for one in found.values() if one.kind != "arg" or one.name not in predefined]
    return Outline(_target(dockerfile, stage), tuple(sorted(kept, key=lambda one: one.line)))


def _try_to_expand(word: str, words: Watched, escape: str) -> None:
    try:
        expand_word(word, words, escape)
    except InvalidArgument:
        pass  # what is asked for with ${name:?} is asked for all the same


def _parameters(
    dockerfile: Dockerfile, stage: Stage, given: Mapping[str, str], inherited: Mapping[str, str]
) -> Iterator[Parameter]:
    scope: dict[str, str] = {}
    for instruction in stage.instructions:
        at = instruction.line, instruction.end_line
        if isinstance(instruction, Arg):
            pairs = resolve_args(
                instruction, scope, given, inherited, dockerfile.escape, file=dockerfile.file
            )
            for name, value in pairs:
                scope.update({name: value} if value is not None else {})
                description = _description(dockerfile, instruction.line, name)
                yield Parameter("arg", name, value or "", description, False, *at)
        elif isinstance(instruction, Env):
            try:
                scope.update(expand(instruction, scope, dockerfile.escape, file=dockerfile.file).pairs)
            except DockerfileError:
                continue  # it may well be right with the variables of the base image
        elif isinstance(instruction, Run):
            for mount in instruction.mounts:
                if mount.kind in ("secret", "ssh", "cache"):
                    name = mount.id or ("default" if mount.kind == "ssh" else mount.target)
                    yield Parameter(mount.kind, name, "", "", mount.required, *at)


def _target(dockerfile: Dockerfile, stage: Stage) -> Target:
    base: From = stage.base
    return Target(
        stage.name,
        stage.index,
        stage is dockerfile.stages[-1],
        _description(dockerfile, base.line, stage.name),
        base.image,
        base.platform,
        base.line,
        base.end_line,
    )


def _description(dockerfile: Dockerfile, line: int, name: str) -> str:
    """What the comment above the line says of `name`."""
    for comment in reversed(dockerfile.remarks.comments.get(line, ())):
        first, _, rest = comment.partition(" ")
        if name and first.lower() == name.lower():
            return rest.strip()
    return ""
