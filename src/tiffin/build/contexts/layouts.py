"""`oci-layout://DIRECTORY[:TAG][@DIGEST]`: an image of an OCI image layout (image-spec, image-layout) as a base.

What belongs to the one image goes through the same door as every image archive: the documents are read here only to
find it, and whatever they say is checked there.
"""

from __future__ import annotations

import json
import os
import re

from tiffin.build.contexts.inputs import LAYOUT
from tiffin.errors import Corrupt, InvalidArgument, LimitExceeded, NotFound
from tiffin.kernel.paths import RESOLVE_BENEATH, RESOLVE_NO_SYMLINKS, openat2
from tiffin.layer.entry import Entry, Kind
from tiffin.layer.tarwriter import TarWriter
from tiffin.oci.digest import is_digest
from tiffin.typed import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tiffin.images import Image, Images

_DOCUMENT_MAX = 4 << 20
_BLOBS_MAX = 5000
_TAG = re.compile(r":([A-Za-z0-9_][A-Za-z0-9_.-]{0,127})$")
_REF_NAMES = ("org.opencontainers.image.ref.name", "io.containerd.image.name")


def load_layout(images: Images, text: str) -> Image:
    """The image, loaded without a name. Raises NotFound, Corrupt and what loading an archive does."""
    path, _, digest = text.removeprefix(LAYOUT).partition("@")
    if digest and not is_digest(digest):
        raise InvalidArgument(f"{text!r}: {digest!r} is no digest")
    tag = ""
    if not os.path.isdir(path) and (found := _TAG.search(path)):
        tag, path = found[1], path[: found.start()]
    try:
        top = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise NotFound(f"{text!r}: cannot open the layout {path!r}: {error.strerror}") from error
    try:
        return _load(images, top, text, tag, digest)
    finally:
        os.close(top)


def _load(images: Images, top: int, text: str, tag: str, digest: str) -> Image:
    entries = _document(top, "index.json").get("manifests")
    entries = [entry for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []
    if digest:
        entries = [entry for entry in entries if entry.get("digest") == digest] or [_by_digest(top, digest)]
    elif tag:
        entries = [entry for entry in entries if tag in _names(entry)]
    if not entries:
        raise NotFound(f"{text!r}: the layout has no such image")
    if len(entries) > 1 and not tag:
        raise InvalidArgument(f"{text!r}: the layout has several images; name one with :TAG or @DIGEST")
    chosen = [{key: value for key, value in entry.items() if key != "annotations"} for entry in entries]
    spool = os.open(images.store.layout.staging, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
    with open(spool, "w+b") as archive:
        writer = TarWriter(archive)
        index = json.dumps({"schemaVersion": 2, "manifests": chosen}).encode()
        writer.add(Entry("index.json", Kind.FILE, mode=0o644, size=len(index)), index)
        for name in _blobs(top, chosen):
            _add_blob(top, name, writer)
        writer.finish()
        archive.seek(0)
        return images.resolve(images.load(archive)[-1])


def _names(entry: dict[str, Any]) -> set[str]:
    annotations = entry.get("annotations")
    if not isinstance(annotations, dict):
        return set()
    names = {str(annotations.get(key, "")) for key in _REF_NAMES}
    return names | {name.rpartition(":")[2] for name in names}


def _by_digest(top: int, digest: str) -> dict[str, Any]:
    document = _document(top, _member(digest))
    size = len(_read(top, _member(digest)))
    media_type = document.get("mediaType") or "application/vnd.oci.image.manifest.v1+json"
    return {"mediaType": media_type, "digest": digest, "size": size}


def _blobs(top: int, entries: list[dict[str, Any]]) -> list[str]:
    """The blobs that `entries` lead to and that are there, each once."""
    found: dict[str, None] = {}
    waiting = [entry.get("digest") for entry in entries]
    while waiting:
        digest = waiting.pop()
        if not isinstance(digest, str) or not is_digest(digest) or digest in found:
            continue
        if not _exists(top, _member(digest)):
            continue
        found[digest] = None
        if len(found) > _BLOBS_MAX:
            raise LimitExceeded(f"an image of more than {_BLOBS_MAX} blobs")
        try:
            document = _document(top, _member(digest))
        except (Corrupt, LimitExceeded):  # a layer, most likely
            continue
        below = [document.get("config"), *_list(document.get("layers")), *_list(document.get("manifests"))]
        waiting += [entry.get("digest") for entry in below if isinstance(entry, dict)]
    return [_member(digest) for digest in found]


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _member(digest: str) -> str:
    algorithm, _, digits = digest.partition(":")
    return f"blobs/{algorithm}/{digits}"


def _exists(top: int, name: str) -> bool:
    try:
        os.close(_open(top, name))
    except FileNotFoundError:
        return False
    return True


def _open(top: int, name: str) -> int:
    return openat2(top, name, os.O_RDONLY | os.O_NONBLOCK, 0, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS)


def _read(top: int, name: str) -> bytes:
    try:
        fd = _open(top, name)
    except OSError as error:
        raise Corrupt(f"the layout has no readable {name}: {error.strerror}") from error
    with open(fd, "rb") as file:
        data = file.read(_DOCUMENT_MAX + 1)
    if len(data) > _DOCUMENT_MAX:
        raise LimitExceeded(f"{name} of the layout has more than {_DOCUMENT_MAX} bytes")
    return data


def _document(top: int, name: str) -> dict[str, Any]:
    try:
        found = json.loads(_read(top, name))
    except (ValueError, RecursionError) as error:
        raise Corrupt(f"{name} of the layout is not JSON") from error
    if not isinstance(found, dict):
        raise Corrupt(f"{name} of the layout is not an object")
    return found


def _add_blob(top: int, name: str, writer: TarWriter) -> None:
    fd = _open(top, name)
    try:
        writer.add(Entry(name, Kind.FILE, mode=0o644, size=os.fstat(fd).st_size), fd)
    finally:
        os.close(fd)
