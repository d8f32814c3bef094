"""`Engine.manifests`: what registries have under a name, and manifest lists of one's own (docker manifest)."""

from __future__ import annotations

from collections.abc import Sequence

from tiffin.engine.images import open_images
from tiffin.engine.remote import connect, trusting
from tiffin.errors import InvalidArgument, NotFound
from tiffin.images.manifest_lists import Annotation, ManifestList, ManifestLists
from tiffin.oci.descriptor import Index, decode_json
from tiffin.oci.reference import Reference, parse_reference
from tiffin.typed import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tiffin.engine.workspace import Workspace
    from tiffin.images.remote import RemoteDocument
    from tiffin.images.send import Pushed
    from tiffin.images.transfer import Report
    from tiffin.registry.client import Registry


class ManifestService:
    """A name is `alpine`, `ghcr.io/x/y:1`, `x@sha256:...`; `insecure` lets its registry be spoken to over http or with
    unverified TLS. NotFound("no such manifest: x") is common to all that look."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace

    def inspect(self, name: str, *, within: str = "", verbose: bool = False, insecure: bool = False) -> Any:
        """The document that a name stands for: a manifest list made here, else the registry's; of a list `within`, the
        manifest of one of its images. `verbose` gives for each image what it is, and its manifest whole."""
        from tiffin.images.remote import described, fetch_document

        reference = parse_reference(name)
        made = self._lists().find(within or name)
        if within:
            reference = _listed(made, within, reference)
        with _open(reference, insecure) as registry:
            if made is not None and not within:
                return self._inspect_made(registry, made, verbose)
            try:
                document = fetch_document(registry, reference)
            except NotFound as error:
                raise NotFound(f"no such manifest: {reference.familiar()}") from error
            if not verbose:
                return decode_json(document.data, f"manifest {document.descriptor.digest}")
            if isinstance(document.parsed, Index):
                return [
                    described(each, f"{reference}@{each.descriptor.digest}")
                    for each in _children(registry, reference, document.parsed)
                ]
            return described(document, str(reference))

    def _inspect_made(self, registry: Registry, made: ManifestList, verbose: bool) -> Any:
        from tiffin.images.remote import described, fetch_document

        if not verbose:
            return decode_json(made.encode()[0], made.name)
        found = []
        for entry in made.entries:
            if not entry.repository:
                found.append({"Ref": entry.reference, "Descriptor": entry.document()})
                continue
            source = parse_reference(f"{entry.repository}@{entry.descriptor.digest}")
            document = described(fetch_document(registry, source), entry.reference)
            found.append(document | {"Descriptor": entry.document()})
        return found

    def create(
        self, name: str, images: Sequence[str], *, amend: bool = False, insecure: bool = False
    ) -> ManifestList:
        """Make a manifest list of images in registries, or in the store where no registry has them. Raises Conflict
        when there is one already and `amend` is not given."""
        from tiffin.images.remote import list_entries

        if not images:
            raise InvalidArgument("name at least one image for the manifest list")
        lists, entries = self._lists(), []
        with self._workspace.store() as store:
            rooms = open_images(store)
            for image in images:
                with _open(parse_reference(image), insecure) as registry:
                    entries += list_entries(rooms, registry, image)
            return lists.create(name, entries, amend=amend)

    def annotate(self, name: str, image: str, changes: Annotation) -> None:
        """Say what platform an image of a list is for."""
        with self._workspace.store():  # makes the engine's directories
            self._lists().annotate(name, image, changes)

    def push(
        self, name: str, *, purge: bool = False, insecure: bool = False, report: Report | None = None
    ) -> Pushed:
        """Send a list, and what it lists where its repository lacks that; `purge` forgets it here afterwards."""
        from tiffin.config import load_settings
        from tiffin.images.remote import push_list
        from tiffin.images.transfer import one_at_a_time

        made = self._lists().get(name)
        for entry in made.entries:
            platform = entry.descriptor.platform
            if platform is None or not platform.os or not platform.architecture:
                raise InvalidArgument(
                    f"manifest {entry.reference} must have an OS and Architecture to be pushed to a registry: "
                    "annotate it"
                )
        with self._workspace.store() as store, _open(parse_reference(name), insecure) as registry:
            uploads = load_settings().registries.uploads
            pushed = push_list(open_images(store), registry, made, one_at_a_time(report), uploads)
        if purge:
            self._lists().remove(name)
        return pushed

    def remove(self, name: str) -> None:
        """Forget a list; registries keep what they have."""
        self._lists().remove(name)

    def _lists(self) -> ManifestLists:
        return ManifestLists(self._workspace.layout)


def _open(reference: Reference, insecure: bool) -> Registry:
    return connect(trusting(reference.registry) if insecure else None)


def _listed(made: ManifestList | None, within: str, reference: Reference) -> Reference:
    """Where the image that a list calls `reference` is."""
    if made is None:
        raise NotFound(f"No such manifest: {within}")
    for entry in made.entries:
        if reference.digest == entry.descriptor.digest or entry.reference == str(reference):
            if not entry.repository:
                raise NotFound(f"{reference.familiar()} is in the local store: see 'tiffin image inspect'")
            return parse_reference(f"{entry.repository}@{entry.descriptor.digest}")
    raise NotFound(f"manifest for image {reference.familiar()} does not exist in {made.name}")


def _children(registry: Registry, reference: Reference, index: Index) -> list[RemoteDocument]:
    """The images of an index; what is attached to them is left out, as is an index within it."""
    from tiffin.images.remote import fetch_document

    found = []
    for entry in index.manifests:
        if "vnd.docker.reference.type" not in entry.annotations:
            document = fetch_document(registry, reference._replace(tag="", digest=entry.digest))
            found.append(document._replace(descriptor=entry))
    return found
