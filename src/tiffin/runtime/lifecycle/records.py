"""A container's directory below the runtime's root: its record, the configuration it was created with, its lock.

ROOT/             0700
  ID/             locked (flock) by whoever changes the container
    state.json    the record
    config.json   as it was at create: later changes of the bundle's have no effect
    start, status until it is started (see extras/rendezvous.py)
  .cache/         compiled seccomp filters
"""

from __future__ import annotations

import fcntl
import json
import os
import re

from tiffin.errors import Conflict, Corrupt, InvalidArgument, NotFound
from tiffin.kernel.paths import AT_FDCWD, remove_tree
from tiffin.runtime.extras import rendezvous
from tiffin.typed import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from types import TracebackType

DEFAULT_ROOT = "/run/tiffin-runtime"
_ID = re.compile(r"[A-Za-z0-9_+.-]{1,250}")
_LIMIT = 32 << 20


class Record(NamedTuple):
    """What is known of a container. `pid` 0: it is being created. `created`: RFC 3339, UTC."""

    id: str
    bundle: str
    rootfs: str
    cgroup: str
    created: str
    boot: str
    pid: int = 0
    pid_start: int = 0
    annotations: dict[str, str] = {}


class Records:
    """All containers below one root."""

    def __init__(self, root: str) -> None:
        self.root = os.path.abspath(root)

    def directory(self, container_id: str) -> str:
        """Its path, whether or not it is there. Raises InvalidArgument for an id that is none."""
        if not _ID.fullmatch(container_id) or container_id in (".", "..", ".cache"):
            raise InvalidArgument(f"invalid id format: {container_id}")
        return f"{self.root}/{container_id}"

    def make(self, container_id: str) -> Held:
        """A new directory, held. Raises Conflict when there is one."""
        path = self.directory(container_id)
        os.makedirs(self.root, mode=0o700, exist_ok=True)
        try:
            os.mkdir(path, 0o700)
        except FileExistsError as error:
            raise Conflict("container with given ID already exists") from error
        return Held(path)

    def hold(self, container_id: str) -> Held:
        """The container, locked against whoever else would change it. Raises NotFound."""
        return Held(self.directory(container_id))

    def ids(self) -> list[str]:
        try:
            return sorted(name for name in os.listdir(self.root) if _ID.fullmatch(name) and name != ".cache")
        except FileNotFoundError:
            return []

    def read(self, container_id: str) -> Record:
        """Raises NotFound."""
        return read_record(self.directory(container_id))

    def cache(self) -> str:
        path = f"{self.root}/.cache"
        os.makedirs(path, mode=0o700, exist_ok=True)
        return path


class Held:
    """A locked container directory, for a `with`."""

    def __init__(self, path: str) -> None:
        self.path = path
        try:
            self._fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise NotFound("container does not exist") from error
        fcntl.flock(self._fd, fcntl.LOCK_EX)
        if os.fstat(self._fd).st_nlink == 0:
            os.close(self._fd)
            raise NotFound("container does not exist")

    def __enter__(self) -> Held:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._fd)

    def record(self) -> Record:
        return read_record(self.path)

    def config(self) -> dict[str, Any]:
        return _read_json(f"{self.path}/config.json")

    def write(self, record: Record) -> None:
        _write(self.path, "state.json", json.dumps(record._asdict()))

    def write_config(self, document: dict[str, Any]) -> None:
        _write(self.path, "config.json", json.dumps(document))

    def remove(self) -> None:
        """The directory and all in it. Idempotent."""
        remove_tree(AT_FDCWD, self.path)


def read_record(path: str) -> Record:
    document = _read_json(f"{path}/state.json")
    return Record(**{key: value for key, value in document.items() if key in Record._fields})


def is_started(path: str) -> bool:
    return not rendezvous.waits(path)


def _read_json(path: str) -> dict[str, Any]:
    try:
        with open(path, "rb") as file:
            document = json.loads(file.read(_LIMIT))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise NotFound("container does not exist") from error
    except ValueError as error:
        raise Corrupt(f"{path} is damaged; remove its directory") from error
    if not isinstance(document, dict):
        raise Corrupt(f"{path} is damaged; remove its directory")
    return document


def _write(directory: str, name: str, text: str) -> None:
    aside = f"{directory}/.{name}"
    fd = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        view = memoryview(text.encode())
        while view:
            view = view[os.write(fd, view) :]
    finally:
        os.close(fd)
    os.rename(aside, f"{directory}/{name}")
