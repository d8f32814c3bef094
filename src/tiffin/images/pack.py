"""An OCI image layout being written: into one tar, to a pipe too, or as a directory.

Blobs come first and the documents that lead to them last, as a reader that streams wants it. In a directory a blob that
is there already, whole, stays, and every file appears whole.
"""

import errno
import hashlib
import os
from contextlib import contextmanager

from tiffin.errors import Conflict, EngineError, NoSpace, NotFound
from tiffin.images.blobs import open_layer_blob
from tiffin.images.names import encode_index, named_descriptors
from tiffin.layer.tarstream import Entry, Kind, TarWriter
from tiffin.oci.descriptor import encode_json
from tiffin.oci.digest import sha256
from tiffin.typed import TYPE_CHECKING, Any, BinaryIO, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tiffin.images.blobs import Repositories
    from tiffin.images.records import LayerBlob
    from tiffin.images.service import Images

_BLOBS = "blobs/sha256"
_OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_PIECE = 1 << 20

Row = tuple[str, str, int, tuple[str, ...]]


class Sink(Protocol):
    """Where the files of a layout go."""

    def add(self, name: str, size: int, data: int | bytes) -> None:
        """A file; its data is bytes, or a descriptor to read `size` bytes from."""

    def finish(self) -> None:
        """All is there."""


class TarSink:
    """A tar, written in one pass."""

    def __init__(self, out: BinaryIO) -> None:
        self._tar = TarWriter(out)
        for directory in ("blobs/", f"{_BLOBS}/"):
            self._tar.add(Entry(directory, Kind.DIRECTORY, 0o755))

    def add(self, name: str, size: int, data: int | bytes) -> None:
        self._tar.add(Entry(name, size=size), data)

    def finish(self) -> None:
        self._tar.finish()


class DirectorySink:
    """A directory at `path`, made with what it needs. Everything below it is reached by descriptor, and a link in it
    is never followed. Close it."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._top = self._blobs = -1
        try:
            with self._writing():
                os.makedirs(path, exist_ok=True)
                self._top = os.open(path, _OPEN & ~os.O_NOFOLLOW)
                above = self._directory(self._top, "blobs")
                try:
                    self._blobs = self._directory(above, "sha256")
                finally:
                    os.close(above)
        except BaseException:
            self.close()
            raise

    @contextmanager
    def _writing(self) -> "Iterator[None]":
        """An error of the disk is named. Raises NoSpace, EngineError."""
        try:
            yield
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise NoSpace(f"no space left to write {self._path}; free some and try again") from error
            raise EngineError(f"cannot write to {self._path}: {error.strerror}") from error

    def _directory(self, above: int, name: str) -> int:
        try:
            os.mkdir(name, 0o755, dir_fd=above)
        except FileExistsError:
            pass
        try:
            return os.open(name, _OPEN, dir_fd=above)
        except OSError as error:
            raise Conflict(f"{name!r} in the output directory is not a directory; remove it") from error

    def add(self, name: str, size: int, data: int | bytes) -> None:
        directory, _, base = name.rpartition("/")
        above = self._blobs if directory == _BLOBS else self._top
        if directory and self._is_there(base):
            return
        with self._writing():
            self._write(above, base, size, data)

    def _write(self, above: int, base: str, size: int, data: int | bytes) -> None:
        aside = f".{base[:64]}.{os.urandom(6).hex()}"
        fd = os.open(aside, _CREATE, 0o644, dir_fd=above)
        try:
            with open(fd, "wb") as file:
                if isinstance(data, bytes):
                    file.write(data)
                else:
                    _copy(data, file, size)
                file.flush()
                os.fsync(fd)
            os.rename(aside, base, src_dir_fd=above, dst_dir_fd=above)
        except BaseException:
            os.unlink(aside, dir_fd=above)
            raise

    def _is_there(self, name: str) -> bool:
        try:
            fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=self._blobs)
        except OSError:
            return False
        with open(fd, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == name

    def finish(self) -> None:
        with self._writing():
            os.fsync(self._blobs)
            os.fsync(self._top)

    def close(self) -> None:
        """Let go of the directories."""
        for fd in (self._top, self._blobs):
            if fd >= 0:
                os.close(fd)


def _copy(source: int, out: BinaryIO, size: int) -> None:
    while size:
        data = os.read(source, min(size, _PIECE))
        if not data:
            raise Conflict("a blob shrank while it was copied; try again")
        out.write(data)
        size -= len(data)


class Packer:
    """Writes blobs, each once, then the documents."""

    def __init__(self, images: "Images", sink: Sink, registry: "Repositories | None" = None) -> None:
        self._images, self._sink, self._registry = images, sink, registry
        self._written: set[str] = set()

    def layer(self, layer: "LayerBlob") -> None:
        """A layer's blob; made again or fetched where it was dropped."""
        if self._is_new(layer.blob):
            with open_layer_blob(self._images, layer, self._registry) as file:
                self._sink.add(member(layer.blob), layer.blob_size, file.fileno())

    def stored(self, digest: str) -> None:
        """A blob of the store. Raises NotFound."""
        if not self._is_new(digest):
            return
        try:
            with self._images.content.open(digest) as file:
                self._sink.add(member(digest), self._images.content.size(digest), file.fileno())
        except NotFound as error:
            raise NotFound(f"blob {digest} is missing from the store: load its image again") from error

    def document(self, data: bytes) -> str:
        """A blob of these bytes; its digest."""
        digest = f"sha256:{sha256(data)}"
        if self._is_new(digest):
            self._sink.add(member(digest), len(data), data)
        return digest

    def _is_new(self, digest: str) -> bool:
        new = digest not in self._written
        self._written.add(digest)
        return new

    def finish(self, rows: "Sequence[Row] | None", docker: "Sequence[dict[str, Any]] | None" = None) -> None:
        """The index of the layout, with `rows` as `names.named_descriptors` takes them, and a docker-archive's
        manifest.json; None for neither."""
        if rows is not None:
            self._file("index.json", encode_index(named_descriptors(rows)))
            self._file("oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
        if docker is not None:
            self._file("manifest.json", encode_json(docker))
        self._sink.finish()

    def _file(self, name: str, data: bytes) -> None:
        self._sink.add(name, len(data), data)


def docker_entry(config: str, names: "Sequence[str]", layers: "Sequence[LayerBlob]") -> dict[str, Any]:
    """An image's entry in a docker-archive's manifest.json."""
    return {
        "Config": member(config),
        # Full, as podman writes them: Docker shortens them itself, podman takes a short one for localhost's.
        "RepoTags": [name for name in names if "@" not in name] or None,
        "Layers": [member(layer.blob) for layer in layers],
    }


def member(digest: str) -> str:
    """Where a blob lies in a layout."""
    return f"{_BLOBS}/{digest[7:]}"
