"""Whether the images of a store are whole: every row, document, blob and unpacked layer.

    rows ─▶ documents agree ─▶ blobs, two at a time:  read ─ hash ─ inflate ─ hash ─ compare with the tree
                                                     (digest)      (DiffID)   (layer.verify)

Runs beside everything else. It holds `Store.adding()`, so that nothing that it looks at is collected meanwhile; what
appears after it began is not looked at. What is left over is told apart from what is being made by
`Store.collecting()`, hence at the end and only while nobody is adding.
"""

import hashlib
import os

from tiffin.errors import Corrupt, EngineError, LimitExceeded, NoSpace, NotFound, TiffinError
from tiffin.images.asides import asides
from tiffin.images.blobs import remake
from tiffin.images.collect import LIVE_LAYERS, abandoned_names, unnamed
from tiffin.images.finding import DAMAGE, LEFTOVER, Finding
from tiffin.images.names import index_is_current
from tiffin.images.origins import origins_of
from tiffin.oci.descriptor import DOCUMENT_MAX, Manifest, parse_document
from tiffin.oci.image import diff_ids, parse_config
from tiffin.typed import TYPE_CHECKING, Any, BinaryIO, NamedTuple

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator

    from tiffin.images.finding import Progress
    from tiffin.images.records import LayerBlob
    from tiffin.images.service import Images
    from tiffin.layer.verify import Difference

_THREADS = 2
_SHOWN = 3  # differences of one layer that its finding names
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Checked:
    """What was found, and by digest or ID what is not whole, with the reason: what a repair works from."""

    def __init__(self) -> None:
        self.findings: list[Finding] = []
        self.blobs: dict[str, str] = {}
        self.layers: dict[str, str] = {}
        self.images: dict[str, str] = {}

    def damage(self, kind: str, name: str, what: str, repair: str = "") -> None:
        self.findings.append(Finding(DAMAGE, kind, name, what, repair))

    def leftover(self, kind: str, name: str, what: str, repair: str = "remove it") -> None:
        self.findings.append(Finding(LEFTOVER, kind, name, what, repair))


class _Job(NamedTuple):
    """A layer's blob to verify, and what it is to inflate to ("" for a blob of which only the digest is known). `tree`:
    compare the unpacked layer on the way. `elsewhere`: some repository is known to hold the blob."""

    layer: "LayerBlob"
    tree: bool
    elsewhere: bool


def check_images(images: "Images", progress: "Progress | None" = None) -> Checked:
    """Check everything that has to do with images; changes nothing. Bounded memory: names, not contents."""
    checked = Checked()
    with images.store.adding():
        _check_database(images.store.db, checked)
        _check_documents(images, checked)
        _check_served(images, checked)
        _check_layers(images, checked)
        _check_contents(images, checked, progress)
    _check_index(images, checked)
    _check_leftovers(images, checked)
    return checked


# -- rows ----------------------------------------------------------------------------------------------------


def _check_database(db: "sqlite3.Connection", checked: Checked) -> None:
    for (text,) in db.execute("PRAGMA integrity_check(20)"):
        # SQLite 3.40 says this of sound tables without row numbers whose key is not their first columns.
        if text != "ok" and not text.startswith("NULL value in "):
            checked.damage("database", "tiffin.db", str(text).replace("\n", " "))
    for table, rowid, parent, _ in db.execute("PRAGMA foreign_key_check"):
        where = table if rowid is None else f"{table} row {rowid}"
        checked.damage("database", where, f"names nothing in {parent}", "remove the row")


def _check_documents(images: "Images", checked: Checked) -> None:
    db = images.store.db
    for (image,) in db.execute("SELECT id FROM images ORDER BY added, id").fetchall():
        try:
            _check_image(images, image)
        except _Bad as bad:
            checked.blobs.setdefault(bad.blob, str(bad))
            checked.damage(
                "blob", bad.blob, str(bad), "make it again from its row, fetch it, or drop the image"
            )
        except TiffinError as error:
            checked.images[image] = str(error)
            checked.damage("image", image, str(error), "drop the image")
    for digest, media_type, size in db.execute("SELECT digest, media_type, size FROM indexes").fetchall():
        try:
            data = _document(images, digest, size)
            if isinstance(parse_document(data, media_type, f"index {digest}"), Manifest):
                raise Corrupt(f"blob {digest} is an image, not an index")
        except TiffinError as error:
            checked.blobs.setdefault(digest, str(error))
            checked.damage("blob", digest, str(error), "fetch it, or forget the index")


def _check_served(images: "Images", checked: Checked) -> None:
    """The documents that the registry serves beside images, and that what they need is here."""
    db = images.store.db
    query = "SELECT DISTINCT digest, size FROM registry_manifests ORDER BY digest"
    for digest, size in db.execute(query).fetchall():
        try:
            _document(images, digest, size)
        except TiffinError as error:
            if digest not in checked.blobs:
                checked.blobs[digest] = str(error)
                checked.damage("blob", digest, str(error), "fetch it, or no longer serve what needs it")


class _Bad(Corrupt):
    """A blob is missing or damaged."""

    def __init__(self, blob: str, reason: str) -> None:
        super().__init__(reason)
        self.blob = blob


def _document(images: "Images", digest: str, size: int = -1) -> bytes:
    try:
        data = images.content.read_bytes(digest, DOCUMENT_MAX)
    except NotFound:
        raise _Bad(digest, "is missing") from None
    except (Corrupt, LimitExceeded):
        raise _Bad(digest, "does not hash to its digest") from None
    except OSError as error:
        raise _Bad(digest, f"cannot be read: {error.strerror}") from error
    if size >= 0 and len(data) != size:
        raise Corrupt(f"its row says {size} bytes, blob {digest} has {len(data)}")
    return data


def _check_image(images: "Images", image: str) -> None:
    """Row, manifest, config and layer rows say the same. Raises TiffinError."""
    db = images.store.db
    query = "SELECT manifest, media_type, manifest_size, config, size FROM images WHERE id = ?"
    row = db.execute(query, (image,)).fetchone()
    if row is None:  # removed meanwhile
        return
    digest, media_type, manifest_size, config, size = row
    manifest = parse_document(_document(images, digest, manifest_size), media_type)
    if not isinstance(manifest, Manifest) or manifest.config.digest != image:
        raise Corrupt(f"manifest {digest} is not this image's")
    data = _document(images, image)
    if data != config.encode():
        raise Corrupt("its row has another config than its blob")
    query = """SELECT i.diff_id, i.blob, i.media_type, i.blob_size, l.size FROM image_layers i
        LEFT JOIN layers l USING (diff_id) WHERE i.image = ? ORDER BY i.position"""
    rows = db.execute(query, (image,)).fetchall()
    if tuple(row[0] for row in rows) != diff_ids(parse_config(data)):
        raise Corrupt("its layer rows are not the diff_ids of its config")
    if [tuple(row[1:4]) for row in rows] != [
        (one.digest, one.media_type, one.size) for one in manifest.layers
    ]:
        raise Corrupt("its layer rows are not the layers of its manifest")
    if all(row[4] is not None for row in rows) and sum(row[4] for row in rows) != size:
        raise Corrupt(f"its row says {size} bytes of files, its layers have {sum(row[4] for row in rows)}")


def _check_layers(images: "Images", checked: Checked) -> None:
    """Each layer that an image or the build cache stands on has its row and its directory."""
    db, repair = images.store.db, "unpack it again from its blob"
    for (diff_id,) in db.execute(f"{LIVE_LAYERS} ORDER BY 1").fetchall():
        row = db.execute("SELECT 1 FROM layers WHERE diff_id = ?", (diff_id,)).fetchone()
        what = "" if os.path.isdir(images.store.layout.layer(diff_id)) else "its directory is missing"
        if not what and row is None:
            what = "has no row"
        if what:
            checked.layers[diff_id] = what
            checked.damage("layer", diff_id, what, repair)


# -- contents ------------------------------------------------------------------------------------------------


def _jobs(db: "sqlite3.Connection", checked: Checked) -> "Iterator[_Job]":
    from tiffin.images.records import LayerBlob

    query = """SELECT DISTINCT diff_id, blob, media_type, blob_size FROM image_layers
        UNION SELECT diff_id, blob, media_type, blob_size FROM build_cache WHERE blob IS NOT NULL ORDER BY 1"""
    last = ""
    for row in db.execute(query).fetchall():
        layer = LayerBlob(*row)
        yield _Job(
            layer,
            layer.diff_id != last and layer.diff_id not in checked.layers,
            bool(origins_of(db, layer.blob)),
        )
        last = layer.diff_id
    for (blob,) in db.execute(_SERVED_BLOBS).fetchall():
        yield _Job(LayerBlob("", blob, "", -1), False, bool(origins_of(db, blob)))


# Those that images have are verified as theirs.
_SERVED_BLOBS = """SELECT blob FROM registry_blobs EXCEPT SELECT blob FROM image_layers EXCEPT SELECT id FROM images
    EXCEPT SELECT digest FROM registry_manifests ORDER BY 1"""


def _check_contents(images: "Images", checked: Checked, progress: "Progress | None") -> None:
    from concurrent.futures import ThreadPoolExecutor

    jobs = list(_jobs(images.store.db, checked))
    meter = _Meter(sum(max(job.layer.blob_size, 0) for job in jobs), progress)
    with ThreadPoolExecutor(_THREADS, "verify") as pool:
        results = pool.map(lambda job: (job, *_verify(images, job, meter)), jobs)
        for job, bad_blob, bad_tree in results:
            if bad_blob and job.layer.blob not in checked.blobs:
                checked.blobs[job.layer.blob] = bad_blob
                checked.damage("blob", job.layer.blob, bad_blob, "make or fetch it again, or drop its images")
            if bad_tree:
                checked.layers[job.layer.diff_id] = bad_tree
                checked.damage("layer", job.layer.diff_id, bad_tree, "unpack it again from its blob")


class _Meter:
    """Adds up what the threads have read."""

    def __init__(self, total: int, progress: "Progress | None") -> None:
        import threading

        self._total, self._progress, self._done = total, progress, 0
        self._lock = threading.Lock()

    def add(self, count: int) -> None:
        if self._progress is not None:
            with self._lock:
                self._done += count
                self._progress(min(self._done, self._total), self._total)


class _Hashing:
    """A blob being read: hashed and counted."""

    def __init__(self, file: BinaryIO, meter: "_Meter | None" = None) -> None:
        self._read, self._meter = file.read, meter
        self.digest, self.size = hashlib.sha256(), 0

    def read(self, size: int, /) -> bytes:
        data = self._read(size)
        self.digest.update(data)
        self.size += len(data)
        if self._meter is not None:
            self._meter.add(len(data))
        return data


def _verify(images: "Images", job: _Job, meter: _Meter) -> tuple[str, str]:
    """What is wrong with the blob and with the tree, "" for nothing. Of a tree whose blob is no help nothing is known.
    In any thread."""
    layer, path = job.layer, images.store.layout.layer(job.layer.diff_id)
    tree = -1
    try:
        if job.tree:
            tree = os.open(path, _DIRECTORY)
        if not images.content.exists(layer.blob):
            return _verify_dropped(images, job), ""
        bad, differences = compare(images, layer, tree, meter)
        if tree >= 0 and not bad and differences:
            differences = _confirmed(images, layer, differences)
    except OSError as error:
        return "", f"cannot be read: {error.strerror or error}"
    finally:
        if tree >= 0:
            os.close(tree)
    return bad, describe(differences)


def _verify_dropped(images: "Images", job: _Job) -> str:
    """Of a blob that is not here: "" when it can come back. A tree that gives its blob again is verified by that; of
    others nothing is known until it has been fetched."""
    made = remake(images, job.layer) if job.layer.diff_id else None
    if made is not None:
        made.close()
    return "" if made is not None or job.elsewhere else "is missing"


def describe(differences: "list[Difference]") -> str:
    """Some differences in one line."""
    from tiffin.oci.reference import shown

    if not differences:
        return ""
    named = [f"{shown(path) or '/'} {what}" for path, what in differences[:_SHOWN]]
    more = f" (and {len(differences) - _SHOWN} more)" if len(differences) > _SHOWN else ""
    return "; ".join(named) + more


def compare(
    images: "Images", layer: "LayerBlob", tree: int, meter: "_Meter | None" = None
) -> "tuple[str, list[Difference]]":
    """What is wrong with a layer's blob, and in what the tree at descriptor `tree` (-1: none) differs from it; that
    is known only of a blob that is whole. Raises OSError for the tree."""
    from tiffin.layer.compress import open_decompressed
    from tiffin.layer.verify import verify_tree

    try:
        file = images.content.open(layer.blob)
    except NotFound:
        return "is missing", []
    plain = hashlib.sha256()
    differences: list[Difference] = []
    with file:
        source = _Hashing(file, meter)
        if not layer.diff_id:
            return _bad_blob(source, layer), []
        try:
            with open_decompressed(source, digest=plain) as tar:
                if tree >= 0:
                    differences = verify_tree(tar, tree)
                else:
                    while tar.read(1 << 20):
                        pass
        except (Corrupt, LimitExceeded) as error:
            return _bad_blob(source, layer) or f"cannot be unpacked: {error}", []
        bad = _bad_blob(source, layer)
    if not bad and f"sha256:{plain.hexdigest()}" != layer.diff_id:
        bad = f"unpacks to sha256:{plain.hexdigest()}, not to layer {layer.diff_id}"
    return bad, [] if bad else differences


def _bad_blob(source: _Hashing, layer: "LayerBlob") -> str:
    try:
        while source.read(1 << 20):
            pass
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    if source.size != layer.blob_size >= 0:
        return f"has {source.size} bytes, not {layer.blob_size}"
    if f"sha256:{source.digest.hexdigest()}" != layer.blob:
        return "does not hash to its digest"
    return ""


def _confirmed(images: "Images", layer: "LayerBlob", differences: "list[Difference]") -> "list[Difference]":
    """The differences, unless a tree that is unpacked now has as many: see layer.verify on archives that replace what
    they unpacked."""
    from tiffin.layer.apply import apply_layer
    from tiffin.layer.compress import open_decompressed

    try:
        with images.snapshots.stage_layer() as staged, images.content.open(layer.blob) as file:
            with open_decompressed(file) as tar:
                apply_layer(tar, staged.fd)
            _, fresh = compare(images, layer, staged.fd)
    except (NoSpace, EngineError):
        return differences
    doubtful = {difference.path for difference in fresh}
    return [difference for difference in differences if difference.path not in doubtful]


# -- the rest ------------------------------------------------------------------------------------------------


def _check_index(images: "Images", checked: Checked) -> None:
    oci = images.store.layout.oci
    if not index_is_current(images.store):
        checked.leftover("index", "oci/index.json", "is not what the rows say", "write it again")
    try:
        with open(f"{oci}/oci-layout", "rb") as file:
            stated: Any = file.read(100)
    except FileNotFoundError:
        stated = b""
    if stated != b'{"imageLayoutVersion":"1.0.0"}':
        checked.damage(
            "index", "oci/oci-layout", "does not say that this is an image layout", "write it again"
        )


def _check_leftovers(images: "Images", checked: Checked) -> None:
    for path in asides(images.store.layout):
        checked.leftover("file", path, "its writer is gone")
    with images.store.collecting() as alone:
        if not alone:
            return
        layers, blobs = unnamed(images)
        for diff_id in sorted(layers):
            checked.leftover("layer", diff_id, "nothing names it")
        for digest in sorted(blobs):
            checked.leftover("blob", digest, "nothing names it")
        for name in abandoned_names(images.store.layout.staging):
            checked.leftover("staging", f"staging/{name}", "its maker is gone")
        for name in foreign_names(images):
            checked.damage(
                "database",
                name,
                "is no name that tiffin gives",
                "remove it by hand if you did not put it there",
            )


def foreign_names(images: "Images") -> list[str]:
    """What lies among blobs and layers and is neither."""
    from tiffin.oci.digest import is_digest

    layout = images.store.layout
    found = []
    for directory, others in (("oci/blobs/sha256", ()), ("layers", ("empty", "mount-points"))):
        names = os.listdir(f"{layout.root}/{directory}")
        found += [
            f"{directory}/{name}" for name in names if name not in others and not is_digest(f"sha256:{name}")
        ]
    return sorted(found)
