"""Stages to a graph of steps: everything about a build that can be known before anything is executed.

The config after each instruction does not depend on what a RUN does, so all of it is settled here:
environments, users, working directories, commands, base images, sources in the context. What is left are
steps that make layers.

    Dockerfile ─► Planner ─► Plan(steps, target, config, ...) ─► solver

Only stages that the target needs are planned. A step's parent and source always have lower numbers than the
step.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tiffin.build.copying.sources import SourceTree
from tiffin.build.epoch import VARIABLE
from tiffin.build.planning import config as settings
from tiffin.build.planning import texts
from tiffin.build.planning.commands import PROXY_ARGS, plan_run
from tiffin.build.planning.config import Config
from tiffin.build.planning.graph import (
    BaseWork,
    CopyWork,
    DirectoryWork,
    FetchWork,
    Given,
    Plan,
    SettingsWork,
    Step,
    Work,
)
from tiffin.build.planning.hints import meant
from tiffin.build.planning.transfers import Desk, Origin, plan_transfer
from tiffin.dockerfile.expand import expand, resolve_args
from tiffin.dockerfile.instructions import (
    Arg,
    Cmd,
    Instruction,
    Label,
    Maintainer,
    Run,
    Transfer,
    Workdir,
)
from tiffin.dockerfile.parser import parse_trigger
from tiffin.dockerfile.place import nearest
from tiffin.dockerfile.platform_args import platform_args
from tiffin.dockerfile.stages import SCRATCH, Dockerfile, Stage
from tiffin.errors import (
    DockerfileError,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    TransferError,
    Unauthorized,
)
from tiffin.oci.platform import Platform, host_platform, normal, parse_platform
from tiffin.typed import Any, NamedTuple, Protocol


class _State(NamedTuple):
    """Where a stage stands: its last step, and everything later instructions of it depend on. `args` are all that
    were declared, with None for those that have no value."""

    step: int
    config: Config
    args: dict[str, str | None]
    base: dict[str, Any]
    platform: Platform
    author: str = ""
    own_command: bool = False


class Inputs(Protocol):
    """Where a build's files and images come from."""

    def named(self, name: str) -> str | None:
        """What a stage's or image's name stands for instead, by --build-context: "" its files, else an image's
        name; None for what it stands for anyway."""

    def tree(self, context: str) -> SourceTree:
        """The files of a named context, "" for the main one."""

    def base(self, name: str, platform: Platform | None) -> BaseWork:
        """An image; without a platform it is the one that the build is for. Raises NotFound."""


def make_plan(dockerfile: Dockerfile, given: Given, inputs: Inputs) -> Plan:
    """The plan for the target stage. Raises DockerfileError, with the line, for whatever cannot be built."""
    return _Planner(dockerfile, given, inputs).plan()


class _Planner:
    def __init__(self, dockerfile: Dockerfile, given: Given, inputs: Inputs) -> None:
        self._file = dockerfile
        self._given = given
        self._consumed: set[str] = set()
        self._inputs = inputs
        self._steps: list[Step] = []
        self._ends: dict[int, _State] = {}
        self._images: dict[tuple[str, Platform | None], int] = {}
        self._fetches: dict[FetchWork, int] = {}
        self._shown: dict[int, list[int]] = {}
        self._fresh = False  # whether the stage that is being planned is not to be taken from the cache
        self._platform_args = platform_args(given.platform, host_platform())
        self._globals = dockerfile.evaluate_global_args(given.build_args, self._platform_args)

    def plan(self) -> Plan:
        target = self._file.target(self._given.target)
        end = self._stage(target)
        if self._given.labels:
            line = (target.instructions or (target.base,))[-1].line
            label = Label(line=line, end_line=line, source="LABEL", pairs=tuple(self._given.labels.items()))
            end = self._settings(end, label)
            self._steps[end.step] = self._steps[end.step]._replace(created_by="")  # no instruction said it
        self._title_steps()
        return Plan(
            self._file.file,
            self._steps,
            end.step,
            end.config,
            end.author,
            end.base,
            [*self._unused_arguments(), *self._unknown_stages()],
            end.platform,
        )

    def _stage(self, stage: Stage) -> _State:
        """The stage planned to its end; once."""
        if stage.index not in self._ends:
            # Stages only look back, so this ends; deep chains of stages are bounded by the parser's own
            # limit, and are planned front to back so that they cost no depth here.
            for needed in self._file.reachable(stage, self._globals):
                if needed.index not in self._ends:
                    before, self._fresh = self._fresh, needed.name in self._given.fresh
                    self._ends[needed.index] = self._plan_stage(needed)
                    self._fresh = before
        return self._ends[stage.index]

    def _plan_stage(self, stage: Stage) -> _State:
        if stage.name and self._inputs.named(stage.name) is not None:
            with self._at(stage.base):
                return self._replacement(stage, stage.name)
        state = self._begin(stage)
        triggers = state.config.get("OnBuild") or []
        if triggers:
            state = state._replace(config={k: v for k, v in state.config.items() if k != "OnBuild"})
            image = self._file.base_image(stage, self._globals)
            for text in triggers:
                trigger = parse_trigger(text, image=image, line=stage.base.line)
                with self._at(trigger):
                    state = self._instruction(stage, state, trigger)
        for instruction in stage.instructions:
            with self._at(instruction):
                state = self._instruction(stage, state, instruction)
        return state

    def _begin(self, stage: Stage) -> _State:
        base = expand(stage.base, self._globals, self._file.escape, file=self._file.file)
        with self._at(stage.base):
            if self._inputs.named(base.image) is not None:
                return self._replacement(stage, base.image)
        below = self._file.base_stage(stage, self._globals)
        if below is not None:
            return self._stage(below)._replace(own_command=False)
        with self._at(stage.base):
            platform = parse_platform(base.platform) if base.platform else None
            return self._from_image(stage, base.image, platform)

    def _replacement(self, stage: Stage, name: str) -> _State:
        """A stage that is a named context instead: an image, or a directory's files."""
        image = self._inputs.named(name)
        if image:
            return self._from_image(stage, image, None)
        number = self._context_files(name, stage.base)
        self._shown.setdefault(stage.index, []).append(number)
        return _State(number, settings.scratch_config(), {}, {}, self._given.platform)

    def _from_image(self, stage: Stage, name: str, asked: Platform | None) -> _State:
        number = self._image(name, f"FROM {name}", stage.base, asked)
        platform = asked or self._given.platform
        self._shown.setdefault(stage.index, []).append(number)
        work = self._steps[number].work
        assert isinstance(work, BaseWork)
        if not work.document:
            return _State(number, settings.scratch_config(), {}, {}, platform)
        config = dict(work.document.get("config") or {})
        if not config.get("Env"):
            config["Env"] = [f"PATH={settings.DEFAULT_PATH}"]
        return _State(number, config, {}, work.document, platform)

    def _image(self, name: str, text: str, instruction: Instruction, platform: Platform | None = None) -> int:
        """The step that stands for an image; the same one whenever the image is named again."""
        if (name, platform) not in self._images:
            if name.lower() == SCRATCH:
                work = BaseWork((), {})
            else:
                try:
                    work = self._inputs.base(name, platform)
                except (NotFound, PermissionDenied, Unauthorized, TransferError) as error:
                    names = [stage.name for stage in self._file.stages if stage.name]
                    hint = meant(name, platform or self._given.platform, names)
                    named = "" if name in str(error) else f"{name}: "
                    raise NotFound(f"{named}{error}{hint}") from error
            self._images[name, platform] = self._add(-1, work, text, instruction)
        return self._images[name, platform]

    def _context_files(self, name: str, instruction: Instruction) -> int:
        """The step whose files are those of a named context."""
        nothing = self._image(SCRATCH, f"FROM {SCRATCH}", instruction)
        picked = self._inputs.tree(name).pick("/")
        text = f"FROM {name}"
        return self._add(
            nothing, CopyWork((), tuple(picked), (), "/", context=name), text, instruction, (), text
        )

    def _fetch(self, work: FetchWork, instruction: Instruction) -> int:
        """The step that fetches; the same one whenever the same is to be fetched."""
        if work not in self._fetches:
            from tiffin.registry.redact import redact  # as rare as a URL

            text = redact(work.url)
            self._fetches[work] = self._add(-1, work, text, instruction, title=text)
        return self._fetches[work]

    def _origin(self, stage: Stage, instruction: Instruction, name: str) -> Origin:
        """What a --from names: a named context, a stage before this one, an image. "" is the main context."""
        if not name:
            return Origin()
        image = self._inputs.named(name)
        if image == "":
            return Origin(context=name)
        if image is None:
            found = self._file.source(name, instruction, stage)
            if found is not None:
                return Origin(self._stage(found).step)
        image = image or name
        return Origin(self._image(image, f"FROM {image}", instruction))

    @contextmanager
    def _at(self, instruction: Instruction) -> Iterator[None]:
        """Errors raised within name the file, line and instruction."""
        try:
            yield
        except DockerfileError:
            raise
        except (NotFound, InvalidArgument, PermissionDenied, Unauthorized, TransferError) as error:
            raise DockerfileError(
                str(error), file=self._file.file, line=instruction.line, instruction=instruction.keyword
            ) from error

    def _add(
        self,
        parent: int,
        work: Work,
        created_by: str,
        instruction: Instruction,
        sources: tuple[int, ...] = (),
        title: str = "",
    ) -> int:
        number = len(self._steps)
        at = instruction.keyword, instruction.line
        step = Step(number, parent, sources, work, title, created_by, *at, fresh=self._fresh)
        self._steps.append(step)
        return number

    def _show(self, stage: Stage, state: _State, number: int) -> _State:
        self._shown.setdefault(stage.index, []).append(number)
        return state._replace(step=number)

    def _instruction(self, stage: Stage, state: _State, instruction: Instruction) -> _State:
        if isinstance(instruction, Arg):
            return self._arg(state, instruction)
        scope = _scope(state)
        final = expand(instruction, scope, self._file.escape, file=self._file.file)
        if isinstance(final, Run):
            return self._run(stage, state, final)
        if isinstance(final, Transfer):
            return self._copy(stage, state, final)
        if isinstance(final, Workdir):
            return self._workdir(stage, state, final)
        return self._settings(state, final)

    def _arg(self, state: _State, instruction: Arg) -> _State:
        scope = _scope(state)
        found = resolve_args(
            instruction, scope, self._given.build_args, self._globals, self._file.escape, file=self._file.file
        )
        self._consumed.update(name for name, _ in found)  # a trigger's too, which the file does not show
        args = dict(state.args)
        for name, value in found:
            if value is not None:
                args[name] = value
            else:
                args.setdefault(name, None)
        work = SettingsWork(state.config, state.author)
        number = self._add(state.step, work, texts.arg_text(found), instruction)
        self._steps[number] = self._steps[number]._replace(written=instruction.source)
        return state._replace(step=number, args=args)

    def _settings(self, state: _State, instruction: Instruction) -> _State:
        if isinstance(instruction, Maintainer):
            state = state._replace(author=instruction.author)
        else:
            after = settings.apply(state.config, instruction, own_command=state.own_command)
            state = state._replace(
                config=after, own_command=state.own_command or isinstance(instruction, Cmd)
            )
        work = SettingsWork(state.config, state.author)
        text = texts.settings_text(instruction, state.config)
        return state._replace(step=self._add(state.step, work, text, instruction))

    def _workdir(self, stage: Stage, state: _State, instruction: Workdir) -> _State:
        after = settings.apply(state.config, instruction, own_command=state.own_command)
        path = settings.working_directory(after)
        number = self._add(
            state.step,
            DirectoryWork(path, after.get("User") or ""),
            f"WORKDIR {path}",
            instruction,
            title=f"WORKDIR {path}",
        )
        return self._show(stage, state._replace(config=after), number)

    def _desk(self, stage: Stage, instruction: Instruction) -> Desk:
        return Desk(
            lambda name: self._origin(stage, instruction, name),
            self._inputs.tree,
            lambda work: self._fetch(work, instruction),
        )

    def _run(self, stage: Stage, state: _State, run: Run) -> _State:
        work, sources, text = plan_run(run, state.config, state.args, self._given, self._desk(stage, run))
        work = work._replace(platform=_image_platform(state))
        number = self._add(state.step, work, text, run, sources, title=run.title)
        return self._show(stage, state, number)

    def _copy(self, stage: Stage, state: _State, copy: Transfer) -> _State:
        work, sources = plan_transfer(copy, state.config, self._desk(stage, copy))
        text, title = texts.transfer_text(copy), texts.without_secrets(copy)
        return self._show(stage, state, self._add(state.step, work, text, copy, sources, title=title))

    def _title_steps(self) -> None:
        """Number what progress shows, now that each stage's length is known: "[build 2/5] RUN make". What several
        stages begin with is called by the first."""
        titled: set[int] = set()
        for index, numbers in sorted(self._shown.items()):
            stage = self._file.stages[index]
            prefix = stage.name or (f"stage-{index} " if len(self._file.stages) > 1 else "")
            prefix = f"{prefix.strip()} " if prefix else ""
            for at, number in enumerate(numbers, 1):
                if number in titled:
                    continue
                titled.add(number)
                step = self._steps[number]
                text = step.title or step.created_by
                self._steps[number] = step._replace(title=f"[{prefix}{at}/{len(numbers)}] {text}")

    def _unknown_stages(self) -> list[str]:
        unknown = sorted(self._given.fresh - {stage.name for stage in self._file.stages})
        return [f"--no-cache-filter: no stage is called {', '.join(unknown)}"] if unknown else []

    def _unused_arguments(self) -> list[str]:
        known = self._consumed | {name for arg in self._file.global_args for name, _ in arg.pairs}
        for stage in self._file.stages:
            for instruction in stage.instructions:
                if isinstance(instruction, Arg):
                    known.update(name for name, _ in instruction.pairs)
        # What callers of BuildKit set for the builder itself is no argument of the Dockerfile.
        given = {name for name in self._given.build_args if not name.startswith("BUILDKIT_")}
        unused = sorted(given - known - PROXY_ARGS - {VARIABLE} - set(self._platform_args))
        if not unused:
            return []
        hint = next(filter(None, (nearest(name, sorted(known - given)) for name in unused)), "")
        return [f"One or more build-args [{' '.join(unused)}] were not consumed{hint}"]


def _image_platform(state: _State) -> Platform:
    """What the files of a stage are for: what its base image says."""
    document = state.base
    if not document.get("architecture"):
        return state.platform
    return normal(
        Platform(document.get("os") or "linux", document["architecture"], document.get("variant") or "")
    )


def _scope(state: _State) -> dict[str, str]:
    """What instructions see: ENV comes before ARG."""
    args = {name: value for name, value in state.args.items() if value is not None}
    return {**args, **settings.environment(state.config)}
