"""`context ls`: what of a directory a build can see, and by which line of its ignore file."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator

from tiffin.build.contexts.context import Context
from tiffin.build.copying.tree import MAX_DEPTH
from tiffin.dockerfile.ignore import IgnoreRules
from tiffin.errors import LimitExceeded
from tiffin.typed import NamedTuple

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_KINDS = {stat.S_IFREG: "file", stat.S_IFDIR: "directory", stat.S_IFLNK: "link"}


class Listed(NamedTuple):
    """Something in the context. `path` is relative to it; `kind` "file", "directory", "link" or "special"; `size` of a
    file in bytes. `rule` is the line that decided, "FILE:LINE: PATTERN", "" when none speaks of it. A directory that is
    left out stands for all below it, unless `below` says that something there is seen nevertheless."""

    path: str
    kind: str
    size: int
    seen: bool
    rule: str
    below: bool = False


def list_context(directory: str, dockerfile: str = "") -> Iterator[Listed]:
    """Everything in the directory, each directory before what is in it, in the order of names. `dockerfile` as `build
    -f` has it: one may have an ignore file of its own. Raises NotFound, InvalidArgument, DockerfileError."""
    context = Context(directory)
    try:
        context.use_ignore_rules(dockerfile)
        yield from _Lister(*context.ignore_rules).directory(context.fd, "", 0)
    finally:
        context.close()


class _Lister:
    def __init__(self, rules: IgnoreRules, name: str) -> None:
        self._rules = rules
        self._name = name

    def directory(self, fd: int, prefix: str, depth: int) -> Iterator[Listed]:
        if depth > MAX_DEPTH:
            raise LimitExceeded(f"{prefix[:80]}... is more than {MAX_DEPTH} directories deep")
        with os.scandir(fd) as entries:
            names = sorted((entry.name for entry in entries), key=os.fsencode)
        for name in names:
            path = prefix + name
            try:
                status = os.stat(name, dir_fd=fd, follow_symlinks=False)
            except FileNotFoundError:  # it went meanwhile
                continue
            found = self._judged(path, status)
            yield found
            if found.kind == "directory" and (found.seen or found.below):
                below = os.open(name, _DIRECTORY, dir_fd=fd)
                try:
                    yield from self.directory(below, f"{path}/", depth + 1)
                finally:
                    os.close(below)

    def _judged(self, path: str, status: os.stat_result) -> Listed:
        kind = _KINDS.get(stat.S_IFMT(status.st_mode), "special")
        seen = not self._rules.ignored(path)
        rule = self._rules.deciding_rule(path)
        text = f"{self._name}:{rule.line}: {'!' if rule.exception else ''}{rule.pattern}" if rule else ""
        size = status.st_size if kind == "file" else 0
        return Listed(path, kind, size, seen, text, not seen and self._rules.may_include_below(path))
