"""Building images, as the build room does it. A program with threads has it done by a process without: every step of
a build is forked, and forking is safe from one thread alone."""

from __future__ import annotations

from tiffin.build.builder import Builder, BuildRequest, BuildResult
from tiffin.build.run import Runner
from tiffin.engine.compressed import drop_unwanted
from tiffin.engine.images import open_images
from tiffin.kernel.process import thread_count
from tiffin.typed import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tiffin.build.checks import CheckResult
    from tiffin.build.history import BuildRecord
    from tiffin.build.progress import Event
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
        request = BuildRequest(context, **options)
        if thread_count() > 1:
            from tiffin.engine.build_process import build_apart

            return build_apart(self._workspace.layout, request)
        with self._workspace.store() as store:
            return build_in(store, request)

    def check(self, context: str, **options: Any) -> CheckResult:
        """Lint the Dockerfile of directory `context`; `options` are the further fields of BuildRequest, of which those
        count that say which Dockerfile, and its arguments. Nothing is built, and no image fetched."""
        from tiffin.build.checks import check

        with self._workspace.store() as store:
            return check(BuildRequest(context, **options), open_images(store))

    def history(self) -> list[BuildRecord]:
        """The builds whose logs are kept, the newest first."""
        from tiffin.build import history

        return history.records(self._workspace.layout)

    def replay(self, build: str = "") -> Iterator[tuple[int, Event]]:
        """What a build said, and when in nanoseconds since the epoch. `build` is an ID, the beginning of one, ^1 the
        one before the newest, "" the newest. Raises NotFound, Conflict."""
        from tiffin.build import history

        return history.replay(self._workspace.layout, history.find(self._workspace.layout, build))

    def step_log(self, build: str, step: int) -> str:
        """The path of the file with a step's whole output. Raises NotFound, Conflict."""
        from tiffin.build import history

        return history.step_log(self._workspace.layout, history.find(self._workspace.layout, build), step)


def build_in(store: Store, request: BuildRequest) -> BuildResult:
    """Build in this process, which has one thread."""

    def fetch(name: str, platform: str, report: Report, /) -> Image:
        from tiffin.engine.pulling import pull

        return pull(store, name, platform, report).image

    images = open_images(store)
    result = Builder(store, images, Runner(store.layout), fetch).build(request)
    drop_unwanted(images, [result.image_id])
    return result
