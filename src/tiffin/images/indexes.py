"""Image indexes: one name for the images of several platforms (image-spec, image-index.md).

An index is kept whole, as the bytes that it came as; the rows say which of its images are here. What is attached to an
image in its index (attestations, whose platform is unknown/unknown) is part of the document and never an image to run.
"""

from tiffin.errors import Corrupt, LimitExceeded, NotFound
from tiffin.oci.descriptor import INDEXES, Index, Manifest, parse_document
from tiffin.oci.platform import Platform, normal, preferences
from tiffin.oci.reference import shown
from tiffin.typed import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from tiffin.oci.descriptor import Descriptor

DEPTH_MAX = 4  # of indexes within indexes
_DOCUMENTS_MAX = 32  # read while one image is looked for
_IMAGES_MAX = 1000
_ATTACHED = "vnd.docker.reference.type"


class Wanted(NamedTuple):
    """The platforms that will do, the best first; `text` is how the user or the machine puts it."""

    platforms: tuple[Platform, ...]
    text: str

    def accepts(self, platform: Platform) -> bool:
        """Whether an image of this platform will do."""
        return normal(platform) in self.platforms


def wanted(platform: Platform | None, host: Platform) -> Wanted:
    """What to look for: the platform that was asked for, else what `host` executes by itself."""
    chosen = platform or host
    return Wanted(preferences(chosen, native=platform is None), str(chosen))


class IndexDocument(NamedTuple):
    """An index as it came."""

    descriptor: "Descriptor"
    data: bytes


class Found(NamedTuple):
    """A manifest, the descriptor that leads to it, its bytes, and the indexes on the way, the outermost first."""

    descriptor: "Descriptor"
    manifest: Manifest
    data: bytes
    indexes: tuple[IndexDocument, ...]


def is_attachment(entry: "Descriptor") -> bool:
    """Whether an index entry is something about an image and no image."""
    return _ATTACHED in entry.annotations or (
        entry.platform is not None and entry.platform.os == entry.platform.architecture == "unknown"
    )


def images_of(index: Index) -> "list[Descriptor]":
    """Its entries that are images, or indexes."""
    return [entry for entry in index.manifests if not is_attachment(entry)]


def ranked(entries: "Iterable[Descriptor]", want: Wanted) -> "list[Descriptor]":
    """The entries that may lead to a wanted image, the best first; those that state no platform come last."""
    entries = list(entries)
    best: list[Descriptor] = []
    for platform in want.platforms:
        best += [e for e in entries if e.platform is not None and normal(e.platform) == platform]
    return best + [entry for entry in entries if entry.platform is None]


def find_manifest(
    top: "Descriptor", read: "Callable[[Descriptor], bytes]", want: Wanted, data: bytes | None = None
) -> Found:
    """The manifest that `top` leads to on a wanted platform. `read` gives the verified bytes of a document; `data` are
    those of `top` where they are here already. Raises NotFound in Docker's words, Corrupt, LimitExceeded, Unsupported.
    """
    search = _Search(read, want)
    found = search.below(top, (), data)
    if found is None:
        offered = ", ".join(dict.fromkeys(search.offered)) or "no platform"
        raise NotFound(
            f"no matching manifest for {want.text} in the manifest list entries: it has {shown(offered)}"
        )
    return found


class _Search:
    def __init__(self, read: "Callable[[Descriptor], bytes]", want: Wanted) -> None:
        self._read, self._want = read, want
        self._documents = 0
        self.offered: list[str] = []

    def below(
        self, entry: "Descriptor", above: "tuple[IndexDocument, ...]", data: bytes | None = None
    ) -> Found | None:
        """Depth first: what the first of the ranked entries that has any leads to."""
        if len(above) > DEPTH_MAX:
            raise LimitExceeded(f"indexes nest more than {DEPTH_MAX} deep")
        self._documents += 1
        if self._documents > _DOCUMENTS_MAX:
            raise LimitExceeded(f"more than {_DOCUMENTS_MAX} documents to read for one image")
        data = self._read(entry) if data is None else data
        document = parse_document(data, entry.media_type, f"manifest {entry.digest}")
        if isinstance(document, Manifest):
            return Found(entry._replace(media_type=document.media_type), document, data, above)
        above = (*above, IndexDocument(entry._replace(media_type=document.media_type), data))
        candidates = images_of(document)
        self.offered += [str(c.platform) for c in candidates if c.platform is not None]
        for candidate in ranked(candidates, self._want):
            found = self.below(candidate, above)
            if found is not None:
                return found
        return None


def all_manifests(
    top: "Descriptor", read: "Callable[[Descriptor], bytes | None]"
) -> "tuple[list[Found], Sequence[IndexDocument]]":
    """Every image below an index, in order, and every index on the way. `read` gives None for what is not to be had,
    which is then left out. Raises Corrupt, LimitExceeded, Unsupported."""
    images: list[Found] = []
    indexes: dict[str, IndexDocument] = {}
    seen: set[str] = set()
    pending: list[tuple[Descriptor, tuple[IndexDocument, ...]]] = [(top, ())]
    while pending:
        entry, above = pending.pop(0)
        if entry.digest in seen:
            continue
        seen.add(entry.digest)
        if len(above) > DEPTH_MAX:
            raise LimitExceeded(f"indexes nest more than {DEPTH_MAX} deep")
        if (data := read(entry)) is None:
            continue
        document = parse_document(data, entry.media_type, f"manifest {entry.digest}")
        if isinstance(document, Manifest):
            images.append(Found(entry, document, data, above))
            continue
        if len(indexes) >= _DOCUMENTS_MAX or len(images) > _IMAGES_MAX:
            raise LimitExceeded(f"more than {_DOCUMENTS_MAX} indexes under one name")
        here = indexes.setdefault(entry.digest, IndexDocument(entry, data))
        pending += [(below, (*above, here)) for below in images_of(document)]
    return images, list(indexes.values())


def check_size(entry: "Descriptor", data: bytes) -> bytes:
    """`data` itself, when it has the size that its descriptor states. Raises Corrupt."""
    if entry.size >= 0 and len(data) != entry.size:
        raise Corrupt(f"manifest {entry.digest} has {len(data)} bytes where {entry.size} were stated")
    return data


def is_index(media_type: str) -> bool:
    """Whether the media type is an index's."""
    return media_type in INDEXES
