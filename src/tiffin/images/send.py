"""Blobs and documents on their way to one repository, wherever their bytes come from."""

import threading
from concurrent.futures import ThreadPoolExecutor, as_completed

from tiffin.errors import TiffinError
from tiffin.images.transfer import TransferEvent
from tiffin.typed import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tiffin.images.transfer import Report
    from tiffin.oci.descriptor import Descriptor
    from tiffin.registry.client import Repository


class Pushed(NamedTuple):
    """What the name resolves to there: the digest and size of its manifest or index."""

    digest: str
    size: int
    media_type: str


class Opened(Protocol):
    """A blob's bytes, from somewhere on."""

    def read(self, size: int, /) -> bytes: ...

    def close(self) -> None: ...


class Source(Protocol):
    """Where a blob's bytes come from; usable in any thread."""

    def open(self, offset: int = 0) -> Opened: ...

    def close(self) -> None: ...


class Blob(NamedTuple):
    """A blob to be there, and repositories of the same registry that may have it."""

    descriptor: "Descriptor"
    source: Source
    mount_from: tuple[str, ...] = ()
    is_layer: bool = True


class Document(NamedTuple):
    """A manifest or index, as stored."""

    descriptor: "Descriptor"
    data: bytes


class _Stopped(TiffinError):
    """Another blob of the same push failed; that error is the one to report."""


def send_blobs(repository: "Repository", blobs: "Iterable[Blob]", tell: "Report", uploads: int) -> None:
    """Have every blob there, `uploads` at a time. The first failure ends the others and is raised."""
    wanted = sorted(blobs, key=lambda blob: -blob.descriptor.size)
    for blob in wanted:
        if blob.is_layer:
            tell(TransferEvent("Preparing", _short(blob)))
    stop = threading.Event()
    pool = ThreadPoolExecutor(max(1, min(uploads, len(wanted))), "push blob")
    try:
        jobs = [pool.submit(_send, repository, blob, tell, stop) for blob in wanted]
        for job in as_completed(jobs):
            job.result()
    except BaseException as error:
        stop.set()
        # Who is interrupted does not wait for a registry that stalls; closing the client ends what goes on.
        pool.shutdown(wait=isinstance(error, Exception), cancel_futures=True)
        raise
    pool.shutdown()


def _send(repository: "Repository", blob: Blob, tell: "Report", stop: threading.Event) -> None:
    descriptor = blob.descriptor

    def progress(sent: int) -> None:
        if stop.is_set():
            raise _Stopped("another layer of this push failed")
        if blob.is_layer:
            tell(TransferEvent("Pushing", _short(blob), sent, descriptor.size))

    if stop.is_set():
        raise _Stopped("another layer of this push failed")
    try:
        outcome = repository.push_blob(
            descriptor, blob.source.open, mount_from=blob.mount_from, progress=progress
        )
    finally:
        blob.source.close()
    if blob.is_layer:
        tell(TransferEvent(_STATUS.get(outcome) or _mounted(outcome), _short(blob)))


_STATUS = {"exists": "Layer already exists", "pushed": "Pushed"}


def _mounted(outcome: str) -> str:
    """Docker names the repository without its registry."""
    name = outcome.partition(":")[2]
    return f"Mounted from {name.partition('/')[2] or name}"


def _short(blob: Blob) -> str:
    return blob.descriptor.digest.removeprefix("sha256:")[:12]


def send_documents(repository: "Repository", documents: "Sequence[Document]", tag: str) -> Pushed:
    """Put each document by its digest and the last one under `tag`. Everything that they name is there."""
    for descriptor, data in documents[:-1]:
        repository.put_manifest(descriptor.digest, data, descriptor.media_type)
    descriptor, data = documents[-1]
    repository.put_manifest(tag or descriptor.digest, data, descriptor.media_type)
    return Pushed(descriptor.digest, len(data), descriptor.media_type)
