"""What images take up on disk, shared bytes told apart from an image's own.

Sizes are what `du` counts. A blob's costs one stat; a layer's tree is walked once in its life and remembered in the
engine's cache directory, with the inode that it was counted at.
"""

import os

from tiffin.layer.disk import disk_bytes
from tiffin.oci.digest import is_digest
from tiffin.typed import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tiffin.images.service import Images
    from tiffin.state import Layout

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_REMEMBERED = "layer-sizes.json"


class ImageUse(NamedTuple):
    """An image: `size` bytes on disk, of which `shared` belong to other images too. `containers` made from it."""

    id: str
    names: tuple[str, ...]
    created: int
    size: int
    shared: int
    containers: int

    @property
    def unique(self) -> int:
        """What its removal would free."""
        return self.size - self.shared


class CacheUse(NamedTuple):
    """A step of the build cache: `size` bytes of its layer, `shared` when an image has that too. Times in ns. `private`
    are the parts of it that no image has, with their bytes; other steps may have them too."""

    key: str
    created_by: str
    size: int
    shared: bool
    created: int
    used: int
    private: tuple[tuple[str, int], ...] = ()


class ImagesUse(NamedTuple):
    """All of it. `size` counts everything once; `reclaimable` is what only images without containers hold; `cache_size`
    what only the build cache holds; `unnamed` what nothing names."""

    images: tuple[ImageUse, ...]
    size: int
    reclaimable: int
    cache: tuple[CacheUse, ...]
    cache_size: int
    unnamed: int


def images_use(images: "Images") -> ImagesUse:
    """Count. Writes nothing but the remembered sizes."""
    sizes = _sizes(images)
    parts = _parts(images)
    counts: dict[str, int] = {}
    for names in parts.values():
        for name in names:
            counts[name] = counts.get(name, 0) + 1
    used: dict[str, int] = dict(
        images.store.db.execute("SELECT image, count(*) FROM containers GROUP BY image").fetchall()
    )
    found = []
    for summary in _all(images):
        mine = parts.get(summary[0], set())
        size = sum(sizes.get(name, 0) for name in mine)
        shared = sum(sizes.get(name, 0) for name in mine if counts[name] > 1)
        found.append(ImageUse(*summary, size, shared, used.get(summary[0], 0)))
    held: set[str] = set().union(*parts.values())
    active: set[str] = set().union(*(parts[image] for image in parts if used.get(image)))
    cache, cached = _cache(images, sizes, held)
    return ImagesUse(
        tuple(found),
        _sum(sizes, held),
        _sum(sizes, held - active),
        cache,
        _sum(sizes, cached - held),
        _sum(sizes, sizes.keys() - held - cached),
    )


def _sum(sizes: dict[str, int], names: "Iterable[str]") -> int:
    return sum(sizes.get(name, 0) for name in names)


def _all(images: "Images") -> list[tuple[str, tuple[str, ...], int]]:
    """Every image with a row: also one that was removed while a container has it."""
    db = images.store.db
    names: dict[str, list[str]] = {}
    for name, image in db.execute("SELECT name, image FROM image_names ORDER BY name"):
        names.setdefault(image, []).append(name)
    query = "SELECT id, created FROM images ORDER BY created DESC, added DESC, id"
    return [(image, tuple(names.get(image, ())), created) for image, created in db.execute(query)]


def _parts(images: "Images") -> dict[str, set[str]]:
    """The blobs (by digest) and layers ("layer " and the DiffID) of each image."""
    db = images.store.db
    parts = {image: {image, manifest} for image, manifest in db.execute("SELECT id, manifest FROM images")}
    for image, diff_id, blob in db.execute("SELECT image, diff_id, blob FROM image_layers"):
        parts[image] |= {f"layer {diff_id}", blob}
    for digest, image in db.execute("SELECT digest, image FROM index_images"):
        parts[image].add(digest)
    return parts


def _cache(images: "Images", sizes: dict[str, int], held: set[str]) -> tuple[tuple[CacheUse, ...], set[str]]:
    import json

    rows: list[CacheUse] = []
    parts: set[str] = set()
    query = "SELECT key, diff_id, blob, detail, added, used FROM build_cache WHERE diff_id NOTNULL ORDER BY used, key"
    for key, diff_id, blob, detail, added, used in images.store.db.execute(query):
        mine = {f"layer {diff_id}", blob}
        parts |= mine
        document = json.loads(detail)
        if "key" in document:  # another name for a step
            continue
        private = tuple((name, sizes.get(name, 0)) for name in sorted(mine - held))
        text = document.get("created_by", "")
        rows.append(CacheUse(key, text, _sum(sizes, mine), mine <= held, added, used, private))
    return tuple(rows), parts


def _sizes(images: "Images") -> dict[str, int]:
    """Bytes on disk of every blob and layer that is here."""
    layout = images.store.layout
    sizes = _layer_sizes(layout)
    with os.scandir(f"{layout.oci}/blobs/sha256") as entries:
        for entry in entries:
            try:
                sizes[f"sha256:{entry.name}"] = entry.stat(follow_symlinks=False).st_blocks * 512
            except FileNotFoundError:
                continue
    return sizes


def _layer_sizes(layout: "Layout") -> dict[str, int]:
    known, found = _remembered(layout), {}
    with os.scandir(layout.layers) as entries:
        for entry in entries:
            if not is_digest(f"sha256:{entry.name}"):  # the engine's own, see snapshot.overlay
                continue
            inode = entry.inode()
            before = known.get(entry.name)
            if before is not None and before[0] == inode:
                found[entry.name] = before
                continue
            try:
                fd = os.open(entry.path, _DIRECTORY)
            except FileNotFoundError:
                continue
            try:
                found[entry.name] = [inode, disk_bytes(fd)]
            finally:
                os.close(fd)
    if found != known:
        _remember(layout, found)
    return {f"layer sha256:{name}": size for name, (_, size) in found.items()}


def _remembered(layout: "Layout") -> dict[str, list[int]]:
    import json

    try:
        with open(f"{layout.cache}/{_REMEMBERED}", encoding="ascii") as file:
            document = json.load(file)
    except (OSError, ValueError):
        return {}
    return document if isinstance(document, dict) else {}


def _remember(layout: "Layout", sizes: dict[str, list[int]]) -> None:
    """Aside, then renamed; not synced, as it can be counted again. A full disk costs no more than that."""
    import json

    aside = f"{layout.cache}/{_REMEMBERED}.{os.getpid()}"
    try:
        with open(aside, "w", encoding="ascii") as file:
            json.dump(sizes, file, separators=(",", ":"))
        os.rename(aside, f"{layout.cache}/{_REMEMBERED}")
    except OSError:
        try:
            os.unlink(aside)
        except FileNotFoundError:
            pass
