"""A Dockerfile as stages: what begins where, what builds on what, and which stages a target needs."""

from __future__ import annotations

import re

from tiffin.dockerfile.expand import expand, resolve_args
from tiffin.dockerfile.instructions import Arg, Copy, From, Instruction, Run
from tiffin.dockerfile.lines import Remarks
from tiffin.dockerfile.parser import parse
from tiffin.dockerfile.place import Place, nearest, shown
from tiffin.dockerfile.value import Value
from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

SCRATCH = "scratch"


class Stage(Value):
    """One FROM and what follows it. `name` is lower case, or "" for a stage that has only its `index`."""

    name: str
    index: int
    base: From
    instructions: tuple[Instruction, ...]

    @property
    def title(self) -> str:
        """How messages and progress call it: its name, else its number."""
        return self.name or str(self.index)


class Dockerfile(Value):
    """A parsed and checked Dockerfile: at least one stage, COPY --from and mounts only backwards. Of stages with the
    same name the last one counts, among those that may be used at a place.
    """

    file: str
    stages: tuple[Stage, ...]
    global_args: tuple[Arg, ...]
    escape: str
    directives: dict[str, str]
    remarks: Remarks

    def stage(self, reference: str, before: int | None = None) -> Stage | None:
        """The stage that a name (in any case) or number means, None when it means none.

        With `before`, only stages whose index is lower: those that a stage of that index may use.
        """
        known = self.stages[:before]
        if re.fullmatch("[0-9]{1,6}", reference):
            return known[int(reference)] if int(reference) < len(known) else None
        lowered = reference.lower()
        return next((stage for stage in reversed(known) if stage.name and stage.name == lowered), None)

    def target(self, reference: str = "") -> Stage:
        """The stage to build: the last one, or what --target says. Raises DockerfileError for an unknown
        target.
        """
        if not reference:
            return self.stages[-1]
        found = self.stage(reference)
        if found is None:
            names = [stage.name for stage in self.stages if stage.name]
            hint = nearest(reference.lower(), names)
            raise Place(self.file).error(f"target stage {shown(reference)} could not be found{hint}")
        return found

    def evaluate_global_args(self, given: Mapping[str, str], predefined: Mapping[str, str]) -> dict[str, str]:
        """The values of the ARGs before the first FROM, for FROM lines and for ARGs in stages that take them
        over.

        `given` is --build-arg, `predefined` what is known without any ARG (platform arguments).
        """
        values = dict(predefined)
        for arg in self.global_args:
            pairs = resolve_args(arg, values, given, {}, self.escape, file=self.file)
            values.update((name, value) for name, value in pairs if value is not None)
        return values

    def base_image(self, stage: Stage, global_values: Mapping[str, str]) -> str:
        """The image or stage that `stage` begins with, its variables replaced. Raises DockerfileError."""
        return expand(stage.base, global_values, self.escape, file=self.file).image

    def base_stage(self, stage: Stage, global_values: Mapping[str, str]) -> Stage | None:
        """The earlier stage that `stage` begins with; None for an image and for scratch.

        A number is an image's name here: FROM knows stages by name alone.
        """
        image = self.base_image(stage, global_values).lower()
        earlier = reversed(self.stages[: stage.index])
        return next((each for each in earlier if each.name and each.name == image), None)

    def reachable(self, target: Stage, global_values: Mapping[str, str]) -> tuple[Stage, ...]:
        """`target` and every stage that it needs, by FROM, COPY --from or a mount, in the file's order; no
        others.

        Triggers that base images bring (ONBUILD) may need further stages: that is for the builder, who reads
        them.
        """
        needed: set[int] = set()
        waiting = [target]
        while waiting:
            stage = waiting.pop()
            if stage.index in needed:
                continue
            needed.add(stage.index)
            waiting.extend(self.needs(stage, stage.instructions))
            base = self.base_stage(stage, global_values)
            if base is not None:
                waiting.append(base)
        return tuple(stage for stage in self.stages if stage.index in needed)

    def needs(self, stage: Stage, instructions: Iterable[Instruction]) -> list[Stage]:
        """The stages that `instructions` of `stage` take files from. Raises as `source` does."""
        found = [
            self.source(from_, instruction, stage)
            for instruction in instructions
            for from_ in _sources(instruction)
        ]
        return [each for each in found if each is not None]

    def source(self, from_: str, instruction: Instruction, stage: Stage) -> Stage | None:
        """The stage that `from_` of a COPY or of a RUN's mount in `stage` means; None for the context and for an
        image.

        Raises DockerfileError for a stage that comes later, for the stage itself, and for a number without a
        stage.
        """
        if not from_:
            return None
        found = self.stage(from_, before=stage.index)
        if found is not None:
            return found
        place = Place(self.file, instruction.line, instruction.keyword)
        later = self.stage(from_)
        if later is not None:
            what = "itself" if later is stage else f"{later.title}, which begins on line {later.base.line}"
            takes = "copy" if isinstance(instruction, Copy) else "mount"
            raise place.error(
                f"stage {stage.title} cannot {takes} from {what}: a stage takes from those before it"
            )
        if re.fullmatch("-?[0-9]+", from_):
            raise place.error(f"no stage has the number {shown(from_)}")
        return None


def _sources(instruction: Instruction) -> tuple[str, ...]:
    """What the instruction names to take files from, stages and images."""
    if isinstance(instruction, Copy):
        return (instruction.from_,)
    if isinstance(instruction, Run):
        return tuple(mount.from_ for mount in instruction.mounts)
    return ()


def parse_dockerfile(data: bytes, name: str = "Dockerfile") -> Dockerfile:
    """Parse and check a whole Dockerfile. `name` is for messages. Raises DockerfileError and Unsupported."""
    document = parse(data, name)
    global_args: list[Arg] = []
    heads: list[From] = []
    bodies: list[list[Instruction]] = []
    for instruction in document.instructions:
        if isinstance(instruction, From):
            heads.append(instruction)
            bodies.append([])
        elif heads:
            bodies[-1].append(instruction)
        elif isinstance(instruction, Arg):
            global_args.append(instruction)
        else:
            place = Place(name, instruction.line, instruction.keyword)
            raise place.error("no build stage yet: only ARG may come before the first FROM")
    if not heads:
        raise Place(name).error("no FROM: a Dockerfile needs at least one")
    stages = tuple(
        Stage(head.name, index, head, tuple(body))
        for index, (head, body) in enumerate(zip(heads, bodies, strict=True))
    )
    dockerfile = Dockerfile(
        name, stages, tuple(global_args), document.escape, document.directives, document.remarks
    )
    for stage in stages:
        dockerfile.needs(stage, stage.instructions)
    return dockerfile
