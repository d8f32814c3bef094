"""Stages to a graph of steps: everything about a build that can be known before anything is executed.

The config after each instruction does not depend on what a RUN does, so all of it is settled here:
environments, users, working directories, commands, base images, sources in the context. What is left are
steps that make layers.

    Dockerfile ─► Planner ─► Plan(steps, target, config, ...) ─► solver

Only stages that the target needs are planned. A step's parent and source always have lower numbers than the
step.
"""

from __future__ import annotations

import json
import posixpath
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from tiffin.build import config as settings
from tiffin.build.cache import Layer
from tiffin.build.config import Config
from tiffin.build.sources import Picked, SourceTree, inside
from tiffin.dockerfile import remote
from tiffin.dockerfile.expand import expand, resolve_args
from tiffin.dockerfile.instructions import (
    Add,
    Arg,
    Cmd,
    Copy,
    Entrypoint,
    Env,
    Instruction,
    Label,
    Maintainer,
    Onbuild,
    Run,
    Transfer,
    Workdir,
)
from tiffin.dockerfile.parser import parse_trigger
from tiffin.dockerfile.place import Place
from tiffin.dockerfile.stages import SCRATCH, Dockerfile, Stage
from tiffin.errors import (
    DockerfileError,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    TransferError,
    Unauthorized,
)
from tiffin.oci.platform import Platform, parse_platform
from tiffin.typed import Any, NamedTuple

# Taken by every RUN when given, without an ARG; not part of any key or history, for they only say how to
# reach out.
PROXY_ARGS = frozenset(
    name
    for base in ("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY")
    for name in (base, base.lower())
)


class BaseWork(NamedTuple):
    """Begin with an image's layers, bottom first (scratch: none). `document` is its whole image config, {}
    for scratch."""

    layers: tuple[Layer, ...]
    document: dict[str, Any]


class SettingsWork(NamedTuple):
    """Change the config alone; `after` is all of it."""

    after: Config
    author: str


class DirectoryWork(NamedTuple):
    """Make the directory `path` where there is none."""

    path: str


class RunWork(NamedTuple):
    """Execute. `env` is what counts for the cache, `quiet_env` what does not. `script` is (path, text) of a
    file to put there while it runs, or None."""

    argv: tuple[str, ...]
    env: tuple[str, ...]
    quiet_env: tuple[str, ...]
    user: str
    cwd: str
    network: str
    script: tuple[str, str] | None


class CopyWork(NamedTuple):
    """Put files in place. From the context: `picked`, already found. From another step's files
    (`Step.source`): `sources`, to be found there. `files` are here-documents, (name, text). A `dest` ending
    in / is a directory."""

    sources: tuple[str, ...]
    picked: tuple[Picked, ...]
    files: tuple[tuple[str, str], ...]
    dest: str
    chown: str
    chmod: int  # -1: each file's own
    unpack: bool


Work = BaseWork | SettingsWork | DirectoryWork | RunWork | CopyWork


class Step(NamedTuple):
    """A node of the graph. `parent` is the step whose files it builds on, `source` the one that it copies
    from; -1 for none. `title` is what progress shows, "" for a step not worth showing."""

    number: int
    parent: int
    source: int
    work: Work
    title: str
    created_by: str
    keyword: str
    line: int


class Plan(NamedTuple):
    """All steps, which of them ends the target stage, and the target's config and base (its config
    document)."""

    file: str
    steps: list[Step]
    target: int
    config: Config
    author: str
    base: dict[str, Any]
    warnings: list[str]


class Given(NamedTuple):
    """What the caller of the build decides."""

    build_args: Mapping[str, str]
    labels: Mapping[str, str]
    target: str
    network: str
    platform: Platform


class _State(NamedTuple):
    """Where a stage stands: its last step, and everything later instructions of it depend on."""

    step: int
    config: Config
    args: dict[str, str]
    base: dict[str, Any]
    author: str = ""
    own_command: bool = False


def make_plan(
    dockerfile: Dockerfile, given: Given, context: SourceTree, resolve: Callable[[str], BaseWork]
) -> Plan:
    """The plan for the target stage. Raises DockerfileError, with the line, for whatever cannot be built."""
    return _Planner(dockerfile, given, context, resolve).plan()


class _Planner:
    def __init__(
        self, dockerfile: Dockerfile, given: Given, context: SourceTree, resolve: Callable[[str], BaseWork]
    ) -> None:
        self._file = dockerfile
        self._given = given
        self._context = context
        self._resolve = resolve
        self._steps: list[Step] = []
        self._ends: dict[int, _State] = {}
        self._images: dict[str, int] = {}
        self._shown: dict[int, list[int]] = {}
        self._platform_args = _platform_args(given.platform)
        self._globals = dockerfile.evaluate_global_args(given.build_args, self._platform_args)

    def plan(self) -> Plan:
        target = self._file.target(self._given.target)
        end = self._stage(target)
        if self._given.labels:
            line = (target.instructions or (target.base,))[-1].line
            label = Label(line=line, end_line=line, source="LABEL", pairs=tuple(self._given.labels.items()))
            end = self._settings(end, label)
        self._title_steps()
        return Plan(
            self._file.file, self._steps, end.step, end.config, end.author, end.base, self._unused_arguments()
        )

    def _stage(self, stage: Stage) -> _State:
        """The stage planned to its end; once."""
        if stage.index not in self._ends:
            # Stages only look back, so this ends; deep chains of stages are bounded by the parser's own
            # limit, and are planned front to back so that they cost no depth here.
            for needed in self._file.reachable(stage, self._globals):
                if needed.index not in self._ends:
                    self._ends[needed.index] = self._plan_stage(needed)
        return self._ends[stage.index]

    def _plan_stage(self, stage: Stage) -> _State:
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
        name = self._file.base_image(stage, self._globals)
        below = self._file.base_stage(stage, self._globals)
        if below is not None:
            return self._stage(below)._replace(own_command=False)
        with self._at(stage.base):
            self._check_platform(stage)
            number = self._image(name, f"FROM {name}", stage.base)
        self._shown.setdefault(stage.index, []).append(number)
        work = self._steps[number].work
        assert isinstance(work, BaseWork)
        if not work.document:
            return _State(number, settings.scratch_config(), {}, {})
        config = dict(work.document.get("config") or {})
        if not config.get("Env"):
            config["Env"] = [f"PATH={settings.DEFAULT_PATH}"]
        return _State(number, config, {}, work.document)

    def _check_platform(self, stage: Stage) -> None:
        platform = expand(stage.base, self._globals, self._file.escape, file=self._file.file).platform
        foreign = platform and parse_platform(platform) != self._given.platform
        self._refuse(stage.base, f"--platform={platform} on {self._given.platform}", foreign)

    def _image(self, name: str, text: str, instruction: Instruction) -> int:
        """The step that stands for an image; the same one whenever the image is named again."""
        if name not in self._images:
            if name.lower() == SCRATCH:
                work = BaseWork((), {})
            else:
                work = self._resolve(name)
            self._images[name] = self._add(-1, work, text, instruction)
        return self._images[name]

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
        source: int = -1,
        title: str = "",
    ) -> int:
        number = len(self._steps)
        step = Step(number, parent, source, work, title, created_by, instruction.keyword, instruction.line)
        self._steps.append(step)
        return number

    def _show(self, stage: Stage, state: _State, number: int) -> _State:
        self._shown.setdefault(stage.index, []).append(number)
        return state._replace(step=number)

    def _instruction(self, stage: Stage, state: _State, instruction: Instruction) -> _State:
        if isinstance(instruction, Arg):
            return self._arg(state, instruction)
        scope = {**state.args, **settings.environment(state.config)}
        final = expand(instruction, scope, self._file.escape, file=self._file.file)
        if isinstance(final, Run):
            return self._run(stage, state, final)
        if isinstance(final, Transfer):
            return self._copy(stage, state, final)
        if isinstance(final, Workdir):
            return self._workdir(stage, state, final)
        return self._settings(state, final)

    def _arg(self, state: _State, instruction: Arg) -> _State:
        scope = {**state.args, **settings.environment(state.config)}
        found = resolve_args(
            instruction, scope, self._given.build_args, self._globals, self._file.escape, file=self._file.file
        )
        return state._replace(
            args={**state.args, **{name: value for name, value in found if value is not None}}
        )

    def _settings(self, state: _State, instruction: Instruction) -> _State:
        if isinstance(instruction, Maintainer):
            state = state._replace(author=instruction.author)
        else:
            after = settings.apply(state.config, instruction, own_command=state.own_command)
            state = state._replace(
                config=after, own_command=state.own_command or isinstance(instruction, Cmd)
            )
        work = SettingsWork(state.config, state.author)
        text = _history_text(instruction, state.config)
        return state._replace(step=self._add(state.step, work, text, instruction))

    def _workdir(self, stage: Stage, state: _State, instruction: Workdir) -> _State:
        after = settings.apply(state.config, instruction, own_command=state.own_command)
        path = settings.working_directory(after)
        number = self._add(
            state.step, DirectoryWork(path), f"WORKDIR {path}", instruction, title=f"WORKDIR {path}"
        )
        return self._show(stage, state._replace(config=after), number)

    def _run(self, stage: Stage, state: _State, run: Run) -> _State:
        self._refuse(run, "--mount", run.mounts)
        self._refuse(run, f"--network={run.network}", run.network not in ("", "default"))
        self._refuse(run, "--security=insecure", run.security == "insecure")
        shell = settings.shell_of(state.config)
        script = None
        argv = run.argv(shell)
        if run.executable is not None:
            path = f"/dev/pipes/{posixpath.basename(run.executable.name) or 'script'}"
            script, argv = (path, run.executable.data), (path,)
        if not argv:
            raise InvalidArgument("the command is empty; write what to run")
        env = settings.environment(state.config)
        args = {name: value for name, value in state.args.items() if name not in env}
        quiet = {
            n: v
            for n, v in self._given.build_args.items()
            if n in PROXY_ARGS and n not in env and n not in args
        }
        work = RunWork(
            argv,
            tuple(f"{name}={value}" for name, value in {**args, **env}.items()),
            tuple(f"{name}={value}" for name, value in quiet.items()),
            state.config.get("User") or "",
            settings.working_directory(state.config),
            self._given.network,
            script,
        )
        text = " ".join([f"|{len(args)}", *(f"{n}={v}" for n, v in args.items()), *argv] if args else argv)
        return self._show(stage, state, self._add(state.step, work, f"RUN {text}", run, title=run.source))

    def _refuse(self, instruction: Instruction, feature: str, asked: object) -> None:
        """What this version can read and not do is refused, never left out."""
        if asked:
            place = Place(self._file.file, instruction.line, instruction.keyword)
            raise place.lacking(f"{instruction.keyword} {feature}")

    def _refuse_flags(self, copy: Transfer) -> None:
        self._refuse(copy, "--link", copy.link)
        self._refuse(copy, "--exclude", copy.exclude)
        self._refuse(copy, "--parents", copy.parents)
        self._refuse(copy, "--chmod with a symbolic mode", copy.chmod and not copy.chmod.isdigit())
        if isinstance(copy, Add):
            self._refuse(copy, "of a git repository", any(map(remote.is_git, copy.sources)))
            self._refuse(copy, "of a URL", any(map(remote.is_url, copy.sources)))
            self._refuse(copy, "--unpack=false", copy.unpack is False)

    def _copy(self, stage: Stage, state: _State, copy: Transfer) -> _State:
        self._refuse_flags(copy)
        source = self._copy_source(stage, copy) if isinstance(copy, Copy) and copy.from_ else -1
        picked: list[Picked] = []
        for path in copy.sources:
            if source < 0:
                picked += self._context.pick(path)
            else:
                inside(path, "the copied stage")
        dest = settings.absolute(state.config, copy.dest)
        if copy.dest.endswith(("/", "/.", "/..")) or copy.dest in ("", ".", ".."):
            dest = dest.rstrip("/") + "/"
        work = CopyWork(
            copy.sources if source >= 0 else (),
            tuple(picked),
            tuple((document.name, document.data) for document in copy.heredocs),
            dest,
            copy.chown,
            int(copy.chmod, 8) if copy.chmod else -1,
            isinstance(copy, Add),
        )
        number = self._add(state.step, work, copy.source, copy, source, title=copy.source)
        return self._show(stage, state, number)

    def _copy_source(self, stage: Stage, copy: Copy) -> int:
        found = self._file.copy_source(copy, stage)
        if found is not None:
            return self._stage(found).step
        return self._image(copy.from_, f"FROM {copy.from_}", copy)

    def _title_steps(self) -> None:
        """Number what progress shows, now that each stage's length is known: "[build 2/5] RUN make"."""
        for index, numbers in self._shown.items():
            stage = self._file.stages[index]
            prefix = stage.name or (f"stage-{index} " if len(self._file.stages) > 1 else "")
            prefix = f"{prefix.strip()} " if prefix else ""
            for at, number in enumerate(numbers, 1):
                step = self._steps[number]
                text = step.title or step.created_by
                self._steps[number] = step._replace(title=f"[{prefix}{at}/{len(numbers)}] {text}")

    def _unused_arguments(self) -> list[str]:
        known = {name for arg in self._file.global_args for name, _ in arg.pairs}
        for stage in self._file.stages:
            for instruction in stage.instructions:
                if isinstance(instruction, Arg):
                    known.update(name for name, _ in instruction.pairs)
        # What callers of BuildKit set for the builder itself is no argument of the Dockerfile.
        given = {name for name in self._given.build_args if not name.startswith("BUILDKIT_")}
        unused = sorted(given - known - PROXY_ARGS - {"SOURCE_DATE_EPOCH"} - set(self._platform_args))
        return [f"One or more build-args [{' '.join(unused)}] were not consumed"] if unused else []


def _platform_args(platform: Platform) -> dict[str, str]:
    found = {}
    for prefix in ("TARGET", "BUILD"):
        found[f"{prefix}PLATFORM"] = str(platform)
        found[f"{prefix}OS"] = platform.os
        found[f"{prefix}ARCH"] = platform.architecture
        found[f"{prefix}VARIANT"] = platform.variant
    return found


def _history_text(instruction: Instruction, config: Config) -> str:
    """An instruction as the image's history shows it, its variables replaced."""
    match instruction:
        case Env(pairs=pairs) | Label(pairs=pairs):
            return " ".join([instruction.keyword, *(f"{name}={value}" for name, value in pairs)])
        case Cmd():
            return f"CMD {_argv_text(config.get('Cmd'))}"
        case Entrypoint():
            return f"ENTRYPOINT {_argv_text(config.get('Entrypoint'))}"
        case Onbuild(trigger=trigger):
            return f"ONBUILD {trigger}"
    return instruction.source


def _argv_text(argv: list[str] | None) -> str:
    return json.dumps(argv or [], ensure_ascii=False)
