"""The image verbs: the images room's own, with an open store for each call."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tiffin.content.local import LocalContent
from tiffin.images import Images
from tiffin.snapshot.overlay import Snapshots
from tiffin.typed import TYPE_CHECKING, Any, BinaryIO

if TYPE_CHECKING:
    from tiffin.engine.workspace import Workspace
    from tiffin.images.pull import Pulled
    from tiffin.images.records import Image, Summary
    from tiffin.images.transfer import Report
    from tiffin.state import Store


def open_images(store: Store) -> Images:
    """The images room over one open store."""
    return Images(store, LocalContent(store.layout), Snapshots(store))


class ImageService:
    """`Engine.images`. A name is `alpine`, `ghcr.io/x/y:1`, an ID or its beginning; NotFound("No such image: x") is
    common to all."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace

    def resolve(self, name: str, platform: str = "") -> Image:
        """The image that `name` means, the one for `platform` ("linux/arm64") where the name has several."""
        from tiffin.oci.platform import parse_platform

        with self._workspace.store() as store:
            return open_images(store).resolve(name, parse_platform(platform) if platform else None)

    def pull(
        self, name: str, *, platform: str = "", all_tags: bool = False, report: Report | None = None
    ) -> Pulled:
        """Fetch an image from its registry, by tag or digest, and name it; of an image for several platforms the one
        for `platform`, by default this machine's. With `all_tags` every tag of the repository; what is returned is the
        last. `report` is told what happens, from several threads, one at a time.
        Raises NotFound, PermissionDenied, Unauthorized, TransferError, Corrupt; nothing has a name then that it had
        not before."""
        from tiffin.engine.pulling import pull

        with self._workspace.store() as store:
            return pull(store, name, platform, report, all_tags=all_tags)

    def list(self) -> Sequence[Summary]:
        """Every image, the newest first."""
        with self._workspace.store() as store:
            return open_images(store).list()

    def inspect(self, name: str) -> dict[str, Any]:
        """Docker's JSON document of the image."""
        with self._workspace.store() as store:
            return open_images(store).inspect(name)

    def history(self, name: str) -> Sequence[dict[str, Any]]:
        """The steps that made it, the newest first."""
        with self._workspace.store() as store:
            return open_images(store).history(name)

    def tag(self, source: str, target: str) -> None:
        """Let `target` name the image `source`."""
        with self._workspace.store() as store:
            open_images(store).tag(source, target)

    def remove(self, name: str, force: bool = False) -> Sequence[tuple[str, str]]:
        """("Untagged", name) and ("Deleted", digest) in order. Raises Conflict when a container uses it."""
        with self._workspace.store() as store:
            _sweep(store)
            return open_images(store).remove(name, force)

    def load(self, stream: BinaryIO, progress: Callable[..., None] | None = None) -> Sequence[str]:
        """The names of the images in an archive, OCI or docker-archive."""
        with self._workspace.store() as store:
            return open_images(store).load(stream, progress)

    def save(self, names: Sequence[str], out: BinaryIO, form: str = "") -> None:
        """Write images to one archive."""
        with self._workspace.store() as store:
            open_images(store).save(names, out, form)

    def import_(self, stream: BinaryIO, name: str = "", message: str = "") -> Image:
        """A new image of one layer out of a root filesystem's tar."""
        with self._workspace.store() as store:
            return open_images(store).import_(stream, name, message)

    def collect(self, partials: bool = False) -> int:
        """Remove what nothing names; how many things. `partials`: the beginnings of layers too that a broken pull left
        to be continued."""
        with self._workspace.store() as store:
            _sweep(store)
            return open_images(store).collect(partials)


def _sweep(store: Store) -> None:
    """What a killed build left running or attached; its files are the collector's."""
    from tiffin.build.sweep import sweep

    sweep(store)
