"""`Engine`: what the command line and programs hold.

with tiffin.Engine() as engine:
    image = engine.build(".", tag="hello")
    print(engine.run(image, ["echo", "hi"]).output)
"""

from __future__ import annotations

from tiffin.engine.containers import ContainerService
from tiffin.engine.workspace import Workspace
from tiffin.typed import TYPE_CHECKING, Any, Iterator, Sequence

if TYPE_CHECKING:
    from types import TracebackType

    from tiffin.engine.building import BuildService
    from tiffin.engine.images import ImageService
    from tiffin.engine.manifests import ManifestService
    from tiffin.engine.networks import NetworkService
    from tiffin.engine.options import Completed
    from tiffin.engine.registry import RegistryService
    from tiffin.engine.system import SystemService
    from tiffin.engine.volumes import VolumeService
    from tiffin.state import Layout
    from tiffin.state.events import Event


class Engine:
    """One engine: a root directory with images and containers, and a run directory.

    Opening is lazy and cheap. May be used from many threads at once. `close` ends what it keeps warm; containers
    go on running.
    """

    def __init__(self, root: str | None = None, run: str | None = None) -> None:
        """Directories as `tiffin --root --run` take them: given, else $TIFFIN_ROOT and $TIFFIN_RUN, else the
        defaults."""
        self._workspace = Workspace(root, run)
        self.containers = ContainerService(self._workspace)

    @property
    def layout(self) -> Layout:
        """Where everything of this engine lies."""
        return self._workspace.layout

    @property
    def images(self) -> ImageService:
        """The image verbs."""
        from tiffin.engine.images import ImageService

        return ImageService(self._workspace)

    @property
    def manifests(self) -> ManifestService:
        """What registries have under a name, and manifest lists."""
        from tiffin.engine.manifests import ManifestService

        return ManifestService(self._workspace)

    @property
    def builder(self) -> BuildService:
        """Building from a Dockerfile."""
        from tiffin.engine.building import BuildService

        return BuildService(self._workspace)

    @property
    def system(self) -> SystemService:
        """The engine as a whole: checking, measuring, clearing."""
        from tiffin.engine.system import SystemService

        return SystemService(self._workspace)

    @property
    def volumes(self) -> VolumeService:
        """The volume verbs."""
        from tiffin.engine.volumes import VolumeService

        return VolumeService(self._workspace)

    @property
    def registry(self) -> RegistryService:
        """What is done with registries."""
        from tiffin.engine.registry import RegistryService

        return RegistryService(self._workspace)

    @property
    def networks(self) -> NetworkService:
        """Networks, and which containers are in them."""
        from tiffin.engine.networks import NetworkService

        return NetworkService(self._workspace)

    def build(self, context: str = ".", *, tag: str | Sequence[str] = (), **options: Any) -> str:
        """Build the Dockerfile in directory `context`; returns the image ID. `options` are the further fields of
        tiffin.build's BuildRequest."""
        tags = (tag,) if isinstance(tag, str) else tuple(tag)
        return self.builder.build(context, tags=tags, **options).image_id

    def run(
        self, image: str, command: Sequence[str] = (), *, stdin: bytes | None = None, **options: Any
    ) -> Completed:
        """Run a container of `image` to its end and remove it; its exit code and output. `options` are the
        fields of CreateOptions; `auto_remove=False` keeps it."""
        from tiffin.engine import lifecycle

        return lifecycle.run_captured(self._workspace, image, command, stdin, options)

    def events(
        self, *, since: int = 0, until: int = 0, filters: Sequence[str] = (), follow: bool = True
    ) -> Iterator[Event]:
        """What happens, as it happens; with `since` (ns since the epoch) what happened before too, as far as it is
        kept: the newest ten thousand. Ends at `until`, or at the newest without `follow`. `filters` are `events
        --filter`'s. Raises InvalidArgument for others."""
        from tiffin.engine import events

        return events.events(self._workspace, since=since, until=until, filters=filters, follow=follow)

    def teardown(self) -> None:
        """Take down what the engine keeps on the machine for all its containers: bridge, firewall table, parent
        cgroup. They are made again when next needed. Raises Conflict while a container runs."""
        from tiffin.engine import recovery

        recovery.teardown(self._workspace)

    def close(self) -> None:
        """Idempotent. Containers go on running."""
        self._workspace.close()

    def __enter__(self) -> Engine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
