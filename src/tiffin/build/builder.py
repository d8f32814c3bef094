"""`Builder`: a context and a Dockerfile in, an image out. The road from one end to the other is
`Builder.build`."""

from __future__ import annotations

import os
from collections.abc import Sequence

from tiffin.build.cache import BuildCache, Cached, Elsewhere, Layer
from tiffin.build.checks import check_build
from tiffin.build.contexts import lending
from tiffin.build.contexts.arrivals import Arrivals
from tiffin.build.contexts.context import MAX_DOCKERFILE, Context
from tiffin.build.contexts.inputs import LAYOUT, BuildInputs, Lent, Shell
from tiffin.build.epoch import NO_EPOCH, VARIABLE, epoch_of, with_epoch
from tiffin.build.planning.graph import BaseWork, Given, Plan, Step, Surroundings
from tiffin.build.planning.plan import make_plan
from tiffin.build.progress import Fetching, ForPlatform, Notice, Progress, StepReason
from tiffin.build.request import BuildRequest, BuildResult
from tiffin.build.results.history import Recorder
from tiffin.build.solving.claims import Claims
from tiffin.build.solving.executor import StepExecutor
from tiffin.build.solving.export import Solved, image_document
from tiffin.build.solving.solver import Solver
from tiffin.dockerfile.place import shown
from tiffin.dockerfile.stages import Dockerfile, parse_dockerfile
from tiffin.errors import InvalidArgument, LimitExceeded, NotFound
from tiffin.images import Images, LayerBlob
from tiffin.kernel.process import thread_count
from tiffin.oci.digest import is_digest
from tiffin.oci.image import check_config
from tiffin.oci.platform import Platform, host_platform, parse_platform
from tiffin.oci.reference import parse_reference
from tiffin.state import Store
from tiffin.typed import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from tiffin.build.solving.explain import Explainer, Memory
    from tiffin.build.solving.steps import Runner
    from tiffin.images import Image
    from tiffin.images.transfer import Report, TransferEvent

NETWORKS = ("bridge", "host", "none")
_DEFAULT_NETWORKS = ("", "default")


class BaseImages(Protocol):
    """Where base images come from that are not here."""

    def __call__(self, name: str, platform: str, report: Report, /) -> Image:
        """Fetch the image for `platform` ("": this machine's) and give it its name. Raises NotFound, and what else
        fetching may."""


class Finish(Protocol):
    """What becomes of what was built. Called while nothing is collected."""

    def __call__(
        self, request: BuildRequest, solved: Sequence[Solved], names: Sequence[str], /
    ) -> BuildResult:
        """`solved` is in the order of the platforms asked for. The result's warnings are the caller's to add."""


class Builder:
    """Builds images into one engine's stores. `run` executes a RUN: see tiffin.build.running.run. `fetch` has images
    that are not here; without it they are not found. `finish` does with the result what the request says; without it,
    the result is an image here. `elsewhere` are results of other engines' builds.

    Every step is forked, which takes a process with one thread. In a program that has more, a build runs as a
    whole in a process of its own, with tiffin's own `Runner`.
    """

    def __init__(
        self,
        store: Store,
        images: Images,
        run: Runner,
        fetch: BaseImages | None = None,
        finish: Finish | None = None,
        elsewhere: Elsewhere | None = None,
    ) -> None:
        self._store = store
        self._images = images
        self._run = run
        self._fetch = fetch
        self._finish = finish or self._record
        self._elsewhere = elsewhere

    def build(self, request: BuildRequest) -> BuildResult:
        """Build, record the image, give it its names. Nothing has a name until all is done; of a build that
        fails, what stays are the cached results of the steps that did not.

        Raises DockerfileError (StepError for a step that failed, with the end of its log), NotFound (context,
        Dockerfile, base image), InvalidArgument, NoSpace and the other errors of the stores.
        """
        if thread_count() != 1:
            from tiffin.build.apart import build_apart

            return build_apart(self._store.layout, request)
        names = [str(parse_reference(tag)) for tag in request.tags]
        elsewhere = request.outputs or request.annotations or request.cache_to or "," in request.platform
        if (elsewhere and self._finish == self._record) or (request.cache_from and self._elsewhere is None):
            raise InvalidArgument(
                "this builder makes images for one platform here; for all else use Engine.build"
            )
        if request.network in _DEFAULT_NETWORKS:
            request = request._replace(network="bridge")
        if request.network not in NETWORKS:
            raise InvalidArgument(
                f"invalid network {request.network!r} for a build; choose one of {', '.join(NETWORKS)}"
            )
        staging = self._store.layout.staging
        with (
            Recorder(self._store.layout, request) as record,
            lending.lending(request.secrets, request.ssh, staging) as lent,
        ):
            shell = Shell(request.shell, request.shell_fd if request.shell else -1)
            return self._build_recorded(
                request._replace(progress=record), names, lent._replace(shell=shell), record
            )

    def _build_recorded(
        self, request: BuildRequest, names: list[str], lent: Lent, record: Recorder
    ) -> BuildResult:
        lending.check_contexts(request.contexts)
        request = request._replace(build_args=with_epoch(request.build_args, os.environ))
        epoch = epoch_of(request.build_args)
        platforms = _platforms(request.platform)
        with Arrivals(self._store.layout, lent) as arrivals:
            reproducible = epoch != NO_EPOCH
            context, text = arrivals.main(request.context_dir, request.dockerfile, request.stdin)

            def open_context(value: str) -> Context:
                found = arrivals.context(value)
                return found.use_checkout_modes() if reproducible else found

            inputs = BuildInputs(
                context.use_checkout_modes() if reproducible else context,
                request.contexts,
                open_context,
                _Bases(self._images, self._fetch, request),
            )
            try:
                dockerfile = _read(context, request.dockerfile if text is None else text, record)
                cache = BuildCache(self._store, self._elsewhere)
                rooms = _Rooms(inputs, arrivals, lent, cache, {}, epoch)
                with self._store.adding():
                    solved, told = self._solve_all(request, dockerfile, platforms, rooms)
                    result = self._finish(request, solved, names)
                return result._replace(warnings=tuple(told.warnings), checks=tuple(told.checks))
            finally:
                inputs.close()

    def _solve_all(
        self, request: BuildRequest, dockerfile: Dockerfile, platforms: Sequence[Platform], rooms: _Rooms
    ) -> tuple[list[Solved], _Told]:
        """The result for each platform, and what was told of all."""
        solved: list[Solved] = []
        told = _Told(request.progress, {}, [])
        steps = 0
        for platform in platforms:
            given = Given(
                request.build_args,
                request.labels,
                request.target,
                request.network,
                platform,
                lending.granted(request.allow),
                _surroundings(request),
                frozenset(name.lower() for name in request.fresh),
            )
            if request.platform:
                rooms.inputs.base = _Bases(self._images, self._fetch, request, platform)
            plan = make_plan(dockerfile, given, rooms.inputs)
            if request.squash:
                from tiffin.build.solving.squash import squashed

                plan = squashed(plan)
            told.warn(*plan.warnings)
            if not solved:  # once, and now that the base images are here
                report = check_build(request, dockerfile, rooms.inputs.context(""), self._images)
                told.warn(*report.unknown)
                told.checks.extend(finding.short for finding in report.findings)
            progress = request.progress
            if len(platforms) > 1:
                progress = ForPlatform(progress, platform, steps)
            solved.append(self._solve(request, plan, platform, rooms, progress))
            steps += len(plan.steps)
        if widened := rooms.inputs.tree("").widened:
            told.warn(_widened(widened))
        return solved, told

    def _solve(
        self, request: BuildRequest, plan: Plan, platform: Platform, rooms: _Rooms, progress: Progress
    ) -> Solved:
        inputs = rooms.inputs
        executor = StepExecutor(
            self._store.layout,
            self._images,
            inputs,
            self._run,
            rooms.lent,
            rooms.arrivals.directory,
            rooms.epoch,
        )
        watcher = _Watcher(request, plan, self._store.layout.cache, rooms, progress)
        solver = Solver(
            plan,
            rooms.cache,
            executor,
            progress,
            Claims(f"{self._store.layout.root}/steps.lock"),
            no_cache=request.no_cache,
            jobs=request.jobs or max(2, os.cpu_count() or 1),
            epoch=rooms.epoch,
            made=rooms.made,
            ran=watcher.ran,
        )
        watcher.watch(solver)
        try:
            outcomes = solver.solve()
            watcher.remember(whole=True)
        except BaseException:
            watcher.remember(whole=False)
            raise
        finally:
            inputs.save_digests()
        document = image_document(plan, solver.chain(), outcomes, plan.platform, rooms.epoch)
        layers = tuple(LayerBlob(*layer) for layer in outcomes[-1].layers)
        return Solved(
            platform,
            check_config(document, "the built config"),
            layers,
            len(layers) - len(outcomes[0].layers),
            solver.kept() if request.cache_to else (),
        )

    def _record(self, _request: BuildRequest, solved: Sequence[Solved], names: Sequence[str]) -> BuildResult:
        """The result as an image, and nothing else."""
        image = self._images.create(solved[0].document, solved[0].layers, names)
        return BuildResult(image.id, tuple(names), ())


def _surroundings(request: BuildRequest) -> Surroundings:
    return Surroundings(
        tuple((name, address) for name, _, address in (entry.partition(":") for entry in request.hosts)),
        request.shm_size,
        tuple((name, soft, hard) for name, soft, hard in request.ulimits),
        tuple(sorted((name, value) for name, value in request.limits.items() if value)),
    )


def _platforms(text: str) -> list[Platform]:
    """Those asked for, each once."""
    words = [word.strip() for word in text.split(",") if word.strip()]
    return list(dict.fromkeys(parse_platform(word) for word in words)) or [host_platform()]


def _widened(paths: Sequence[str]) -> str:
    return (
        f"{VARIABLE} is set: files have the modes of a checkout, whatever the umask; others may read "
        f"{len(paths)} more than in the context, such as {shown(paths[0] or '.')}: say --chmod where it matters"
    )


class _Told(NamedTuple):
    """What a build warns of, each once, and what the lint found."""

    progress: Progress
    warnings: dict[str, None]
    checks: list[str]

    def warn(self, *texts: str) -> None:
        for text in texts:
            if text not in self.warnings:
                self.warnings[text] = None
                self.progress(Notice(text))


class _Rooms(NamedTuple):
    inputs: BuildInputs
    arrivals: Arrivals
    lent: Lent
    cache: BuildCache
    made: dict[str, Cached]
    epoch: int


class _Watcher:
    """Has an `Explainer` know which steps ran, tells why when that is wanted, and remembers for the next build."""

    def __init__(
        self, request: BuildRequest, plan: Plan, directory: str, rooms: _Rooms, progress: Progress
    ) -> None:
        self._request = request
        self._plan = plan
        self._directory = directory
        self._memory: Memory | None = None
        self._inputs = rooms.inputs
        self._epoch = rooms.epoch
        self._progress = progress
        self._solver: Solver | None = None
        self._explainer: Explainer | None = None

    def watch(self, solver: Solver) -> None:
        self._solver = solver

    def ran(self, step: Step) -> None:
        """Of a build whose steps are all in the cache nothing is read or written."""
        reasons = self._explaining().ran(step, reasons=self._request.explain)
        if self._request.explain and step.title:
            self._progress(StepReason(step.number + 1, reasons))

    def remember(self, *, whole: bool) -> None:
        """Of a build that failed, beside what is known of the one before."""
        if self._explainer is not None and self._memory is not None:
            kept = {} if whole else self._memory.read()
            self._memory.write({**kept, **self._explainer.record()})

    def _explaining(self) -> Explainer:
        if self._explainer is None:
            from tiffin.build.solving.explain import Circumstances, Explainer, Memory

            assert self._solver is not None
            inputs, request, plan = self._inputs, self._request, self._plan
            identity = inputs.context("").path, plan.file, request.target, str(plan.platform)
            self._memory = Memory(self._directory, *identity)
            how = Circumstances(
                request.no_cache,
                frozenset(request.build_args),
                lambda context, picked: inputs.context(context).file_digests(picked),
                self._epoch,
            )
            self._explainer = Explainer(plan, self._solver.done, self._memory.read(), how)
        return self._explainer


class _Bases:
    """Finds base images: here, else by fetching them. `usual` is the platform of those that no platform is said of."""

    def __init__(
        self,
        images: Images,
        fetch: BaseImages | None,
        request: BuildRequest,
        usual: Platform | None = None,
    ) -> None:
        self._usual = usual
        self._images = images
        self._fetch = fetch
        self._request = request

    def __call__(self, name: str, platform: Platform | None) -> BaseWork:
        """See plan.Inputs.base."""
        if name.startswith(LAYOUT):
            from tiffin.build.contexts.layouts import load_layout

            image = load_layout(self._images, name)
        else:
            image = self._find(name, platform)
        layers = tuple(Layer(*layer) for layer in self._images.layers(image))
        return BaseWork(layers, image.config)

    def _find(self, name: str, platform: Platform | None) -> Image:
        request, platform = self._request, platform or self._usual
        named = not is_digest(name)  # an ID is no name that a registry knows
        if request.pull and self._fetch is None:
            raise InvalidArgument("this builder has no way to fetch base images anew")
        if not (request.pull and self._fetch and named):
            try:
                return self._images.resolve(name, platform)
            except NotFound as error:
                if self._fetch is None or not named:
                    raise NotFound(f"{error}; load, import or build it first") from error

        def report(event: TransferEvent, /) -> None:
            request.progress(Fetching(name, *event))

        return self._fetch(name, str(platform or ""), report)


def _read(context: Context, dockerfile: str | bytes, record: Recorder) -> Dockerfile:
    """The parsed Dockerfile, with the ignore rules that go with it in force."""
    if isinstance(dockerfile, bytes):
        if len(dockerfile) > MAX_DOCKERFILE:
            raise LimitExceeded(f"the Dockerfile is larger than {MAX_DOCKERFILE >> 20} MiB")
        context.use_ignore_rules()
        text, name = dockerfile, "Dockerfile"
    else:
        text, name = context.read_dockerfile(dockerfile)
        context.use_ignore_rules(dockerfile)
    record.source(name, text)
    parsed = parse_dockerfile(text, name)
    record.parsed(parsed)
    return parsed
