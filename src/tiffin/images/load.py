"""Images out of archives: OCI image layouts and Docker's, and plain root filesystems."""

import os
import threading
import time
from collections.abc import Callable

from tiffin.errors import Corrupt, LimitExceeded, TiffinError
from tiffin.images.archive import Archive, SectionReader
from tiffin.images.layout import Candidate, Source, oci_images
from tiffin.images.unpack import Expected, Unpacked, unpack_layer
from tiffin.images.write import create_image, make_manifest
from tiffin.oci.descriptor import LAYERS_MAX
from tiffin.oci.image import History, diff_ids, empty_config, extend_config, format_time, parse_config
from tiffin.oci.platform import host_platform
from tiffin.oci.reference import parse_reference, shown
from tiffin.typed import TYPE_CHECKING, Any, BinaryIO

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tiffin.images.records import Image, LayerBlob
    from tiffin.images.service import Images
    from tiffin.oci.platform import Platform

# Called with a layer's DiffID, the bytes of it read so far, and all of them; from several threads.
Progress = Callable[[str, int, int], None]

_IMAGES_MAX = 1000


def load_archive(images: "Images", stream: BinaryIO, progress: Progress | None) -> list[str]:
    """See `Images.load`."""
    loaded: list[str] = []
    with images.store.adding(), Archive(stream, images.store.layout) as archive:
        for candidate in _candidates(archive):
            image = _add(images, candidate, progress)
            loaded.extend(candidate.names or ([] if candidate.follows else [image.id]))
    if not loaded:
        raise Corrupt("the archive holds no image")
    return loaded


def _candidates(archive: Archive) -> "Iterator[Candidate]":
    if "index.json" in archive:
        return oci_images(archive, _docker_names(archive))
    if "manifest.json" in archive:
        return _docker_images(archive)
    raise Corrupt("not an image archive: it has neither index.json nor manifest.json")


# -- docker-archive ------------------------------------------------------------------------------------------


def _docker_manifests(archive: Archive) -> list[dict[str, Any]]:
    entries = archive.read_json("manifest.json")
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise Corrupt("manifest.json in the archive is not a list of objects")
    if len(entries) > _IMAGES_MAX:
        raise LimitExceeded(f"the archive holds {len(entries)} images; {_IMAGES_MAX} at most")
    for entry in entries:
        for key in ("RepoTags", "Layers"):
            value = entry.get(key) or []
            if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
                raise Corrupt(f"manifest.json in the archive: {key} is not a list of strings")
        if len(entry.get("Layers") or []) > LAYERS_MAX:
            raise LimitExceeded(f"manifest.json in the archive lists more than {LAYERS_MAX} layers")
    return entries


def _docker_images(archive: Archive) -> "Iterator[Candidate]":
    for entry in _docker_manifests(archive):
        config = archive.read(entry.get("Config"))
        ids, members = diff_ids(parse_config(config)), entry.get("Layers") or []
        if len(ids) != len(members):
            raise Corrupt(
                f"{shown(str(entry.get('Config')))} lists {len(ids)} diff_ids for {len(members)} layers"
            )
        layers = [
            Source(archive.section(member), Expected(diff_id))
            for diff_id, member in zip(ids, members, strict=True)
        ]
        yield Candidate(config, layers, _repo_tags(entry))


def _repo_tags(entry: dict[str, Any]) -> list[str]:
    references = [parse_reference(text) for text in entry.get("RepoTags") or []]
    return [str(reference) for reference in references if not reference.digest]


def _docker_names(archive: Archive) -> dict[str, list[str]]:
    """In an archive that is both kinds, the names that the docker-archive gives to a config."""
    if "manifest.json" not in archive:
        return {}
    return {
        f"sha256:{os.path.basename(str(entry.get('Config')))}": _repo_tags(entry)
        for entry in _docker_manifests(archive)
    }


# -- either
# ------------------------------------------------------------------------------------------------------


def _add(images: "Images", candidate: Candidate, progress: Progress | None) -> "Image":
    layers = _unpack_all(images, candidate.layers, progress)
    config = images.content.put_bytes(candidate.config)
    for index in candidate.origin.indexes:
        images.content.put_bytes(index.data)
    manifest = candidate.manifest or make_manifest(config, len(candidate.config), layers)
    return images.add_image(manifest, candidate.media_type, candidate.names, candidate.origin)


def _unpack_all(
    images: "Images", sources: "Sequence[Source]", progress: Progress | None
) -> "list[LayerBlob]":
    """Store and unpack what is not here yet, several layers at once; committed in this thread, as each is
    verified. On an error the others are ended and their trees removed."""
    from concurrent.futures import ThreadPoolExecutor, as_completed

    known = {source.expected: _known(images, source.expected) for source in sources}
    wanted = {source.expected: source for source in sources if known[source.expected] is None}
    stop = threading.Event()

    def work(source: Source) -> Unpacked:
        expected = source.expected

        def tell(done: int) -> None:
            if stop.is_set():
                raise _Stopped
            if progress is not None:
                progress(expected.diff_id, done, source.section.size)

        return unpack_layer(images.content, images.snapshots, SectionReader(source.section, tell), expected)

    with ThreadPoolExecutor(min(4, max(2, os.cpu_count() or 1)), "unpack layer") as pool:
        jobs = {pool.submit(work, source): expected for expected, source in wanted.items()}
        try:
            for job in as_completed(jobs):
                known[jobs[job]] = _commit(job.result())
        except BaseException:
            stop.set()
            for job in jobs:
                if not job.cancel() and job.exception() is None:
                    job.result().staged.__exit__(None, None, None)
            raise
    return [layer for source in sources if (layer := known[source.expected]) is not None]


class _Stopped(TiffinError):
    """Another layer of the same image failed; that error is the one to report."""


def _commit(unpacked: Unpacked) -> "LayerBlob":
    with unpacked.staged as staged:
        staged.commit(unpacked.layer.diff_id, unpacked.size)
    return unpacked.layer


def _known(images: "Images", expected: Expected) -> "LayerBlob | None":
    """The layer as some image here already has it, verified when that came; with the blob expected, if one
    is."""
    from tiffin.images.records import LayerBlob

    query = "SELECT diff_id, blob, media_type, blob_size FROM image_layers WHERE diff_id = ?"
    for row in images.store.db.execute(query, (expected.diff_id,)):
        layer = LayerBlob(*row)
        if expected.blob in ("", layer.blob) and images.content.exists(layer.blob):
            return layer if images.snapshots.has_layer(layer.diff_id) else None
    return None


def import_root(
    images: "Images",
    stream: BinaryIO,
    name: str,
    message: str,
    changed: dict[str, Any] | None,
    platform: "Platform | None",
) -> "Image":
    """See `Images.import_`."""
    names = [str(parse_reference(name))] if name else []
    with images.store.adding():
        layer = _commit(unpack_layer(images.content, images.snapshots, stream, Expected()))
        created = format_time(time.time_ns())
        history = History(created, comment=message or "Imported from -")
        config = extend_config(
            empty_config(platform or host_platform(), created), history, layer.diff_id, changed
        )
        return create_image(images, config, [layer], names)
