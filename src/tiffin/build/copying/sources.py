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

from tiffin.build.copying.globs import component_matcher, has_wildcard
from tiffin.build.copying.parents import PathPattern, split_pivot
from tiffin.build.copying.tree import Filter, Node, node_of, scan
from tiffin.build.epoch import checkout_mode, narrowed
from tiffin.dockerfile.ignore import IgnoreRules
from tiffin.dockerfile.place import nearest
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
    """Finds sources below the directory `fd`, which it borrows. `title` names the tree in errors. `as_checkout`: modes
    are what a checkout has, see epoch.checkout_mode."""

    def __init__(self, fd: int, title: str, rules: Rules | None = None, *, as_checkout: bool = False) -> None:
        self.fd = fd
        self._title = title
        self._rules = rules
        self._as_checkout = as_checkout
        self.widened: list[str] = []  # what others may now read that they could not
        self._top = os.readlink(f"/proc/self/fd/{fd}")

    def pick(self, source: str, exclude: tuple[str, ...] = (), *, parents: bool = False) -> list[Picked]:
        """What `source` (a path, or a pattern with wildcards) names, in order of names.

        `exclude` are patterns of what is left out: below a directory by its path there, else by its name. With
        `parents` it is one directory, which holds what is named where it lay, and nothing else.
        NotFound when that is nothing; InvalidArgument when it would leave the tree or the pattern is
        malformed.
        """
        left_out = (
            IgnoreRules.parse("\n".join(exclude).encode("utf-8", "surrogateescape"), "--exclude")
            if exclude
            else None
        )
        if parents:
            return [self._pick_parents(source, left_out)]
        path = inside(source, self._title)
        if not has_wildcard(path):
            return _without(left_out, [self._pick(path, source, left_out)])
        found = []
        for match in self._matches(path):
            try:
                found.append(self._pick(match, source, left_out))
            except NotFound:  # a dangling link, or left out by the rules
                continue
        if not found:
            raise NotFound(f"no file of {self._title} matches {source!r}; check the pattern{self._hint()}")
        return _without(left_out, found)

    def pick_one(self, source: str) -> Picked:
        """What the path `source` names; nothing in it is a wildcard."""
        return self._pick(inside(source, self._title), source)

    def _pick_parents(self, source: str, left_out: IgnoreRules | None) -> Picked:
        base, pattern = split_pivot(source)
        top = self._pick(inside(base, self._title), source, scanned=False)
        if not top.is_directory:
            raise NotFound(f"{base!r} in {self._title} is not a directory")
        wanted = PathPattern(inside(pattern, self._title))
        rest = self._filter(top.base, left_out)

        def keep(path: str) -> bool:
            return wanted.matches(path) and (rest is None or rest.keep(path))

        def enter(path: str) -> bool:
            # On the way to a match a directory that the rules leave out is one that they leave out whole.
            if not wanted.may_lead_to(path):
                return False
            return rest is None or rest.keep(path) or rest.enter(path)

        nodes = self._scan(top.base, Filter(keep, enter))
        if len(nodes) == 1 and wanted.leads_anywhere:
            raise NotFound(f"no file of {self._title} matches {source!r}; check the pattern{self._hint()}")
        return Picked("", top.base, nodes)

    def _hint(self) -> str:
        return f" and {self._rules.title}" if self._rules else ""

    def _missing(self, source: str) -> NotFound:
        parent, _, name = inside(source, self._title).rpartition("/")
        prefix = f"{parent}/" if parent else ""
        rules = self._rules
        others = (
            found
            for found in self._names(parent)
            if found.isprintable() and not (rules and rules.hidden(prefix + found))
        )
        return NotFound(f"{source!r} does not exist in {self._title}{nearest(name, others)}")

    def _pick(
        self, path: str, source: str, left_out: IgnoreRules | None = None, *, scanned: bool = True
    ) -> Picked:
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
            return Picked(
                name,
                real,
                self._scan(real, self._filter(real, left_out))
                if scanned
                else self._as_taken([node_of("", status)]),
            )
        base, _, last = real.rpartition("/")
        return Picked(name, base, self._as_taken([node_of(last, status)]))

    def _real_path(self, fd: int, source: str) -> str:
        found = os.readlink(f"/proc/self/fd/{fd}")
        if found == self._top:
            return ""
        prefix = self._top if self._top.endswith("/") else self._top + "/"
        if not found.startswith(prefix):  # moved out of the tree while we looked
            raise self._missing(source)
        return found[len(prefix) :]

    def _scan(self, real: str, chosen: Filter | None) -> list[Node]:
        fd = open_in_root(self.fd, real, _DIRECTORY)
        try:
            return self._as_taken(scan(fd, chosen))
        finally:
            os.close(fd)

    def _as_taken(self, nodes: list[Node]) -> list[Node]:
        if not self._as_checkout:
            return nodes
        self.widened += [node.path for node in nodes if narrowed(node.mode)]
        return [
            node if node.is_link else node._replace(mode=checkout_mode(node.mode), twin="") for node in nodes
        ]

    def _filter(self, base: str, left_out: IgnoreRules | None = None) -> Filter | None:
        """By path relative to `base`: what neither the tree's rules nor `left_out` leave out."""
        rules = self._rules
        if rules is None and left_out is None:
            return None
        prefix = f"{base}/" if base else ""

        def keep(path: str) -> bool:
            if left_out is not None and left_out.ignored(path):
                return False
            return rules is None or not rules.ignored(prefix + path)

        def enter(path: str) -> bool:
            if left_out is not None and left_out.ignored(path) and not left_out.may_include_below(path):
                return False
            return rules is None or not rules.hidden(prefix + path)

        return Filter(keep, enter)

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


def _without(left_out: IgnoreRules | None, found: list[Picked]) -> list[Picked]:
    """What is not a directory is left out by its name."""
    if left_out is None:
        return found
    return [each for each in found if each.is_directory or not left_out.ignored(each.name)]


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
