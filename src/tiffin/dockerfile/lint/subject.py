"""What the rules look at: the Dockerfile, and what is known around it."""

from __future__ import annotations

from tiffin.dockerfile.expand import expand, resolve_args
from tiffin.dockerfile.instructions import Arg, Env
from tiffin.dockerfile.shell_words import SPACE, Watched
from tiffin.dockerfile.value import Value
from tiffin.errors import DockerfileError, TiffinError
from tiffin.typed import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from tiffin.dockerfile.instructions import Instruction
    from tiffin.dockerfile.stages import Dockerfile, Stage
    from tiffin.oci.platform import Platform

_SCRATCH = "scratch"
_DEFAULT_ENV = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}


def _nothing_known(_: str, /) -> Mapping[str, str] | None:
    return None


def _no_platform_known(_name: str, _asked: str, /) -> None:
    return None


def _nothing_ignored(_: str, /) -> bool:
    return False


class Scope:
    """Where a stage stands: what variables hold, the names that are declared, whether or not they have a value, and
    whether all of the base's are among them. `fixed` are those of ENV, which come before those of ARG.
    """

    def __init__(
        self, env: Mapping[str, str], declared: Iterable[str], fixed: Iterable[str], *, whole: bool
    ) -> None:
        self.env = Watched(dict(env))
        self.declared = dict.fromkeys(declared)
        self.fixed = set(fixed)
        self.whole = whole

    def copy(self) -> Scope:
        """For a stage that goes on from here."""
        return Scope(self.env, self.declared, self.fixed, whole=self.whole)


class Visit(NamedTuple):
    """An instruction with its words replaced (as written where that failed), and the variables that were not there.
    `scope` is how things stand behind it, while it is visited. `error` is why its words could not be replaced, where
    nothing that is not known here could mend it."""

    instruction: Instruction
    missing: tuple[str, ...]
    scope: Scope
    error: DockerfileError | None


class Subject(Value):
    """A Dockerfile under check.

    build_args   --build-arg
    predefined   the platform arguments
    ignored      whether the context's ignore file leaves a path out
    base_env     the environment of an image, None for one that is not known here
    platforms    of an image, and of FROM's --platform ("": none): what it is for, and what it should be for; None
                 where that is not known here
    only         the stages that are looked at instruction by instruction; None: all
    """

    dockerfile: Dockerfile
    build_args: Mapping[str, str] = {}
    predefined: Mapping[str, str] = {}
    ignored: Callable[[str], bool] = _nothing_ignored
    base_env: Callable[[str], Mapping[str, str] | None] = _nothing_known
    only: tuple[Stage, ...] | None = None
    platforms: Callable[[str, str], tuple[Platform, Platform] | None] = _no_platform_known

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The stages whose instructions are to be judged."""
        return self.dockerfile.stages if self.only is None else self.only

    def written(self) -> Iterator[Instruction]:
        """Every instruction of the file, FROM and global ARG too, in order."""
        yield from self.dockerfile.global_args
        for stage in self.dockerfile.stages:
            yield stage.base
            yield from stage.instructions

    def judged(self) -> Iterator[Instruction]:
        """The instructions of `stages`, as written."""
        for stage in self.stages:
            yield from stage.instructions

    def global_values(self, given: Mapping[str, str] | None = None) -> dict[str, str]:
        """The global ARGs' values with these build arguments (default: the build's); where one cannot be evaluated,
        which the build says itself, the platform arguments alone.
        """
        try:
            given = self.build_args if given is None else given
            return self.dockerfile.evaluate_global_args(given, self.predefined)
        except TiffinError:
            return dict(self.predefined)

    def bases(self) -> dict[int, Stage]:
        """The stage that each stage begins with, by index; those that begin with an image are not in it."""
        values = self.global_values()
        named: dict[str, Stage] = {}
        found: dict[int, Stage] = {}
        for stage in self.dockerfile.stages:
            try:
                image = self.dockerfile.base_image(stage, values).lower()
            except TiffinError:
                image = ""  # the build says so itself
            if image in named:
                found[stage.index] = named[image]
            if stage.name:
                named[stage.name] = stage
        return found

    def visits(self) -> Iterator[Visit]:
        """The instructions of `stages`, evaluated in order."""
        ends: dict[int, Scope] = {}
        inherited, bases = self.global_values(), self.bases()
        wanted = {stage.index for stage in self.stages}
        for stage in self.dockerfile.stages:
            base = bases.get(stage.index)
            scope = ends[base.index].copy() if base else self._begin(stage, inherited)
            for instruction in stage.instructions:
                visit = self._visit(instruction, scope, inherited)
                if stage.index in wanted:
                    yield visit
            ends[stage.index] = scope

    def _begin(self, stage: Stage, inherited: Mapping[str, str]) -> Scope:
        """Where a stage of an image begins."""
        try:
            image = self.dockerfile.base_image(stage, inherited)
        except TiffinError:
            return Scope(_DEFAULT_ENV, _DEFAULT_ENV, _DEFAULT_ENV, whole=False)
        known = _DEFAULT_ENV if image.lower() == _SCRATCH else self.base_env(image)
        env = {**_DEFAULT_ENV, **(known or {})}
        return Scope(env, env, env, whole=known is not None)

    def _visit(self, instruction: Instruction, scope: Scope, inherited: Mapping[str, str]) -> Visit:
        escape, file = self.dockerfile.escape, self.dockerfile.file
        scope.env.missing.clear()
        declares: tuple[str, ...] = ()
        values: dict[str, str] = {}
        error: DockerfileError | None = None
        try:
            if isinstance(instruction, Arg):
                pairs = resolve_args(instruction, scope.env, self.build_args, inherited, escape, file=file)
                free = [(name, value) for name, value in pairs if name not in scope.fixed]
                values = {name: value for name, value in free if value is not None}
                declares = tuple(name for name, _ in pairs)
            else:
                instruction = expand(instruction, scope.env, escape, file=file)
                if isinstance(instruction, Env):
                    values = dict(instruction.pairs)
                    scope.fixed.update(values)
        except DockerfileError as wrong:
            error = wrong if scope.whole or not scope.env.missing else None
        scope.declared.update(dict.fromkeys(declares))
        missing = tuple(name for name in scope.env.undefined if name not in scope.declared)
        scope.env.update(values)
        scope.declared.update(dict.fromkeys(values))
        return Visit(instruction, missing, scope, error)


def mistake(subject: Subject) -> DockerfileError | None:
    """The first thing that a build of all stages would stop at, as far as it can be told without building."""
    dockerfile = subject.dockerfile
    try:
        values = dockerfile.evaluate_global_args(subject.build_args, subject.predefined)
        for stage in dockerfile.stages:
            expand(stage.base, values, dockerfile.escape, file=dockerfile.file)
    except DockerfileError as error:
        return error
    return next((visit.error for visit in subject.visits() if visit.error is not None), None)


def keyword(instruction: Instruction) -> str:
    """The keyword as it is written."""
    return instruction.source.split(maxsplit=1)[0].strip(SPACE)
