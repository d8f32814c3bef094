"""The image verbs: the images room's own, with an open store for each call."""

from __future__ import annotations

from tiffin.content.local import LocalContent
from tiffin.images import Images
from tiffin.snapshot.overlay import Snapshots
from tiffin.typed import TYPE_CHECKING, Any, BinaryIO, Callable, Iterable, Sequence

if TYPE_CHECKING:
    from tiffin.engine.workspace import Workspace
    from tiffin.images.blobs import Dropped
    from tiffin.images.listing import Stack
    from tiffin.images.prune import Pruned, PrunePlan
    from tiffin.images.pull import Pulled
    from tiffin.images.records import Image, Summary
    from tiffin.images.send import Pushed
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

    def list(self, filters: Sequence[str] = ()) -> Sequence[Summary]:
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

    def inspect_remote(self, name: str, platform: str = "") -> dict[str, Any]:
        """The same of an image in its registry, for `platform` or this machine's; no layer is fetched. Size is that of
        its layers compressed, which is all that a registry knows."""
        from tiffin.engine.remote import connect
        from tiffin.images.remote import fetch_image
        from tiffin.images.show import remote_document
        from tiffin.oci.platform import parse_platform
        from tiffin.oci.reference import parse_reference

        wanted = parse_platform(platform) if platform else None
        with connect() as registry:
            return remote_document(fetch_image(registry, parse_reference(name), wanted))

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
        from tiffin.engine.compressed import drop_unwanted

        with self._workspace.store() as store:
            images = open_images(store)
            names = images.load(stream, progress)
            drop_unwanted(images, [images.resolve(name).id for name in names])
            return names

    def save(self, names: Sequence[str], out: BinaryIO, form: str = "", *, platform: str = "") -> None:
        """Write images to one archive; of names that stand for several platforms, the images for `platform`."""
        from tiffin.engine.remote import Later
        from tiffin.oci.platform import parse_platform

        wanted = parse_platform(platform) if platform else None
        with self._workspace.store() as store, Later() as registry:
            open_images(store).save(names, out, form, registry, wanted)

    def push(
        self, name: str, *, all_tags: bool = False, platform: str = "", report: Report | None = None
    ) -> Sequence[Pushed]:
        """Send an image, or with `all_tags` everything that the repository has here, to the registry that its name
        says; what each tag stands for there. `report` is called from several threads, one at a time."""
        from tiffin.config import load_settings
        from tiffin.engine.compressed import drop_unwanted
        from tiffin.engine.remote import connect
        from tiffin.images.push import tags_here
        from tiffin.oci.platform import parse_platform

        wanted = parse_platform(platform) if platform else None
        with self._workspace.store() as store, connect() as registry:
            images = open_images(store)
            names = tags_here(images, name) if all_tags else [name]
            uploads = load_settings().registries.uploads
            done = [images.push(registry, each, report, platform=wanted, uploads=uploads) for each in names]
            drop_unwanted(
                images, [images.resolve(each).id for each in names]
            )  # now they can be fetched again
            return done

    def import_(
        self,
        stream: BinaryIO,
        name: str = "",
        message: str = "",
        *,
        changes: Sequence[str] = (),
        platform: str = "",
    ) -> Image:
        """A new image of one layer out of a root filesystem's tar. `changes` are instructions of a Dockerfile that
        change settings, such as 'CMD ["sh"]'; `platform` is os/architecture, this machine's unless given."""
        from tiffin.oci.platform import parse_platform

        target = parse_platform(platform) if platform else None
        changed = None
        if changes:
            from tiffin.engine.changes import apply_changes

            changed = apply_changes({}, changes)
        with self._workspace.store() as store:
            return open_images(store).import_(stream, name, message, changed, target)

    def compact(self, names: Sequence[str] = ()) -> Dropped:
        """Remove the compressed blobs of these images' unpacked layers, or of all: those that a repository is known to
        hold or that can be made again to the byte. Raises Conflict while another command reads or adds blobs."""
        with self._workspace.store() as store:
            images = open_images(store)
            return images.drop_compressed([images.resolve(name).id for name in names])

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
        decided within the transaction that removes it. What killed commands and broken pulls left goes too."""
        from tiffin.images.prune import prune

        with self._workspace.store() as store:
            _sweep(store)
            return prune(open_images(store), all, filters, None if only is None else frozenset(only))

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
