"""cp: between a container and the machine, by Docker's rules of what a copy is called and where it goes.

    source ──▶ what is it, its name ──┐
                                      ├──▶ the directory to unpack in, and the name of the copy ──▶ tar ──▶ unpacked
    target ──▶ is it there, a directory ─┘

One stream, made while it is unpacked, both ends by descriptor: a tree swapped meanwhile changes what is copied, not
where to. On the machine nothing is written outside of the directory unpacked in, whatever links it holds.
"""

from __future__ import annotations

import os
import stat
from contextlib import ExitStack

from tiffin.engine.archives import find, read_place, unpack
from tiffin.engine.views import View, open_view
from tiffin.errors import Conflict, InvalidArgument, NotFound
from tiffin.layer.apply import extract
from tiffin.layer.archive import TreeArchive, directory_pieces, file_pieces
from tiffin.layer.compress import open_decompressed
from tiffin.layer.tree import Onto
from tiffin.state.events import tell
from tiffin.typed import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    from tiffin.engine.workspace import Workspace
    from tiffin.layer.tarreader import Readable

_MOST_LINKS = 10
_REFERENCE = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC


class _Target(NamedTuple):
    """Where a copy is to go; `path` as given, its links followed."""

    path: str
    exists: bool
    is_directory: bool


class _Counted:
    """A stream whose bytes somebody counts."""

    def __init__(self, archive: TreeArchive, count: Callable[[int], None] | None) -> None:
        self._read = archive.read
        self._count = count

    def read(self, size: int = -1, /) -> bytes:
        piece = self._read(size)
        if self._count is not None:
            self._count(len(piece))
        return piece


def plan(name: str, is_directory: bool, target: _Target) -> tuple[str, str]:
    """The directory to unpack in, and the name of the copy: `name`, or "." for a directory's content, unless the
    target names it. Raises Conflict in Docker's words."""
    if target.exists and target.is_directory:
        return target.path, name
    if target.exists and is_directory:
        raise Conflict("cannot copy directory")
    if not target.exists and not is_directory and target.path.endswith(("/", "/.")):
        raise NotFound("no such directory")
    clean = os.path.normpath(target.path)
    return os.path.dirname(clean), os.path.basename(clean)


# ---- out of a container


def copy_from(
    workspace: Workspace,
    reference: str,
    path: str,
    target: str,
    *,
    follow: bool,
    keep_owner: bool,
    count: Callable[[int], None] | None,
) -> str:
    """See ContainerService.copy_from."""
    where = _absolute(target)
    _check_output_path(where)
    with workspace.store() as store, ExitStack() as undo:
        view = undo.enter_context(open_view(store, reference))
        place = undo.enter_context(find(view, path, reference))
        name = place.base
        if follow and place.is_link:
            place = undo.enter_context(find(view, place.target(), reference))
        tell(store, "archive-path", view.container.id)
        directory, name = plan(name, place.is_directory, _target_here(where))
        archive = _Counted(read_place(place, name, undo), count)
        fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        undo.callback(os.close, fd)
        owner = None if keep_owner else (os.geteuid(), os.getegid())
        extract(archive, fd, owner=owner, devices=keep_owner, onto=Onto(directory, directory))
    return where


def _check_output_path(path: str) -> None:
    above = os.path.dirname(os.path.normpath(path))
    if not os.path.exists(above):
        raise InvalidArgument(f'invalid output path: directory "{above}" does not exist')
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return
    if stat.S_ISCHR(mode) or stat.S_ISBLK(mode):
        raise InvalidArgument(
            f'invalid output path: "{path}" must be a directory or a regular file: got a device'
        )


def _target_here(path: str) -> _Target:
    """A path of the machine's, and of its user's choice: links are followed."""
    at = path
    for _ in range(_MOST_LINKS):
        try:
            status = os.lstat(at)
        except FileNotFoundError:
            return _Target(at, False, False)
        except NotADirectoryError as error:
            raise InvalidArgument(f"lstat {path}: not a directory") from error
        if not stat.S_ISLNK(status.st_mode):
            return _Target(at, True, stat.S_ISDIR(status.st_mode))
        at = os.path.join(os.path.dirname(at), os.readlink(at))
    raise InvalidArgument(f"too many symlinks in {path}")


# ---- into a container


def copy_to(
    workspace: Workspace,
    source: str,
    reference: str,
    path: str,
    *,
    follow: bool,
    count: Callable[[int], None] | None,
) -> str:
    """See ContainerService.copy_to."""
    with workspace.store() as store, ExitStack() as undo:
        view = undo.enter_context(open_view(store, reference))
        target = _target_in(view, path, reference)
        fd, name = _source_here(source, follow=follow)
        undo.callback(os.close, fd)
        is_directory = stat.S_ISDIR(os.fstat(fd).st_mode)
        directory, name = plan(name, is_directory, target)
        if is_directory:
            opened = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=fd)
            undo.callback(os.close, opened)
            pieces = directory_pieces(opened, name)
        else:
            pieces = file_pieces(fd, name)
        unpack(view, reference, directory, _Counted(TreeArchive(pieces), count))
        tell(store, "extract-to-dir", view.container.id)
    return target.path


def unpack_to(workspace: Workspace, tar: Readable, reference: str, path: str) -> None:
    """See ContainerService.unpack_to."""
    with workspace.store() as store, open_view(store, reference) as view:
        target = _target_in(view, path, reference)
        if not target.is_directory:
            raise InvalidArgument(f'destination "{reference}:{path}" must be a directory')
        unpack(view, reference, target.path, open_decompressed(tar))
        tell(store, "extract-to-dir", view.container.id)


def _target_in(view: View, path: str, reference: str) -> _Target:
    if not path:
        raise NotFound("no such directory")
    try:
        with find(view, path, reference) as place:
            link = place.target()
            found = place.status.st_mode
        if link:
            path = link
            with find(view, path, reference) as place:
                found = place.status.st_mode
    except (NotFound, InvalidArgument):
        return _Target(path, False, False)
    if stat.S_ISCHR(found) or stat.S_ISBLK(found):
        raise InvalidArgument(
            f'destination "{reference}:{path}" must be a directory or a regular file: got a device'
        )
    return _Target(path, True, stat.S_ISDIR(found))


def _source_here(source: str, *, follow: bool) -> tuple[int, str]:
    """A reference to what is to be copied, and what a copy of it is called."""
    path = _absolute(source)
    only_content = path.endswith("/.") or path == "/"
    name = "." if only_content else os.path.basename(os.path.normpath(path))
    try:
        if follow:
            path = os.path.realpath(path, strict=True) + ("/" if path.endswith(("/", "/.")) else "")
        return os.open(path, _REFERENCE | (os.O_DIRECTORY if path.endswith(("/", "/.")) else 0)), name
    except OSError as error:
        shown = str(error.filename or path)
        raise NotFound(f"lstat {shown.rstrip('/.') or '/'}: {(error.strerror or '').lower()}") from error


def _absolute(path: str) -> str:
    """Absolute and clean, but for a slash or `/.` at its end, which say something."""
    end = "/." if path == "." or path.endswith("/.") else "/" if path.endswith("/") else ""
    clean = os.path.abspath(path)
    return clean if clean == "/" and end == "/" else clean.rstrip("/") + end
