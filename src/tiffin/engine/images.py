"""The image verbs: the images room's own, with an open store for each call."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from tiffin.content.local import LocalContent
from tiffin.images import Images
from tiffin.snapshot.overlay import Snapshots
from tiffin.typed import TYPE_CHECKING, Any, BinaryIO

if TYPE_CHECKING:
    from tiffin.engine.workspace import Workspace
    from tiffin.images.listing import Listed, Stack
    from tiffin.images.prune import Pruned, PrunePlan
    from tiffin.images.records import Image
    from tiffin.state import Store


def open_images(store: Store) -> Images:
    """The images room over one open store."""
    return Images(store, LocalContent(store.layout), Snapshots(store))


class ImageService:
    """`Engine.images`. A name is `alpine`, `ghcr.io/x/y:1`, an ID or its beginning; NotFound("No such image: x") is
    common to all."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace

    def resolve(self, name: str) -> Image:
        """The image that `name` means."""
        with self._workspace.store() as store:
            return open_images(store).resolve(name)

    def list(self, filters: Sequence[str] = ()) -> Sequence[Listed]:
        """Every image that `filters` let through, the newest first. They are as `images --filter` has them: dangling,
        label, before, since, reference, until. Raises InvalidArgument for others."""
        from tiffin.images.listing import list_images

        with self._workspace.store() as store:
            return list_images(store.db, filters)

    def stacks(self) -> dict[str, Stack]:
        """The layers and the platform of every image, by its ID."""
        from tiffin.images.listing import stacks

        with self._workspace.store() as store:
            return stacks(store.db)

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

    def plan_prune(self, all: bool = False, filters: Sequence[str] = ()) -> PrunePlan:  # noqa: A002 - Docker's word
        """What `prune` with the same arguments would remove now, with names and sizes. Changes nothing."""
        from tiffin.images.prune import plan

        with self._workspace.store() as store:
            return plan(open_images(store), all, filters)

    def prune(
        self,
        all: bool = False,  # noqa: A002 - Docker's word
        filters: Sequence[str] = (),
        *,
        only: Iterable[str] | None = None,
    ) -> Pruned:
        """Remove the images that no name leads to, with `all` every one, except those that a container was made from.
        `filters`: until, label, label!, dangling. `only` are IDs, such as a plan's: nothing else goes. What goes is
        decided within the transaction that removes it."""
        from tiffin.images.prune import prune

        with self._workspace.store() as store:
            _sweep(store)
            return prune(open_images(store), all, filters, None if only is None else frozenset(only))

    def collect(self) -> int:
        """Remove what nothing names; how many things."""
        with self._workspace.store() as store:
            _sweep(store)
            return open_images(store).collect()


def _sweep(store: Store) -> None:
    """What a killed build left running or attached; its files are the collector's."""
    from tiffin.build.sweep import sweep

    sweep(store)
