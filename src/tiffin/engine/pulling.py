"""Pulling: the images room and the registry room put together, with the user's settings and credentials.

Imported only when something is to be fetched: the client costs more to load than a short command takes.
"""

from __future__ import annotations

from tiffin.config import load_settings
from tiffin.engine.images import open_images
from tiffin.engine.remote import connect
from tiffin.errors import InvalidArgument, NotFound
from tiffin.images.pull import Pulled, PullOptions
from tiffin.images.transfer import TransferEvent
from tiffin.oci.platform import parse_platform
from tiffin.oci.reference import parse_reference
from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from tiffin.images.transfer import Report
    from tiffin.oci.reference import Reference
    from tiffin.state import Store


def pull(
    store: Store, name: str, platform: str = "", report: Report | None = None, *, all_tags: bool = False
) -> Pulled:
    """See ImageService.pull."""
    reference = parse_reference(name)
    chosen = parse_platform(platform) if platform else None
    if all_tags and is_exact(name):
        raise InvalidArgument("tag can't be used with --all-tags/-a")
    settings = load_settings()
    options = PullOptions(settings.registries.downloads, settings.images.keep_compressed)
    images = open_images(store)
    with connect(settings.registries) as registry:
        if not all_tags:
            return images.pull(registry, reference, chosen, report, options=options)
        done: list[Pulled] = []
        for tag in registry.repository(reference.name).tags():
            one = reference._replace(tag=tag)
            done.append(images.pull(registry, one, chosen, _without_status(report), options=options))
    return _summary(reference, done, report)


def is_exact(name: str) -> bool:
    """Whether a name as users write it has a tag or a digest."""
    return ":" in name.rpartition("/")[2] or "@" in name


def _without_status(report: Report | None) -> Report | None:
    """One status is told for all tags."""
    if report is None:
        return None
    tell = report
    return lambda event: None if event.status.startswith("Status: ") else tell(event)


def _summary(reference: Reference, done: list[Pulled], report: Report | None) -> Pulled:
    if not done:
        raise NotFound(f"no tags of {reference.familiar_name()} to pull")
    fresh = any(not one.status.startswith("Image is up to date") for one in done)
    what = "Downloaded newer image" if fresh else "Image is up to date"
    last = done[-1]._replace(status=f"{what} for {reference.familiar_name()}")
    if report is not None:
        report(TransferEvent(f"Status: {last.status}"))
    return last
