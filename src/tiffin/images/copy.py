"""A manifest, and all that it names, from one repository to another."""

from tiffin.images.send import Blob, Document, send_blobs, send_documents
from tiffin.oci.descriptor import FOREIGN_LAYERS, LAYERS_MAX, Descriptor, decode_json, parse_descriptor
from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from tiffin.images.send import Opened
    from tiffin.images.transfer import Report
    from tiffin.oci.reference import Reference
    from tiffin.registry.client import Registry, Repository


def copy_manifest(
    registry: "Registry",
    source: str,
    descriptor: Descriptor,
    reference: "Reference",
    report: "Report",
    uploads: int,
) -> None:
    """Have the manifest `descriptor` of the repository `source` in that of `reference`. Blobs are mounted where both
    are of one registry, and pass through this machine else. Raises NotFound when it is gone from `source`."""
    here, there = registry.repository(source), registry.repository(reference.name)
    found = here.manifest(descriptor.digest)
    config, layers = manifest_parts(found.data, descriptor.digest)
    mounts = (source,) if source.partition("/")[0] == reference.registry else ()
    wanted = {blob.digest: blob for blob in (config, *layers) if blob.media_type not in FOREIGN_LAYERS}
    blobs = [Blob(blob, RemoteBlob(here, blob), mounts, blob is not config) for blob in wanted.values()]
    send_blobs(there, blobs, report, uploads)
    send_documents(there, [Document(descriptor, found.data)], "")


def manifest_parts(data: bytes, digest: str) -> tuple[Descriptor, list[Descriptor]]:
    """The config and the layers of any manifest, also of one that is no image (an attestation). Raises Corrupt."""
    document = decode_json(data, f"manifest {digest}")
    found = document.get("layers") if isinstance(document, dict) else None
    layers = found if isinstance(found, list) and len(found) <= LAYERS_MAX else []
    what = f"manifest {digest}"
    config = parse_descriptor(
        document.get("config") if isinstance(document, dict) else None, f"config of {what}"
    )
    return config, [parse_descriptor(layer, f"layer of {what}") for layer in layers]


class RemoteBlob:
    """A blob of a repository, as what is read from to send it elsewhere."""

    def __init__(self, repository: "Repository", descriptor: Descriptor) -> None:
        self._repository, self._descriptor = repository, descriptor

    def open(self, offset: int = 0) -> "Opened":
        """Its bytes from `offset`, also where the registry has to be read from the start for that."""
        stream = self._repository.open_blob(self._descriptor, offset)
        skip = offset - stream.offset
        while skip > 0 and (data := stream.read(min(skip, 1 << 20))):
            skip -= len(data)
        return stream

    def close(self) -> None:
        """Holds nothing."""
