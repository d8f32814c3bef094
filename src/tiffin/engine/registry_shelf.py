"""The store of an engine as the embedded registry's shelf.

A repository of the API is a name as people write it: `web` and `library/web` are docker.io/library/web, `user/app` is
docker.io/user/app, `ghcr.io/user/app` is itself. Names whose registry has a port cannot be said in the API and are not
offered.

A manifest that gets a tag becomes an image of this store at once, its layers unpacked: itself, or the one for this
machine below an index. What is no image, the index itself, and manifests pushed by digest alone are kept as documents
(images.documents).
"""

from __future__ import annotations

from tiffin.content.local import LocalContent
from tiffin.engine.compressed import drop_unwanted
from tiffin.engine.images import open_images
from tiffin.engine.remote import Later
from tiffin.errors import Conflict, Corrupt, LimitExceeded, NotFound, TiffinError, Unsupported
from tiffin.images import documents
from tiffin.images.arrivals import Arrivals, Arriving
from tiffin.images.blobs import open_layer_blob
from tiffin.images.documents import Document
from tiffin.images.indexes import find_manifest, wanted
from tiffin.images.names import add_digest, set_names, write_index
from tiffin.images.origins import layer_by_blob
from tiffin.images.receive import receive_manifest
from tiffin.images.remove import remove_image
from tiffin.images.write import Provenance
from tiffin.oci.artifact import Artifact, is_foreign, parse_artifact
from tiffin.oci.descriptor import DOCUMENT_MAX, Descriptor
from tiffin.oci.digest import is_digest
from tiffin.oci.image import diff_ids, parse_config
from tiffin.oci.platform import host_platform
from tiffin.oci.reference import parse_reference
from tiffin.registry.server.shelf import Held, Received
from tiffin.typed import TYPE_CHECKING, Any, BinaryIO

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from tiffin.engine.workspace import Workspace
    from tiffin.images import Images
    from tiffin.images.records import Image, LayerBlob
    from tiffin.state import Store


_GONE_MAX = 10_000


class StoreShelf:
    """A Shelf (registry.server.shelf) over one engine's store."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._content = LocalContent(workspace.layout)
        with workspace.store() as store:
            self._arrivals = Arrivals(store)
        # Blobs that went with a deleted manifest: clients delete those next, and are not to be told of an error.
        self._gone: dict[str, bool] = {}

    # -- looking ---------------------------------------------------------------------------------------------

    def repositories(self) -> Sequence[str]:
        with self._workspace.store() as store:
            found = documents.repositories(store.db)
        return sorted(path for name in found if (path := _path(name)))

    def tags(self, repository: str) -> Sequence[str]:
        name = _name(repository)
        with self._workspace.store() as store:
            found = documents.tags(store.db, name)
            if not found and name not in documents.repositories(store.db):
                raise NotFound(f"no repository {repository}")
            return found

    def find(self, repository: str, reference: str) -> Held:
        with self._workspace.store() as store:
            return Held(*_find(store.db, _name(repository), reference))

    def manifest(self, repository: str, reference: str) -> tuple[Held, bytes]:
        held = self.find(repository, reference)
        return held, self._content.read_bytes(held.digest, DOCUMENT_MAX)

    def referrers(self, repository: str, digest: str) -> Sequence[dict[str, Any]]:
        with self._workspace.store() as store:
            found = documents.referrers(store.db, _name(repository), digest)
        return [_descriptor(referrer) for referrer in found]

    # -- blobs -----------------------------------------------------------------------------------------------

    def blob_size(self, digest: str, hold: bool = False) -> int:
        if hold:
            try:
                self._arrivals.keep(digest, self._content.path(digest))
            except LimitExceeded:
                pass  # it is told where it is, and may be sent again should it go
        size = self._arrivals.size(digest)
        if size >= 0:
            return size
        if self._content.exists(digest):
            return self._content.size(digest)
        with self._workspace.store() as store:
            return _dropped(store, digest).blob_size

    def open_blob(self, digest: str) -> BinaryIO:
        for place in (self._content, self._arrivals):
            try:
                return place.open(digest)
            except NotFound:
                pass
        with self._workspace.store() as store, Later() as registry:
            return open_layer_blob(open_images(store), _dropped(store, digest), registry)

    def delete_blob(self, digest: str) -> None:
        waited = self._arrivals.release(digest)
        if self._content.exists(digest):
            with self._workspace.store() as store:
                open_images(store).collect()
            if self._content.exists(digest):
                raise Conflict(f"blob {digest} is in use; delete the manifests that need it first")
        elif not waited and not self._gone.pop(digest, False):
            raise NotFound(f"no blob {digest}")

    def begin(self) -> Arriving:
        return self._arrivals.begin()

    def expire(self) -> int:
        return self._arrivals.expire()

    def close(self) -> None:
        self._arrivals.close()

    # -- manifests -------------------------------------------------------------------------------------------

    def put_manifest(self, repository: str, reference: str, data: bytes, media_type: str) -> Received:
        artifact, name = parse_artifact(data, media_type), _name(repository)
        tag = "" if is_digest(reference) else reference
        with self._workspace.store() as store:
            images = open_images(store)
            try:
                with store.adding():
                    self._gather(images, name, artifact)
                    document = Document(images.content.put_bytes(data), artifact.media_type, len(data))
                    image = _receive(images, document, data) if tag else None
                    _record(store, name, tag, document, artifact, image)
            except TiffinError:
                images.collect()
                raise
            for blob in artifact.blobs:
                self._arrivals.release(blob.digest)
            drop_unwanted(images, [image.id] if image else [])
        return Received(document.digest, artifact.subject)

    def _gather(self, images: Images, name: str, artifact: Artifact) -> None:
        """See that all that a manifest needs is here and as long as it says, and have its blobs in the content store,
        unless they are layers that can be made again. The caller holds `Store.adding()`. Raises NotFound, Corrupt."""
        for blob in artifact.blobs:
            if images.content.exists(blob.digest) or self._arrivals.move(blob.digest, images.content):
                size = images.content.size(blob.digest)
            else:
                layer = layer_by_blob(images.store.db, blob.digest)
                if layer is None and not is_foreign(blob):
                    raise NotFound(f"blob {blob.digest} is not here: push it before its manifest")
                size = layer.blob_size if layer else blob.size
            if size != blob.size:
                raise Corrupt(f"blob {blob.digest} does not have the {blob.size} bytes that are stated")
        for entry in artifact.manifests:
            if documents.by_digest(images.store.db, name, entry.digest) is None:
                raise NotFound(f"manifest {entry.digest} is not here: push it before its index")

    def delete_manifest(self, repository: str, reference: str) -> None:
        name = _name(repository)
        with self._workspace.store() as store:
            found = _find(store.db, name, reference)
            artifact = parse_artifact(self._content.read_bytes(found.digest, DOCUMENT_MAX))
            if not is_digest(reference):
                _untag(store, f"{name}:{reference}")
            else:
                names = documents.names_of(store.db, name, found.digest)
                for full in names:
                    _untag(store, full)
                with store.transaction() as db:
                    dropped = documents.drop_document(db, name, found.digest)
                if not names and not dropped:
                    raise Conflict(f"manifest {found.digest} is part of an index; delete that")
            open_images(store).collect()
        if len(self._gone) > _GONE_MAX:
            self._gone.clear()
        self._gone |= {blob.digest: True for blob in artifact.blobs if not self._content.exists(blob.digest)}


def _name(repository: str) -> str:
    """The full name of a path of the API."""
    return parse_reference(f"{repository}:latest").name


def _path(name: str) -> str:
    """The path of a full name, "" when it has none."""
    path = parse_reference(f"{name}:latest").familiar_name()
    return "" if ":" in path or path.lower() != path else path


def _dropped(store: Store, digest: str) -> LayerBlob:
    """A layer whose blob was dropped and can be made or fetched again. Raises NotFound."""
    layer = layer_by_blob(store.db, digest)
    if layer is None:
        raise NotFound(f"no blob {digest}")
    return layer


def _find(db: sqlite3.Connection, name: str, reference: str) -> Document:
    by = documents.by_digest if is_digest(reference) else documents.by_tag
    found = by(db, name, reference)
    if found is None:
        raise NotFound(f"no manifest {reference} in {name}")
    return found


def _receive(images: Images, document: Document, data: bytes) -> Image | None:
    """The image that a tag of this manifest or index stands for on this machine, unpacked, without a name; None where
    there is none."""
    top = Descriptor(document.media_type, document.digest, document.size)
    try:
        found = find_manifest(
            top,
            lambda entry: images.content.read_bytes(entry.digest, DOCUMENT_MAX),
            wanted(None, host_platform()),
            data,
        )
    except (NotFound, Unsupported):  # no image for this machine below it; something else than an image
        return None
    config = parse_config(images.content.read_bytes(found.manifest.config.digest, DOCUMENT_MAX))
    if found.manifest.layers and not diff_ids(config):
        return None  # nothing says what its layers unpack to: it is kept for others
    origin = Provenance(found.indexes) if found.indexes else None
    return receive_manifest(images, found.data, found.descriptor.media_type, (), origin)


def _record(
    store: Store, name: str, tag: str, document: Document, artifact: Artifact, image: Image | None
) -> None:
    """One transaction: the repository has the document, and the tag means it, and the image where there is one."""
    full = f"{name}:{tag}"
    of_image = image is not None and image.manifest == document.digest and not artifact.subject
    with store.transaction() as db:
        if not of_image:
            documents.add_document(db, name, document, artifact)
        if tag or (artifact.subject and documents.by_digest(db, name, artifact.subject)):
            documents.settle(db, name, document.digest)
        if image is not None:
            set_names(db, image.id, [full], document.digest if artifact.manifests else "")
            add_digest(db, name, document.digest, image.id)
        elif tag:
            db.execute("DELETE FROM image_names WHERE name = ?", (full,))
        said = documents.by_tag(db, name, tag) if tag else document
        if said is None or said.digest != document.digest:
            documents.set_tag(db, name, tag, document.digest)
    if tag:
        write_index(store)


def _untag(store: Store, full: str) -> None:
    """Take a name away, and with its last name the image. Raises Conflict when a container uses it."""
    if store.db.execute("SELECT 1 FROM image_names WHERE name = ?", (full,)).fetchone():
        remove_image(store, full, force=False)
        return
    with store.transaction() as db:
        documents.drop_tag(db, full)


def _descriptor(referrer: documents.Referrer) -> dict[str, Any]:
    document, artifact_type, annotations = referrer
    found: dict[str, Any] = {
        "mediaType": document.media_type,
        "digest": document.digest,
        "size": document.size,
    }
    if artifact_type:
        found["artifactType"] = artifact_type
    return {**found, "annotations": annotations} if annotations else found
