"""`Builder`: a context and a Dockerfile in, an image out. The road from one end to the other is
`Builder.build`."""

from __future__ import annotations

import os
from collections.abc import Mapping

from tiffin.build import lending
from tiffin.build.arrivals import Arrivals, is_remote
from tiffin.build.cache import BuildCache, Layer
from tiffin.build.checks import check_build
from tiffin.build.context import MAX_DOCKERFILE, Context
from tiffin.build.executor import StepExecutor
from tiffin.build.export import image_document
from tiffin.build.graph import BaseWork, Given
from tiffin.build.history import Recorder
from tiffin.build.inputs import LAYOUT, BuildInputs, Lent, Shell
from tiffin.build.plan import make_plan
from tiffin.build.progress import Fetching, Notice, Progress, silent
from tiffin.build.solver import Solver
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
    from tiffin.build.steps import Runner
    from tiffin.images import Image
    from tiffin.images.transfer import Report, TransferEvent

NETWORKS = ("bridge", "host", "none")
_DEFAULT_NETWORKS = ("", "default")


class BuildRequest(NamedTuple):
    """What to build.

    context_dir  the directory that COPY and ADD take from; or a URL, a git reference, "-" for what `stdin` gives
    dockerfile   "" for `Dockerfile` in the context, a path as `-f` has it, or the text itself as bytes
    tags         names for the image, as users write them
    target       the stage to build, by name or number; "" the last
    build_args   values for ARG
    labels       set on the image after its last instruction
    no_cache     execute every step anew (results are still kept for later builds)
    network      of RUN: "bridge" (so is ""), "host" or "none"
    pull         fetch base images anew, also those that are here
    jobs         how many steps may run at once; 0: as many as there are processors, at least two
    progress     is told what happens; see tiffin.build.progress
    platform     what to build for, "" for this machine
    contexts     named contexts: name → directory, URL, git reference, docker-image://IMAGE, oci-layout://DIRECTORY
    secrets      as --secret has them, "id=NAME,src=FILE"; what they hold is read when a step needs it
    ssh          as --ssh has them, "default" or "ID=SOCKET"
    allow        entitlements: "network.host", "security.insecure"
    stdin        descriptor to read the context from when it is "-"
    shell        program to start in the state of a RUN that fails, on a terminal that goes to `shell_fd`, a socket: see
                 tiffin.build.shell, and tiffin.engine.build_shell for its other end
    """

    context_dir: str
    dockerfile: str | bytes = ""
    tags: tuple[str, ...] = ()
    target: str = ""
    build_args: Mapping[str, str] = {}
    labels: Mapping[str, str] = {}
    no_cache: bool = False
    network: str = "bridge"
    pull: bool = False
    jobs: int = 0
    progress: Progress = silent
    platform: str = ""
    contexts: Mapping[str, str] = {}
    secrets: tuple[str, ...] = ()
    ssh: tuple[str, ...] = ()
    allow: tuple[str, ...] = ()
    stdin: int = -1
    shell: str = ""
    shell_fd: int = -1


def with_absolute_paths(request: BuildRequest) -> BuildRequest:
    """The request for a process with another working directory, but for a Dockerfile outside of the context."""
    if request.context_dir == "-" or is_remote(request.context_dir):
        return request
    return request._replace(context_dir=os.path.abspath(request.context_dir))


class BuildResult(NamedTuple):
    """`image_id` is the config's digest, `names` the full references that it now has from this build, `checks` what the
    lint found in the stages that were built, a line each."""

    image_id: str
    names: tuple[str, ...]
    warnings: tuple[str, ...]
    checks: tuple[str, ...] = ()


class BaseImages(Protocol):
    """Where base images come from that are not here."""

    def __call__(self, name: str, platform: str, report: Report, /) -> Image:
        """Fetch the image for `platform` ("": this machine's) and give it its name. Raises NotFound, and what else
        fetching may."""


class Builder:
    """Builds images into one engine's stores. `run` executes a RUN: see tiffin.build.run. `fetch` has images that are
    not here; without it they are not found.

    Every step is forked, which takes a process with one thread. In a program that has more, a build runs as a
    whole in a process of its own, with tiffin's own `Runner`.
    """

    def __init__(self, store: Store, images: Images, run: Runner, fetch: BaseImages | None = None) -> None:
        self._store = store
        self._images = images
        self._run = run
        self._fetch = fetch

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
        if request.network in _DEFAULT_NETWORKS:
            request = request._replace(network="bridge")
        if request.network not in NETWORKS:
            raise InvalidArgument(
                f"invalid network {request.network!r} for a build; choose one of {', '.join(NETWORKS)}"
            )
        with Recorder(self._store.layout, request) as record:
            return self._build_recorded(request._replace(progress=record), names, record)

    def _build_recorded(self, request: BuildRequest, names: list[str], record: Recorder) -> BuildResult:
        lent = lending.lent(request.secrets, request.ssh)._replace(
            shell=Shell(request.shell, request.shell_fd if request.shell else -1)
        )
        lending.check_contexts(request.contexts)
        given = Given(
            request.build_args,
            request.labels,
            request.target,
            request.network,
            parse_platform(request.platform) if request.platform else host_platform(),
            lending.granted(request.allow),
        )
        with Arrivals(self._store.layout, lent) as arrivals:
            context, text = arrivals.main(request.context_dir, request.dockerfile, request.stdin)
            base = _Bases(self._images, self._fetch, request)
            inputs = BuildInputs(context, request.contexts, arrivals.context, base)
            try:
                dockerfile = _read(context, request.dockerfile if text is None else text, record)
                with self._store.adding():
                    return self._build(request, dockerfile, given, _Rooms(inputs, arrivals, lent), names)
            finally:
                inputs.close()

    def _build(
        self, request: BuildRequest, dockerfile: Dockerfile, given: Given, rooms: _Rooms, names: list[str]
    ) -> BuildResult:
        inputs = rooms.inputs
        plan = make_plan(dockerfile, given, inputs)
        for warning in plan.warnings:
            request.progress(Notice(warning))
        report = check_build(request, dockerfile, inputs.context(""), self._images)
        for note in report.unknown:
            request.progress(Notice(note))
        executor = StepExecutor(
            self._store.layout, self._images, inputs, self._run, rooms.lent, rooms.arrivals.directory
        )
        jobs = request.jobs or max(2, os.cpu_count() or 1)
        solver = Solver(
            plan, BuildCache(self._store), executor, request.progress, no_cache=request.no_cache, jobs=jobs
        )
        try:
            outcomes = solver.solve()
        finally:
            inputs.save_digests()
        document = check_config(
            image_document(plan, solver.chain(), outcomes, plan.platform), "the built config"
        )
        layers = [LayerBlob(*layer) for layer in outcomes[-1].layers]
        image = self._images.create(document, layers, names)
        checks = tuple(finding.short for finding in report.findings)
        return BuildResult(image.id, tuple(names), (*plan.warnings, *report.unknown), checks)


class _Rooms(NamedTuple):
    inputs: BuildInputs
    arrivals: Arrivals
    lent: Lent


class _Bases:
    """Finds base images: here, else by fetching them."""

    def __init__(self, images: Images, fetch: BaseImages | None, request: BuildRequest) -> None:
        self._images = images
        self._fetch = fetch
        self._request = request

    def __call__(self, name: str, platform: Platform | None) -> BaseWork:
        """See plan.Inputs.base."""
        if name.startswith(LAYOUT):
            from tiffin.build.layouts import load_layout

            image = load_layout(self._images, name)
        else:
            image = self._find(name, platform)
        layers = tuple(Layer(*layer) for layer in self._images.layers(image))
        return BaseWork(layers, image.config)

    def _find(self, name: str, platform: Platform | None) -> Image:
        request = self._request
        if platform is None and request.platform:
            platform = parse_platform(request.platform)
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
        text, parsed = dockerfile, parse_dockerfile(dockerfile)
    else:
        text, name = context.read_dockerfile(dockerfile)
        context.use_ignore_rules(dockerfile)
        parsed = parse_dockerfile(text, name)
    record.source(parsed, text)
    return parsed
