"""The build context: a local directory, its Dockerfile, its .dockerignore, and the digests of its files.

The directory is opened once; all that lies in it, the Dockerfile and .dockerignore too, is reached below that
descriptor and cannot be a way out of it.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable
from contextlib import suppress
from errno import ELOOP, EXDEV

from tiffin.build.copying.sources import Picked, Rules, SourceTree
from tiffin.build.copying.tree import Cursor, Node, file_digest, open_file, tree_digest
from tiffin.dockerfile.ignore import IgnoreRules
from tiffin.dockerfile.place import nearest
from tiffin.errors import InvalidArgument, LimitExceeded, NotFound
from tiffin.jsontext import dumps, loads
from tiffin.kernel.paths import RESOLVE_BENEATH, RESOLVE_NO_MAGICLINKS, open_in_root, openat2
from tiffin.oci.digest import sha256

MAX_DOCKERFILE = 4 << 20
_BENEATH = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS
_SETTLED_NS = (
    1_000_000_000  # a file changed longer ago than this cannot change again without a new change time
)
_CACHED_FILES = 1_000_000
_FEW = 50


class Context:
    """An open build context. Close it; a forked child may go on using it. One that is `detached` came from
    elsewhere: paths of Dockerfiles are in it, not in the working directory."""

    def __init__(self, directory: str, cache_directory: str = "", *, detached: bool = False) -> None:
        try:
            self.fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError as error:
            raise NotFound(f"the build context {directory!r} does not exist; name a directory") from error
        except NotADirectoryError as error:
            raise InvalidArgument(f"the build context {directory!r} is not a directory; name one") from error
        self.path = os.path.realpath(directory)
        self._given = os.path.abspath(directory)
        self._detached = detached
        self._digests = DigestCache(cache_directory, self.path)
        self._copied: dict[str, str] = {}
        self._tree: SourceTree | None = None
        self._rules: Rules | None = None
        self._as_checkout = False
        self.ignore_rules = IgnoreRules(), ""  # and the file that they are written in

    def close(self) -> None:
        os.close(self.fd)

    def use_checkout_modes(self) -> Context:
        """Let every later `tree` have the modes of a checkout; itself."""
        self._as_checkout = True
        return self

    def read_dockerfile(self, path: str = "") -> tuple[bytes, str]:
        """The text of the Dockerfile and its path for messages: `path` as `-f` has it (relative to the
        working directory, as Docker's), by default `Dockerfile` in the context. A file in the context may be
        a link, but not one that leads out. NotFound, InvalidArgument, LimitExceeded.
        """
        shown = path or "Dockerfile"
        inner = self._inner(path) if path else "Dockerfile"
        found = self._read(inner, shown) if inner else _read_outside(path)
        if found is None:
            hint = _nearest_file(self.fd, inner) if inner else _nearest_file(None, os.path.abspath(path))
            raise NotFound(
                f"failed to read the Dockerfile: {shown!r} does not exist{hint}; choose one with -f"
            )
        return found, shown

    def use_ignore_rules(self, dockerfile: str = "", *, named: bool = False) -> None:
        """Leave out of every later `tree` what `<Dockerfile>.dockerignore`, else `.dockerignore`, says; of a context
        that is `named`, and so has no Dockerfile, the latter alone counts."""
        rules = text = None
        if not named:
            beside = f"{dockerfile or 'Dockerfile'}.dockerignore"
            inner = self._inner(beside) if dockerfile else beside
            text = self._read(inner, beside) if inner else _read_outside(beside)
        if text is None:
            beside = ".dockerignore"
            text = self._read(beside, beside)
        if text is not None:
            parsed = IgnoreRules.parse(text, beside)
            self.ignore_rules = parsed, beside
            rules = Rules(parsed.ignored, parsed.may_include_below, os.path.basename(beside))
        self._rules = rules
        self._tree = SourceTree(self.fd, "the build context", rules, as_checkout=self._as_checkout)

    def leaves_out(self, path: str) -> bool:
        """Whether the ignore rules leave out `path` and all that could be below it."""
        return self._rules is not None and self._rules.hidden(path)

    @property
    def tree(self) -> SourceTree:
        if self._tree is None:
            self._tree = SourceTree(self.fd, "the build context", as_checkout=self._as_checkout)
        return self._tree

    def digest(self, picked: Picked) -> str:
        """What of `picked` counts for the cache (owners do not: a COPY from the context makes root's
        files)."""
        if len(picked.nodes) > _FEW:
            import hashlib  # noqa: F401 - which sha256 then uses: slow to load, quick to hash
        fd = open_in_root(self.fd, picked.base, os.O_RDONLY | os.O_DIRECTORY)
        prefix = f"{picked.base}/" if picked.base else ""
        cached = self._digests

        def digest_of(node: Node) -> str:
            path = prefix + node.path
            return self._copied.get(path) or cached.get(path, node) or cached.put(path, node, cursor)

        try:
            with Cursor(fd) as cursor:
                return tree_digest(picked.nodes, digest_of, owners=False)
        finally:
            os.close(fd)

    def file_digests(self, picked: Picked) -> dict[str, str]:
        """The digests of the files of `picked` by their paths there, those that were read in this build."""
        self.digest(picked)
        prefix = f"{picked.base}/" if picked.base else ""
        return {
            node.path: self._copied.get(prefix + node.path) or self._digests.seen(prefix + node.path)
            for node in picked.nodes
            if node.is_file
        }

    def learner(self, picked: Picked) -> Callable[[Node, str, os.stat_result], None]:
        """To be told of each file of `picked` that is read elsewhere: its digest then, and its status afterwards.
        `digest` will take the file as it was read."""
        prefix = f"{picked.base}/" if picked.base else ""

        def learn(node: Node, digest: str, status: os.stat_result) -> None:
            self._copied[prefix + node.path] = digest
            self._digests.note(prefix + node.path, node, digest, status)

        return learn

    def save_digests(self) -> None:
        """Keep the digests for the next build of this directory. Never fails: it is only a saving of time."""
        self._digests.save()

    def reload_digests(self) -> None:
        """Another process has saved some."""
        self._digests.reload()

    def _inner(self, path: str) -> str:
        """`path` relative to the context, "" when it does not lie in it."""
        if self._detached:
            return os.path.normpath(path).lstrip("/")
        absolute = os.path.abspath(path)
        directory, name = os.path.split(absolute)
        # As it is written first: a directory of the context that is a link to elsewhere must not make it
        # "outside".
        for top, found in (
            (self._given, absolute),
            (self.path, absolute),
            (self.path, f"{os.path.realpath(directory)}/{name}"),
        ):
            prefix = top.rstrip("/") + "/"
            if found.startswith(prefix):
                return found[len(prefix) :]
        return ""

    def _read(self, path: str, shown: str) -> bytes | None:
        try:
            fd = openat2(self.fd, path, os.O_RDONLY | os.O_NONBLOCK, 0, _BENEATH)
        except FileNotFoundError:
            return None
        except OSError as error:
            if error.errno not in (EXDEV, ELOOP):
                raise
            raise InvalidArgument(
                f"{shown!r} is a symbolic link that leaves the build context; copy the file in"
            ) from error
        return _read_file(fd, shown, regular=True)


def _nearest_file(top: int | None, path: str) -> str:
    """A hint at a file whose name is like that of `path`, which is not there."""
    directory, name = os.path.split(path)
    try:
        if top is None:
            return nearest(name, filter(str.isprintable, sorted(os.listdir(directory))))
        fd = openat2(top, directory or ".", os.O_RDONLY | os.O_DIRECTORY, 0, _BENEATH)
    except OSError:
        return ""
    try:
        return nearest(name, filter(str.isprintable, sorted(os.listdir(fd))))
    finally:
        os.close(fd)


def _read_outside(path: str) -> bytes | None:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return _read_file(fd, path, regular=False)


def _read_file(fd: int, shown: str, *, regular: bool) -> bytes:
    mode = os.fstat(fd).st_mode
    if stat.S_ISDIR(mode) or (regular and not stat.S_ISREG(mode)):
        os.close(fd)
        raise InvalidArgument(f"{shown!r} is not a file")
    with open(fd, "rb", buffering=0) as file:
        data = b""
        while len(data) <= MAX_DOCKERFILE and (more := file.read(MAX_DOCKERFILE + 1 - len(data))):
            data += more
    if len(data) > MAX_DOCKERFILE:
        raise LimitExceeded(f"{shown!r} is larger than {MAX_DOCKERFILE >> 20} MiB")
    return data


class DigestCache:
    """Digests of a directory's files, kept between builds by what stat(2) says of them.

    A file counts as unchanged while inode, change time, modification time and size are the same. One that
    changed within a second of being read is not remembered: it could change once more and look the same.
    """

    def __init__(self, directory: str, context: str) -> None:
        self._path = ""
        self._known: dict[str, list[int | str]] | None = None
        self._seen: dict[str, list[int | str]] = {}
        self._fresh: dict[str, str] = {}  # read just now, and not to be trusted later
        self._changed = False
        if directory:
            name = sha256(os.fsencode(context))[:32]
            self._path = f"{directory}/context-{name}.json"

    def get(self, path: str, node: Node) -> str:
        """The digest of an unchanged file, else ""."""
        row = self._seen.get(path)
        if row is None:
            if self._known is None:
                self._known = self._load()
            row = self._known.get(path)
        if row is None or row[:4] != _stamp(node) or not isinstance(row[4], str):
            return ""
        self._seen[path] = row
        return row[4]

    def seen(self, path: str) -> str:
        """The digest that the file had when it was last asked for, else ""."""
        row = self._seen.get(path)
        return str(row[4]) if row is not None else self._fresh.get(path, "")

    def put(self, path: str, node: Node, cursor: Cursor) -> str:
        """Digest the file now; remembered, unless it changes while or just before it is read."""
        parent, name = cursor.parent(node.path)
        fd = open_file(parent, name)
        try:
            digest = file_digest(fd, node.size)
            self.note(path, node, digest, os.fstat(fd))
            self._fresh[path] = digest
        finally:
            os.close(fd)
        return digest

    def note(self, path: str, node: Node, digest: str, status: os.stat_result) -> None:
        """Remember a digest, unless the file changed while or just before it was read; `status` is from after
        that."""
        if node.identity[2] + _SETTLED_NS < time.time_ns() and node.same(status):
            self._seen[path] = [*_stamp(node), digest]
            self._changed = True

    def reload(self) -> None:
        self._known = None

    def save(self) -> None:
        if not self._changed or not self._path or len(self._seen) > _CACHED_FILES:
            return
        aside = f"{self._path}.{os.getpid()}"
        with suppress(OSError):
            descriptor = os.open(
                aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600
            )
            with open(descriptor, "w", encoding="ascii") as file:
                file.write(dumps(self._merged(), separators=(",", ":")))
            os.rename(aside, self._path)
        self._changed = False

    def _merged(self) -> dict[str, list[int | str]]:
        """What was seen now, and what was known before unless most of that is of files long gone."""
        known = self._load() if self._known is None else self._known
        return {**known, **self._seen} if len(known) < 2 * len(self._seen) + 1000 else self._seen

    def _load(self) -> dict[str, list[int | str]]:
        if not self._path:
            return {}
        try:
            with open(self._path, "rb") as file:  # bytes: a text file's codec would be one more import
                found = loads(file.read())
        except (OSError, ValueError):
            return {}
        if not isinstance(found, dict):
            return {}
        sizes = {len(row) if isinstance(row, list) else 0 for row in found.values()}
        return found if sizes <= {5} else {}


def _stamp(node: Node) -> list[int | str]:
    _, inode, changed = node.identity
    return [inode, changed, node.mtime_ns, node.size]
