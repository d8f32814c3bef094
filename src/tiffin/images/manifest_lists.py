"""Manifest lists in the making: `tiffin manifest create`, `annotate`, `push`.

A list is a small file of its own below `manifests/` of the engine's root, written aside and renamed: the name that it
is to be pushed under, and what it lists. It holds no bytes of any image; those stay in the repositories, or in the
store, that its entries name, until the list is pushed.
"""

import os

from tiffin.errors import Conflict, Corrupt, InvalidArgument, NotFound
from tiffin.oci.descriptor import (
    DOCKER_LIST,
    DOCKER_MANIFEST,
    ENTRIES_MAX,
    INDEX,
    Descriptor,
    decode_json,
    encode_json,
    parse_descriptor,
)
from tiffin.oci.digest import sha256
from tiffin.oci.platform import Platform
from tiffin.oci.reference import parse_reference
from tiffin.state import lock_file
from tiffin.typed import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tiffin.state import Layout

_FILE_MAX = 4 << 20
_WORD_MAX = 128


class ListEntry(NamedTuple):
    """An image of a list. `reference` is what the user called it by, in full; `repository` where its manifest and blobs
    are, "" for the local store. `os_version` and `os_features` belong to its platform, as on Windows."""

    reference: str
    repository: str
    descriptor: Descriptor
    os_version: str = ""
    os_features: tuple[str, ...] = ()

    def document(self) -> dict[str, Any]:
        """The entry of an index (image-spec, image-index.md)."""
        found = self.descriptor.document()
        if self.os_version:
            found.setdefault("platform", {})["os.version"] = self.os_version
        if self.os_features:
            found.setdefault("platform", {})["os.features"] = list(self.os_features)
        return found


class ManifestList(NamedTuple):
    """A list under its full name."""

    name: str
    entries: tuple[ListEntry, ...]

    def with_entry(self, entry: ListEntry) -> "ManifestList":
        """With the entry in place of one of the same manifest, or at the end. Raises InvalidArgument (too many)."""
        digest = entry.descriptor.digest
        places = [i for i, other in enumerate(self.entries) if other.descriptor.digest == digest]
        entries = list(self.entries)
        if places:
            entries[places[0]] = entry
        else:
            entries.append(entry)
        if len(entries) > ENTRIES_MAX:
            raise InvalidArgument(f"a manifest list of more than {ENTRIES_MAX} images; make several")
        return self._replace(entries=tuple(entries))

    def encode(self) -> tuple[bytes, str]:
        """The document and its media type: Docker's where all that is listed is Docker's, else OCI's."""
        types = {entry.descriptor.media_type for entry in self.entries}
        media_type = DOCKER_LIST if types == {DOCKER_MANIFEST} else INDEX
        entries = [entry.document() for entry in self.entries]
        return encode_json({"schemaVersion": 2, "mediaType": media_type, "manifests": entries}), media_type


class Annotation(NamedTuple):
    """What `annotate` sets; "" and () leave what there is."""

    os: str = ""
    architecture: str = ""
    variant: str = ""
    os_version: str = ""
    os_features: tuple[str, ...] = ()


def annotated(entry: ListEntry, changes: Annotation) -> ListEntry:
    """The entry with another platform. Raises InvalidArgument for what no platform is called."""
    for word in (*changes[:4], *changes.os_features):
        if len(word) > _WORD_MAX or not all(c.isascii() and (c.isalnum() or c in "._-+") for c in word):
            raise InvalidArgument(
                f"invalid value {word[:80]!r} for a platform: letters, digits and ._-+ are wanted"
            )
    before = entry.descriptor.platform or Platform("", "")
    platform = Platform(
        changes.os or before.os,
        changes.architecture or before.architecture,
        changes.variant or before.variant,
    )
    features = (*entry.os_features, *(f for f in changes.os_features if f not in entry.os_features))
    return entry._replace(
        descriptor=entry.descriptor._replace(platform=platform),
        os_version=changes.os_version or entry.os_version,
        os_features=features,
    )


class ManifestLists:
    """The lists of one engine. Safe beside other processes: `changing` orders those that change one."""

    def __init__(self, layout: "Layout") -> None:
        self.directory = f"{layout.root}/manifests"

    def _path(self, name: str) -> str:
        return f"{self.directory}/{sha256(name.encode())}.json"

    def find(self, name: str) -> ManifestList | None:
        """The list of this name, as users write it; None when there is none. Raises InvalidArgument, Corrupt."""
        full = str(parse_reference(name))
        try:
            with open(self._path(full), "rb") as file:
                data = file.read(_FILE_MAX + 1)
        except FileNotFoundError:
            return None
        return _decode(data, full)

    def get(self, name: str) -> ManifestList:
        """As `find`; raises NotFound in Docker's words."""
        found = self.find(name)
        if found is None:
            raise NotFound(f"No such manifest: {parse_reference(name).familiar()}")
        return found

    def create(self, name: str, entries: "Sequence[ListEntry]", *, amend: bool) -> ManifestList:
        """Make a list, or with `amend` add to one that there is; an image that it has stays as it was called and
        annotated first. Atomic. Raises Conflict."""
        reference = parse_reference(name)
        if reference.digest:
            raise InvalidArgument(f"{reference.familiar()} names a digest: a list is made under a tag")
        with self._changing():
            found = self.find(name)
            if found is not None and not amend:
                raise Conflict("refusing to amend an existing manifest list with no --amend flag")
            made = found or ManifestList(str(reference), ())
            for entry in entries:
                if not any(known.descriptor.digest == entry.descriptor.digest for known in made.entries):
                    made = made.with_entry(entry)
            self._write(made)
        return made

    def annotate(self, name: str, image: str, changes: Annotation) -> ManifestList:
        """Change the platform of the entry that `image` (its reference, or repository@digest) names. Atomic.
        Raises NotFound, and Conflict where the reference brought several images."""
        with self._changing():
            found = self.get(name)
            wanted = parse_reference(image)
            chosen = [entry for entry in found.entries if _is_meant(entry, str(wanted), wanted.digest)]
            if not chosen:
                raise NotFound(f"manifest for image {wanted.familiar()} does not exist in {found.name}")
            if len(chosen) > 1:
                digests = ", ".join(entry.descriptor.digest for entry in chosen)
                raise Conflict(
                    f"{wanted.familiar()} brought several images: name one by its digest ({digests})"
                )
            found = found.with_entry(annotated(chosen[0], changes))
            self._write(found)
        return found

    def remove(self, name: str) -> None:
        """Forget a list; what it lists stays. Raises NotFound."""
        self.get(name)
        try:
            os.unlink(self._path(str(parse_reference(name))))
        except FileNotFoundError:
            pass

    def _changing(self) -> "_Locked":
        return _Locked(self.directory)

    def _write(self, made: ManifestList) -> None:
        path = self._path(made.name)
        entries = [
            {
                "reference": entry.reference,
                "repository": entry.repository,
                "descriptor": entry.descriptor.document(),
                "osVersion": entry.os_version,
                "osFeatures": list(entry.os_features),
            }
            for entry in made.entries
        ]
        aside = f"{path}.new"
        with open(aside, "wb", opener=_private) as file:
            file.write(encode_json({"name": made.name, "entries": entries}))
            file.flush()
            os.fsync(file.fileno())
        os.rename(aside, path)


def _is_meant(entry: ListEntry, reference: str, digest: str) -> bool:
    return entry.descriptor.digest == digest if digest else entry.reference == reference


class _Locked:
    """One process at a time changes lists."""

    def __init__(self, directory: str) -> None:
        self._directory = directory

    def __enter__(self) -> None:
        os.makedirs(self._directory, 0o700, exist_ok=True)
        self._fd = lock_file(f"{self._directory}/lock")

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)


def _decode(data: bytes, name: str) -> ManifestList:
    what = f"the stored manifest list {name}"
    document = decode_json(data, what, _FILE_MAX)
    try:
        entries = tuple(_entry(item, what) for item in document["entries"])
        if document["name"] != name:
            raise Corrupt(f"{what} says that it is another: remove it and make it again")
    except (KeyError, TypeError) as error:
        raise Corrupt(f"{what} is malformed: remove it and make it again") from error
    return ManifestList(name, entries)


def _entry(item: Any, what: str) -> ListEntry:
    descriptor = parse_descriptor(item["descriptor"], what)
    return ListEntry(
        item["reference"], item["repository"], descriptor, item["osVersion"], tuple(item["osFeatures"])
    )
