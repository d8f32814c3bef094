"""Images out of a registry.

    reference ─ manifest (an index: choose) ─ config ─┬ layer ─ fetch, unpack ┐
                                                      ├ layer ─ fetch, unpack ┼─ one transaction names the image
                                                      └ layer   is here       ┘

The config comes first: it says what each layer has to unpack to. Layers are fetched in threads and committed in the
caller's, which alone has the store.
"""

import threading

from tiffin.errors import Corrupt, LimitExceeded, NotFound, Unsupported
from tiffin.images.fetch import Fetched, Fetcher, Source, Wanted
from tiffin.images.indexes import Found, check_size, find_manifest
from tiffin.images.indexes import wanted as wanted_platforms
from tiffin.images.records import image_by_id
from tiffin.images.transfer import TransferEvent
from tiffin.images.write import Provenance
from tiffin.oci.descriptor import DOCUMENT_MAX, FOREIGN_LAYERS
from tiffin.oci.digest import sha256
from tiffin.oci.image import diff_ids, parse_config, platform
from tiffin.oci.platform import host_platform
from tiffin.oci.reference import shown
from tiffin.typed import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Future

    from tiffin.images.records import Image
    from tiffin.images.service import Images
    from tiffin.images.transfer import Report
    from tiffin.oci.descriptor import Descriptor
    from tiffin.oci.platform import Platform
    from tiffin.oci.reference import Reference


class PullOptions(NamedTuple):
    """`downloads`: layers fetched at once. `keep_compressed`: whether their blobs stay once they are unpacked."""

    downloads: int = 3
    keep_compressed: bool = True


class Pulled(NamedTuple):
    """`digest` is what the reference resolved to, an index's where it stands for several platforms; `status` says in
    Docker's words whether anything is new."""

    image: "Image"
    digest: str
    status: str


class Document(Protocol):
    """A manifest or index as a registry gave it, its digest verified."""

    @property
    def descriptor(self) -> "Descriptor": ...
    @property
    def data(self) -> bytes: ...


class Repository(Source, Protocol):
    """What a pull asks of a repository; the registry room's is one."""

    def resolve(self, reference: str) -> "Descriptor": ...

    def manifest(self, reference: str) -> Document: ...

    def tags(self) -> "Iterator[str]": ...


class Registry(Protocol):
    """What a pull asks of the registry room's client."""

    def repository(self, name: str) -> Repository: ...


def pull(
    images: "Images",
    registry: Registry,
    reference: "Reference",
    platform: "Platform | None",
    report: "Report | None",
    options: PullOptions,
) -> Pulled:
    """See `Images.pull`."""
    with images.store.adding():
        return _Pull(images, registry.repository(reference.name), reference, platform, report, options).run()


class _Pull:
    """One pull: what its steps share."""

    def __init__(
        self,
        images: "Images",
        remote: Repository,
        reference: "Reference",
        asked: "Platform | None",
        report: "Report | None",
        options: PullOptions,
    ) -> None:
        self._images, self._remote, self._options = images, remote, options
        # A digest says all; the tag beside it is for people (and Docker ignores it too).
        self._reference = reference._replace(tag="") if reference.digest else reference
        self._asked = asked
        self._want = wanted_platforms(asked, host_platform())
        self._tell = _one_at_a_time(report)

    def run(self) -> Pulled:
        reference = self._reference
        which = reference.digest or reference.tag
        before = self._held()
        pulled = self._unchanged(before) if before else None
        top = None if pulled else self._top(which)
        self._tell(TransferEvent(f"Pulling from {reference.repository}", which))
        if pulled is None:
            assert top is not None  # one or the other
            entry = top.descriptor._replace(media_type=_known(top.descriptor.media_type))
            found = find_manifest(entry, self._document, self._want, top.data)
            pulled = self._add(entry.digest, found, before)
        self._tell(TransferEvent(f"Digest: {pulled.digest}"))
        self._tell(TransferEvent(f"Status: {pulled.status}"))
        return pulled

    # -- what is here already --------------------------------------------------------------------------------

    def _held(self) -> str:
        """The image that the reference means here and now, "" for none."""
        reference, db = self._reference, self._images.store.db
        if reference.digest:
            query = "SELECT image FROM image_digests WHERE repository = ? AND digest = ?"
            rows = db.execute(query, (reference.name, reference.digest)).fetchall()
            fitting = [str(image) for (image,) in rows if self._want.accepts(image_by_id(db, image).platform)]
            return fitting[0] if fitting else str(rows[0][0]) if rows else ""
        row = db.execute("SELECT image FROM image_names WHERE name = ?", (str(reference),)).fetchone()
        return str(row[0]) if row else ""

    def _unchanged(self, image_id: str) -> Pulled | None:
        """What is here, when it is whole and still what the registry has: one request that moves no document."""
        images, reference = self._images, self._reference
        image = image_by_id(images.store.db, image_id)
        if not all(images.snapshots.has_layer(diff_id) for diff_id in image.diff_ids):
            return None
        digest = reference.digest or self._remote.resolve(reference.tag).digest
        if f"{reference.name}@{digest}" not in image.digests:
            return None
        if (self._asked or digest != image.manifest) and not self._want.accepts(image.platform):
            return None
        row = images.store.db.execute(
            "SELECT target FROM image_names WHERE name = ?", (str(reference),)
        ).fetchone()
        if row is not None and digest != (row[0] or image.manifest):
            return None
        return Pulled(image, digest, self._status(changed=False))

    # -- documents -------------------------------------------------------------------------------------------

    def _top(self, which: str) -> Document:
        """What the reference itself stands for."""
        document = self._remote.manifest(which)
        actual = f"sha256:{sha256(document.data)}"
        if actual != document.descriptor.digest or (self._reference.digest not in ("", actual)):
            raise Corrupt(
                f"manifest {shown(which)} of {self._reference.familiar_name()} does not match its digest: its bytes "
                f"hash to {actual}"
            )
        return document

    def _document(self, entry: "Descriptor") -> bytes:
        """A manifest or index that another one names, from here or from there."""
        if entry.size > DOCUMENT_MAX:
            raise LimitExceeded(f"manifest {entry.digest} has more than {DOCUMENT_MAX} bytes")
        if self._images.content.exists(entry.digest):
            return check_size(entry, self._images.content.read_bytes(entry.digest, DOCUMENT_MAX))
        data = check_size(entry, self._remote.manifest(entry.digest).data)
        _verify(entry.digest, data)
        return data

    def _config(self, entry: "Descriptor") -> bytes:
        content = self._images.content
        if entry.size > DOCUMENT_MAX:
            raise LimitExceeded(f"image config {entry.digest} has more than {DOCUMENT_MAX} bytes")
        if content.exists(entry.digest):
            return content.read_bytes(entry.digest, DOCUMENT_MAX)
        parts, size = [], 0
        with self._remote.open_blob(entry) as stream:
            while data := stream.read(entry.size + 1 - size):
                parts.append(data)
                size += len(data)
                if size > entry.size:
                    break
        data = b"".join(parts)
        if size != entry.size:
            raise Corrupt(
                f"image config {entry.digest} does not have the {entry.size} bytes that were stated"
            )
        _verify(entry.digest, data)
        return data

    # -- the image -------------------------------------------------------------------------------------------

    def _add(self, digest: str, found: Found, before: str) -> Pulled:
        images, reference = self._images, self._reference
        config_bytes = self._config(found.manifest.config)
        config = parse_config(config_bytes)
        self._check_platform(platform(config), chosen=bool(found.indexes))
        ids = diff_ids(config)
        if len(ids) != len(found.manifest.layers):
            raise Corrupt(
                f"image {found.manifest.config.digest} lists {len(ids)} diff_ids for "
                f"{len(found.manifest.layers)} layers"
            )
        pairs = [Wanted(layer, diff_id) for diff_id, layer in zip(ids, found.manifest.layers, strict=True)]
        self._layers(pairs)
        for data in (config_bytes, *(index.data for index in found.indexes)):
            images.content.put_bytes(data)
        held = [pair.descriptor for pair in pairs if pair.descriptor.media_type not in FOREIGN_LAYERS]
        image = images.add_image(
            found.data,
            found.descriptor.media_type,
            [] if reference.digest else [str(reference)],
            Provenance(
                found.indexes,
                reference.name,
                digest,
                (found.manifest.config.digest, *(entry.digest for entry in held)),
                frozenset(e.digest for e in found.manifest.layers if not images.content.exists(e.digest)),
                replaces=True,
            ),
        )
        return Pulled(image, digest, self._status(changed=image.id != before))

    def _check_platform(self, actual: "Platform", *, chosen: bool) -> None:
        """Of an index the entry was chosen by what the index says. A manifest alone is taken as it is, unless
        another platform was asked for."""
        if actual.os != "linux":
            raise Unsupported(f'image operating system "{shown(actual.os)}" cannot be used on this platform')
        if self._asked is not None and not chosen and not self._want.accepts(actual):
            raise NotFound(
                f"image with reference {self._reference.familiar()} was found but does not match the specified "
                f"platform: wanted {self._want.text}, actual: {actual}"
            )

    def _status(self, *, changed: bool) -> str:
        text = self._reference.familiar()
        return f"Downloaded newer image for {text}" if changed else f"Image is up to date for {text}"

    def _layers(self, pairs: list[Wanted]) -> None:
        """Have all layers here, those that are missing fetched several at once."""
        missing: dict[tuple[str, str], Wanted] = {}
        for pair in pairs:
            key = (pair.descriptor.digest, pair.diff_id)
            if key in missing:
                continue
            if self._is_known(pair):
                self._tell(TransferEvent("Already exists", pair.short))
            else:
                missing[key] = pair._replace(unpacked=self._images.snapshots.has_layer(pair.diff_id))
                self._tell(TransferEvent("Pulling fs layer", pair.short))
        if missing:
            self._fetch_all(list(missing.values()))

    def _is_known(self, pair: Wanted) -> bool:
        """Whether the layer is here unpacked, and its blob too, or need not be: some image has this very pair, or
        blobs are not kept anyway."""
        images = self._images
        if not images.snapshots.has_layer(pair.diff_id):
            return False
        if not self._options.keep_compressed:
            return True
        query = "SELECT 1 FROM image_layers WHERE diff_id = ? AND blob = ? LIMIT 1"
        return images.store.db.execute(query, (pair.diff_id, pair.descriptor.digest)).fetchone() is not None

    def _fetch_all(self, missing: list[Wanted]) -> None:
        """Fetch in threads, commit here, as each is verified. On an error the others are ended and undone."""
        from concurrent.futures import ThreadPoolExecutor, as_completed

        images, stop = self._images, threading.Event()
        fetcher = Fetcher(
            images.content,
            images.snapshots,
            images.store.layout.staging,
            self._remote,
            keep=self._options.keep_compressed,
            stop=stop,
            report=self._tell,
        )
        with ThreadPoolExecutor(min(self._options.downloads, len(missing)), "pull layer") as pool:
            jobs = {pool.submit(fetcher.fetch, one): one for one in missing}
            try:
                for job in as_completed(jobs):
                    self._commit(jobs[job], job.result())
            except BaseException:
                fetcher.stop()
                for job in jobs:
                    _undo(job)
                raise

    def _commit(self, wanted: Wanted, fetched: Fetched) -> None:
        try:
            if fetched.staged is not None:
                with fetched.staged as staged:
                    staged.commit(wanted.diff_id, fetched.size)
            fetched.turn.prove(wanted.diff_id)
        finally:
            fetched.turn.close()
        self._tell(TransferEvent("Pull complete", wanted.short))


def _undo(job: "Future[Fetched]") -> None:
    """Wait for a job to end, and let go of what it holds. Harmless when that has been committed."""
    if job.cancel() or job.exception() is not None:
        return
    fetched = job.result()
    if fetched.staged is not None:
        fetched.staged.__exit__(None, None, None)
    fetched.turn.close()


def _verify(digest: str, data: bytes) -> None:
    actual = f"sha256:{sha256(data)}"
    if actual != digest:
        raise Corrupt(f"blob {digest} does not match its digest: its bytes hash to {actual}")


def _known(media_type: str) -> str:
    """A media type that says what the document is; "" for one that a registry gives to everything."""
    return "" if media_type in _VAGUE else media_type


_VAGUE = frozenset({"", "application/json", "application/octet-stream", "text/plain", "binary/octet-stream"})


def _silent(_: TransferEvent, /) -> None:
    """Tells nobody."""


def _one_at_a_time(report: "Report | None") -> "Callable[[TransferEvent], None]":
    if report is None:
        return _silent
    lock, tell = threading.Lock(), report

    def told(event: TransferEvent) -> None:
        with lock:
            tell(event)

    return told
