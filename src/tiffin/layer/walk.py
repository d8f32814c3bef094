"""Walk a tree that others wrote: by descriptor, no link followed, in one order on every machine."""

from __future__ import annotations

import os
import stat

from tiffin.errors import LimitExceeded
from tiffin.kernel.paths import RESOLVE_BENEATH, RESOLVE_NO_SYMLINKS, openat2
from tiffin.layer.limits import DEFAULT_LIMITS
from tiffin.layer.names import shown
from tiffin.typed import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

OPAQUE_XATTR = "trusted.overlay.opaque"
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_BENEATH = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS
_MAX_OPEN = 64


class Node(NamedTuple):
    """Something found. `path` is relative to the root; `parent_fd` is valid until the next node is asked
    for."""

    path: str
    name: str
    depth: int  # 1 for what is in the root
    parent_fd: int
    status: os.stat_result


class _Frame:
    """A directory being walked; its descriptor is closed while the walk is far below it."""

    __slots__ = ("fd", "names", "path")

    def __init__(self, path: str, fd: int) -> None:
        self.path = path
        self.fd = fd
        self.names = sorted(os.listdir(fd), key=os.fsencode, reverse=True)


def walk(root_fd: int, max_depth: int = DEFAULT_LIMITS.depth, closed: str = "") -> Iterator[Node]:
    """All that is below `root_fd`, a directory before what it holds, siblings sorted by their bytes.

    Descends into every directory but `closed`. What vanishes meanwhile is passed over. LimitExceeded below `max_depth`.
    """
    frames = [_Frame("", os.open(".", _DIRECTORY, dir_fd=root_fd))]
    try:
        while frames:
            frame = frames[-1]
            if not frame.names:
                frames.pop()
                if frame.fd >= 0:
                    os.close(frame.fd)
                continue
            if frame.fd < 0:
                frame.fd = openat2(root_fd, frame.path, _DIRECTORY, 0, _BENEATH)
            name = frame.names.pop()
            try:
                status = os.stat(name, dir_fd=frame.fd, follow_symlinks=False)
            except FileNotFoundError:
                continue
            path = f"{frame.path}/{name}" if frame.path else name
            if len(frames) > max_depth:
                raise LimitExceeded(f"{shown(path)} is deeper than {max_depth} directories")
            yield Node(path, name, len(frames), frame.fd, status)
            if stat.S_ISDIR(status.st_mode) and path != closed:
                try:
                    frames.append(_Frame(path, os.open(name, _DIRECTORY, dir_fd=frame.fd)))
                except FileNotFoundError:
                    continue
                if len(frames) > _MAX_OPEN:
                    far = frames[-_MAX_OPEN - 1]
                    os.close(far.fd)
                    far.fd = -1
    finally:
        for frame in frames:
            if frame.fd >= 0:
                os.close(frame.fd)


def is_opaque(directory_fd: int) -> bool:
    """Whether an overlay directory hides what the layers below have in it."""
    try:
        return os.getxattr(directory_fd, OPAQUE_XATTR) == b"y"
    except OSError:  # no such attribute, or a filesystem without any
        return False


def is_whiteout(status: os.stat_result) -> bool:
    """Whether an overlay upper or layer hides a name by this (character device 0:0)."""
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == 0


class Found(NamedTuple):
    """What the stack shows at a path: None if nothing, and the layers that a directory there is merged
    from."""

    status: os.stat_result | None
    layers: tuple[int, ...]


class LayerStack:
    """Overlay layer directories, topmost first, seen as overlayfs would merge them. The descriptors stay the
    caller's."""

    def __init__(self, layer_fds: Sequence[int]) -> None:
        self._fds = layer_fds

    def root(self) -> tuple[int, ...]:
        """The layers that the root is merged from: down to the first opaque one."""
        return self._until_opaque("", range(len(self._fds)))

    def _until_opaque(self, path: str, layers: Sequence[int]) -> tuple[int, ...]:
        merged: list[int] = []
        for index in layers:
            merged.append(index)
            fd = openat2(self._fds[index], path or ".", _DIRECTORY, 0, _BENEATH)
            try:
                if is_opaque(fd):
                    break
            finally:
                os.close(fd)
        return tuple(merged)

    def look_up(self, layers: Sequence[int], path: str) -> Found:
        """What is at `path`, whose parent directory is merged from `layers`."""
        top: os.stat_result | None = None
        directories: list[int] = []
        for index in layers:
            try:
                fd = openat2(self._fds[index], path, os.O_PATH | os.O_NOFOLLOW, 0, _BENEATH)
            except FileNotFoundError:
                continue
            try:
                status = os.fstat(fd)
            finally:
                os.close(fd)
            if is_whiteout(status):
                break
            if top is None:
                top = status
            if not stat.S_ISDIR(status.st_mode):
                break
            directories.append(index)
        return Found(top, self._until_opaque(path, directories))

    def names(self, layers: Sequence[int], path: str) -> list[str]:
        """The names in the directory `path`, merged from `layers`, sorted by their bytes."""
        seen: dict[str, bool] = {}
        for index in layers:
            fd = openat2(self._fds[index], path or ".", _DIRECTORY, 0, _BENEATH)
            try:
                for name in os.listdir(fd):
                    if name not in seen:
                        seen[name] = not is_whiteout(os.stat(name, dir_fd=fd, follow_symlinks=False))
            finally:
                os.close(fd)
        return sorted((name for name, shows in seen.items() if shows), key=os.fsencode)
