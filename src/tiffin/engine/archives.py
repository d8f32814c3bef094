"""A container's files as tar streams: what cp is made of, shaped as Docker's API has it (GET, PUT and HEAD of
/containers/x/archive)."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import ExitStack

from tiffin.engine.options import PathStat
from tiffin.engine.views import View, open_view
from tiffin.errors import Conflict, EngineError, InvalidArgument, NotFound
from tiffin.kernel.mounts import mount_id
from tiffin.kernel.paths import open_in_root
from tiffin.layer.apply import extract
from tiffin.layer.archive import TreeArchive, directory_pieces, file_pieces
from tiffin.layer.compress import open_decompressed
from tiffin.layer.tree import Onto
from tiffin.state.events import tell
from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from tiffin.engine.workspace import Workspace
    from tiffin.layer.tarreader import Readable

_REFERENCE = os.O_PATH | os.O_CLOEXEC
_READ_ONLY = 1  # ST_RDONLY of statvfs
_GONE = (errno.ENOENT, errno.ENAMETOOLONG)


class Place:
    """Something in a container: a reference to it (O_PATH; a link as last component is itself referred to), the name
    that a copy of it has, and what Docker tells of it."""

    def __init__(self, view: View, path: str, fd: int, base: str) -> None:
        self.view = view
        self.path = path
        self.fd = fd
        self.base = base
        self.status = os.fstat(fd)

    @property
    def is_directory(self) -> bool:
        return stat.S_ISDIR(self.status.st_mode)

    @property
    def is_link(self) -> bool:
        return stat.S_ISLNK(self.status.st_mode)

    def target(self) -> str:
        """Where a link leads in the end, or as far as it can be followed; "" for what is none."""
        if not self.is_link:
            return ""
        link = os.readlink("", dir_fd=self.fd)
        above = os.path.dirname(self.path.rstrip("/"))
        lexical = os.path.normpath(os.path.join("/", above, link))
        try:
            found = open_in_root(
                self.view.root_fd, f"{above}/{link}" if link[:1] != "/" else link, _REFERENCE
            )
        except OSError:
            return lexical
        try:
            return self.view.path_of(found)
        except Conflict:
            return lexical
        finally:
            os.close(found)

    def describe(self) -> PathStat:
        status = self.status
        return PathStat(self.base, status.st_size, status.st_mode, status.st_mtime_ns, self.target())

    def close(self) -> None:
        os.close(self.fd)

    def __enter__(self) -> Place:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def find(view: View, path: str, reference: str) -> Place:
    """What is at `path`. A slash or `.` at its end asks for a directory, through a link too. Raises NotFound in
    Docker's words, InvalidArgument."""
    if not path:
        raise InvalidArgument("bad parameter: path cannot be empty")
    parts = [part for part in path.split("/") if part not in ("", ".")]
    whole = "/" + "/".join(parts)
    wants_directory = not parts or parts[-1] == ".." or path.endswith(("/", "/."))
    flags = _REFERENCE | (os.O_DIRECTORY if wants_directory else os.O_NOFOLLOW)
    try:
        fd = open_in_root(view.root_fd, whole, flags)
    except OSError as error:
        raise _not_there(error, path, reference) from error
    base = "" if path == "." or path.endswith("/.") else os.path.basename(os.path.normpath(whole))
    return Place(view, whole, fd, base or ".")


def _not_there(error: OSError, path: str, reference: str) -> Exception:
    if error.errno in _GONE:
        return NotFound(f"Could not find the file {path} in container {reference}")
    if error.errno == errno.ENOTDIR:
        return InvalidArgument(f"{path} in container {reference}: not a directory")
    return EngineError(f"cannot reach {path} in container {reference}: {error.strerror}")


def stat_path(workspace: Workspace, reference: str, path: str) -> PathStat:
    """See ContainerService.stat_path."""
    with (
        workspace.store() as store,
        open_view(store, reference) as view,
        find(view, path, reference) as place,
    ):
        return place.describe()


def get_archive(workspace: Workspace, reference: str, path: str) -> tuple[PathStat, TreeArchive]:
    """See ContainerService.get_archive."""
    with workspace.store() as store, ExitStack() as undo:
        view = undo.enter_context(open_view(store, reference))
        place = undo.enter_context(find(view, path, reference))
        tell(store, "archive-path", view.container.id)
        return place.describe(), read_place(place, place.base, undo.pop_all())


def read_place(place: Place, name: str, undo: ExitStack) -> TreeArchive:
    """The stream of what is at a place, called `name` in it; closing it unwinds `undo`."""
    if not place.is_directory:
        return TreeArchive(file_pieces(place.fd, name), undo.close)
    fd = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=place.fd)
    undo.callback(os.close, fd)
    return TreeArchive(directory_pieces(fd, name), undo.close)


def put_archive(
    workspace: Workspace, reference: str, path: str, tar: Readable, *, keep_kinds: bool = True
) -> None:
    """See ContainerService.put_archive."""
    with workspace.store() as store, open_view(store, reference) as view:
        unpack(view, reference, path, open_decompressed(tar), keep_kinds=keep_kinds)
        tell(store, "extract-to-dir", view.container.id)


def unpack(view: View, reference: str, path: str, tar: Readable, *, keep_kinds: bool = True) -> None:
    """Unpack a tar in the directory `path`. Raises NotFound, InvalidArgument, and what `extract` does."""
    try:
        fd = open_in_root(view.root_fd, path, os.O_RDONLY | os.O_DIRECTORY)
    except NotADirectoryError as error:
        raise InvalidArgument("extraction point is not a directory") from error
    except OSError as error:
        raise _not_there(error, path, reference) from error
    try:
        _check_writable(view, fd)
        inside = view.path_of(fd)
        onto = Onto("/", inside, keep_kinds)
        extract(tar, view.root_fd, inside, onto=onto)
    finally:
        os.close(fd)


def _check_writable(view: View, fd: int) -> None:
    if not os.fstatvfs(fd).f_flag & _READ_ONLY:
        return
    if mount_id(fd) == mount_id(view.root_fd):
        raise InvalidArgument("container rootfs is marked read-only")
    raise InvalidArgument("mounted volume is marked read-only")
