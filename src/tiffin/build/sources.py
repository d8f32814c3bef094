"""What a COPY or ADD names, found in a tree: the build context, or another stage's files.

Every name is resolved by the kernel inside the tree (openat2, RESOLVE_IN_ROOT): an absolute or climbing
symbolic link ends inside it, `..` stops at its top, magic links are refused.
"""

from __future__ import annotations

import os
import posixpath
import stat
from collections.abc import Callable
from errno import ELOOP, ENOTDIR

from tiffin.build.globs import component_matcher, has_wildcard
from tiffin.build.tree import Filter, Node, node_of, scan
from tiffin.errors import InvalidArgument, NotFound
from tiffin.kernel.paths import open_in_root
from tiffin.typed import NamedTuple

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY


class Picked(NamedTuple):
    """One source found.

    name    its last name as the Dockerfile (or the wildcard) gave it; "" for the whole tree
    base    real path, inside the tree, of the directory that the nodes' paths are relative to
    nodes   a directory: itself (path "") and all below it; anything else: one node, its path being its real
    name
    """

    name: str
    base: str
    nodes: list[Node]

    @property
    def is_directory(self) -> bool:
        return not self.nodes[0].path


class Rules(NamedTuple):
    """What is not to be seen, by real path inside the tree; `title` says where that is written."""

    ignored: Callable[[str], bool]
    may_include_below: Callable[[str], bool]
    title: str

    def hidden(self, path: str) -> bool:
        return self.ignored(path) and not self.may_include_below(path)


class SourceTree:
    """Finds sources below the directory `fd`, which it borrows. `title` names the tree in errors."""

    def __init__(self, fd: int, title: str, rules: Rules | None = None) -> None:
        self.fd = fd
        self._title = title
        self._rules = rules
        self._top = os.readlink(f"/proc/self/fd/{fd}")

    def pick(self, source: str) -> list[Picked]:
        """What `source` (a path, or a pattern with wildcards) names, in order of names.

        NotFound when that is nothing; InvalidArgument when it would leave the tree or the pattern is
        malformed.
        """
        path = inside(source, self._title)
        if not has_wildcard(path):
            return [self._pick(path, source)]
        found = []
        for match in self._matches(path):
            try:
                found.append(self._pick(match, source))
            except NotFound:  # a dangling link, or left out by the rules
                continue
        if not found:
            raise NotFound(f"no file of {self._title} matches {source!r}; check the pattern{self._hint()}")
        return found

    def _hint(self) -> str:
        return f" and {self._rules.title}" if self._rules else ""

    def _missing(self, source: str) -> NotFound:
        return NotFound(f"{source!r} does not exist in {self._title}")

    def _pick(self, path: str, source: str) -> Picked:
        try:
            fd = open_in_root(self.fd, path, os.O_PATH)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise self._missing(source) from error
        except OSError as error:
            if error.errno != ELOOP:
                raise
            raise NotFound(
                f"{source!r} in {self._title} goes through a symbolic link that leads nowhere"
            ) from error
        try:
            real = self._real_path(fd, source)
            status = os.fstat(fd)
        finally:
            os.close(fd)
        if real and self._rules is not None and self._rules.hidden(real):
            raise NotFound(
                f"{source!r} is left out of {self._title} by {self._rules.title}; remove that pattern"
            )
        name = path.rpartition("/")[2]
        if stat.S_ISDIR(status.st_mode):
            return Picked(name, real, self._scan(real))
        base, _, last = real.rpartition("/")
        return Picked(name, base, [node_of(last, status)])

    def _real_path(self, fd: int, source: str) -> str:
        found = os.readlink(f"/proc/self/fd/{fd}")
        if found == self._top:
            return ""
        prefix = self._top if self._top.endswith("/") else self._top + "/"
        if not found.startswith(prefix):  # moved out of the tree while we looked
            raise self._missing(source)
        return found[len(prefix) :]

    def _scan(self, real: str) -> list[Node]:
        fd = open_in_root(self.fd, real, _DIRECTORY)
        try:
            return scan(fd, self._filter(real))
        finally:
            os.close(fd)

    def _filter(self, base: str) -> Filter | None:
        rules = self._rules
        if rules is None:
            return None
        ignored, enter = rules.ignored, rules.may_include_below
        if not base:
            return Filter(lambda path: not ignored(path), enter)
        return Filter(lambda path: not ignored(f"{base}/{path}"), lambda path: enter(f"{base}/{path}"))

    def _matches(self, pattern: str) -> list[str]:
        """The paths that a pattern with wildcards stands for; a literal part at the end is not checked
        yet."""
        found = [""]
        for part in pattern.split("/"):
            if not has_wildcard(part):
                found = [f"{path}/{part}" if path else part for path in found]
                continue
            matches = component_matcher(part).fullmatch
            found = [
                f"{path}/{name}" if path else name
                for path in found
                for name in self._names(path)
                if matches(name)
            ]
        return found

    def _names(self, path: str) -> list[str]:
        try:
            fd = open_in_root(self.fd, path, _DIRECTORY)
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            if error.errno in (ELOOP, ENOTDIR):
                return []
            raise
        try:
            return sorted(os.listdir(fd))
        finally:
            os.close(fd)


def inside(source: str, title: str) -> str:
    """`source` as a clean path relative to the top of its tree; InvalidArgument when it climbs out of it."""
    if "\0" in source:
        raise InvalidArgument(f"invalid path {source!r}: it holds a NUL")
    path = posixpath.normpath(source.lstrip("/") or ".")
    if path == ".." or path.startswith("../"):
        raise InvalidArgument(
            f"forbidden path outside {title}: {source!r}; only what is inside it can be copied"
        )
    return "" if path == "." else path
