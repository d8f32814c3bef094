"""Building images, as the build room does it. A program with threads has it done by a process without: every step of
a build is forked, and forking is safe from one thread alone."""

from __future__ import annotations

from tiffin.build.builder import Builder
from tiffin.build.progress import Notice
from tiffin.build.request import BuildRequest, BuildResult
from tiffin.engine.build_outputs.exporter import Exporter
from tiffin.engine.compressed import drop_unwanted
from tiffin.engine.images import open_images
from tiffin.kernel.process import thread_count
from tiffin.typed import TYPE_CHECKING, Any, BinaryIO

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tiffin.build.cache import Elsewhere
    from tiffin.build.checks import CheckResult
    from tiffin.build.contexts.listing import Listed
    from tiffin.build.describe import Description
    from tiffin.build.planning.graph import RunWork
    from tiffin.build.progress import Event
    from tiffin.build.results.history import BuildRecord
    from tiffin.build.solving.steps import Around, Stack
    from tiffin.build.workers import Channel
    from tiffin.engine.build_cache import CachePrunePlan, CachePruneRequest, CacheRecord, CacheUsage
    from tiffin.engine.build_outputs.cache_to import CacheTo
    from tiffin.engine.workspace import Workspace
    from tiffin.images import Image
    from tiffin.images.transfer import Report
    from tiffin.state import Store


class BuildService:
    """`Engine.builder`."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace

    def build(self, context: str, **options: Any) -> BuildResult:
        """Build the Dockerfile of `context`, a directory, URL or git reference, or "-" for what the descriptor `stdin`
        gives; `options` are the further fields of BuildRequest. `progress` is called in the calling thread."""
        request = _checked(BuildRequest(context, **options))
        if thread_count() > 1:
            from tiffin.engine.build_process import build_apart

            return build_apart(self._workspace.layout, request)
        with self._workspace.store() as store:
            return build_in(store, request)

    def list_context(self, directory: str = ".", dockerfile: str = "") -> Iterator[Listed]:
        """What is in the context, and which line of its ignore file decided on each. Raises NotFound,
        DockerfileError."""
        from tiffin.build.contexts.listing import list_context

        return list_context(directory, dockerfile)

    def cache_usage(self, filters: Sequence[str] = ()) -> CacheUsage:
        """What is in the build cache, and what it takes up. `filters`: id, inuse, shared, type, unused-for, until; all
        must hold. Raises InvalidArgument for others."""
        from tiffin.engine.build_cache import usage

        return usage(self._workspace, filters)

    def plan_cache_prune(self, request: CachePruneRequest) -> CachePrunePlan:
        """What `prune_cache` would remove as things stand. Changes nothing."""
        from tiffin.engine.build_cache import plan

        return plan(self._workspace, request)

    def prune_cache(self, plan: CachePrunePlan) -> tuple[CacheRecord, ...]:
        """Remove what a plan named, but for cache mounts that have come into use since; what went."""
        from tiffin.engine.build_cache import prune

        return prune(self._workspace, plan)

    def find_cache_mount(self, name: str) -> None:
        """Raises NotFound when there is no cache mount with this id."""
        from tiffin.build.running.cache_mount_archives import find_cache_mount

        with self._workspace.store() as store:
            find_cache_mount(store, name)

    def export_cache_mount(self, name: str, out: BinaryIO) -> None:
        """Write what RUN --mount=type=cache,id=`name` has gathered as a tar. Raises NotFound."""
        from tiffin.build.running.cache_mount_archives import export_cache_mount

        with self._workspace.store() as store:
            export_cache_mount(store, name, out)

    def import_cache_mount(self, name: str, archive: BinaryIO) -> None:
        """Unpack a tar, plain or compressed, into that cache mount, made when it is new. Raises Corrupt."""
        from tiffin.build.running.cache_mount_archives import import_cache_mount

        with self._workspace.store() as store:
            import_cache_mount(store, name, archive)

    def check(self, context: str, **options: Any) -> CheckResult:
        """Lint the Dockerfile of directory `context`; `options` are the further fields of BuildRequest, of which those
        count that say which Dockerfile, and its arguments. Nothing is built, and no image fetched."""
        from tiffin.build.checks import check

        with self._workspace.store() as store:
            return check(BuildRequest(context, **options), open_images(store))

    def describe(self, context: str, **options: Any) -> Description:
        """What stages the Dockerfile of `context` has, and what the target among the `options` takes: arguments,
        secrets, agents, caches. Nothing is built. Raises DockerfileError."""
        from tiffin.build.describe import describe

        return describe(BuildRequest(context, **options), self._workspace.layout)

    def history(self) -> list[BuildRecord]:
        """The builds whose logs are kept, the newest first."""
        from tiffin.build.results import history

        return history.records(self._workspace.layout)

    def replay(self, build: str = "") -> Iterator[tuple[int, Event]]:
        """What a build said, and when in nanoseconds since the epoch. `build` is an ID, the beginning of one, ^1 the
        one before the newest, "" the newest. Raises NotFound, Conflict."""
        from tiffin.build.results import history

        return history.replay(self._workspace.layout, history.find(self._workspace.layout, build))

    def step_log(self, build: str, step: int) -> str:
        """The path of the file with a step's whole output. Raises NotFound, Conflict."""
        from tiffin.build.results import history

        return history.step_log(self._workspace.layout, history.find(self._workspace.layout, build), step)


def _checked(request: BuildRequest) -> BuildRequest:
    """What a RUN is to have around it, as containers have it. Raises InvalidArgument."""
    if request.limits:
        from tiffin.containers.record import Resources
        from tiffin.engine.limits import check

        check(Resources.from_document(dict(request.limits)))
    if not request.hosts:
        return request
    from tiffin.engine.lookups import checked_host

    return request._replace(hosts=tuple(checked_host(entry) for entry in request.hosts))


def build_in(store: Store, request: BuildRequest) -> BuildResult:
    """Build in this process, which has one thread."""

    def fetch(name: str, platform: str, report: Report, /) -> Image:
        from tiffin.engine.pulling import pull

        return pull(store, name, platform, report).image

    images = open_images(store)
    exporter = Exporter(store, images, request, _cache_to(request))
    elsewhere = _elsewhere(store, request)

    def run(stack: Stack, work: RunWork, channel: Channel, around: Around) -> int:
        from tiffin.build.running.run import Runner  # by the worker: a build from the cache has none

        return Runner(store.layout)(stack, work, channel, around)

    result = Builder(store, images, run, fetch, exporter, elsewhere).build(request)
    drop_unwanted(images, exporter.images)
    if request.outputs:
        images.collect()  # what the outputs alone needed
    return result


def _cache_to(request: BuildRequest) -> list[CacheTo]:
    if not request.cache_to:
        return []
    from tiffin.build.results.exchange import check_targets, parse_target
    from tiffin.engine.build_outputs.cache_to import CacheTo

    targets = [parse_target(text) for text in request.cache_to]
    check_targets(targets)
    return [CacheTo(target) for target in targets]


def _elsewhere(store: Store, request: BuildRequest) -> Elsewhere | None:
    if not request.cache_from:
        return None
    from tiffin.build.results.exchange import parse_source
    from tiffin.engine.build_outputs.cache_from import Sources

    sources = [parse_source(text) for text in request.cache_from]
    return Sources(store.layout, sources, lambda text: request.progress(Notice(text)))
