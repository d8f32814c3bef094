"""Volumes: directories that outlive containers, `volumes/<name>/_data` of the engine's root.

    volumes = Volumes(store)
    wanted = volumes.prepare(container_id, requests)   # at create: sources are host paths from here on
    for request in wanted:                             # at each start, the container's root mounted
        if request.copy:
            volumes.copy_up(request.volume, root_fd, request.target)
    volumes.release(container_id, anonymous=True)      # at rm -v

A volume's row comes before its directory, and a container's use of it before the container: the rows say what
may be removed. Which container uses what is a query, never a count.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import time
from contextlib import contextmanager

from tiffin.errors import Conflict, EngineError, InvalidArgument, NoSpace, NotFound, Unsupported
from tiffin.kernel import paths
from tiffin.state.events import emit
from tiffin.typed import TYPE_CHECKING, NamedTuple
from tiffin.volumes import mounting
from tiffin.volumes.copy import Copy, copy_metadata
from tiffin.volumes.local import check_options
from tiffin.volumes.names import check_name
from tiffin.volumes.options import check_targets

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator, Mapping

    from tiffin.state import Store
    from tiffin.volumes.options import MountRequest

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_SELINUX = "/sys/fs/selinux/enforce"
_COPYING = ".tiffin-copy"


class Volume(NamedTuple):
    """A volume; `mountpoint` is its directory on the host, `created` in ns since the epoch."""

    name: str
    anonymous: bool
    labels: dict[str, str]
    created: int
    mountpoint: str
    options: dict[str, str] = {}


class PreparedMount(NamedTuple):
    """A mount with its source found: for "bind" and "volume" a host path. `volume` names the volume, "" for
    none; `copy` asks for `Volumes.copy_up` before each start."""

    type: str
    source: str
    target: str
    options: tuple[str, ...]
    volume: str = ""
    anonymous: bool = False
    copy: bool = False
    subpath: str = ""
    idmap: str = ""


class Volumes:
    """The volumes of one engine."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def create(
        self,
        name: str | None = None,
        labels: Mapping[str, str] | None = None,
        options: Mapping[str, str] | None = None,
    ) -> Volume:
        """Make a volume, anonymous without a name; one that is there already is returned as it is, unless other
        `options` (of the local driver, see `local`) are wanted. Raises InvalidArgument, Conflict."""
        chosen = check_name(name) if name else os.urandom(32).hex()
        if options:
            check_options(chosen, options)
        with self._store.transaction() as db:
            self._insert(db, chosen, anonymous=not name, labels=labels or {}, options=options or {})
        self._make_directory(chosen)
        return self.inspect(chosen)

    def relabel(self, name: str, add: Mapping[str, str], remove: Iterable[str]) -> None:
        """Change a volume's labels. Raises NotFound."""
        with self._store.transaction() as db:
            labels = self.inspect(name).labels
            for key in remove:
                labels.pop(key, None)
            db.execute("UPDATE volumes SET labels = ? WHERE name = ?", (json.dumps({**labels, **add}), name))
            emit(db, "volume", "update", name, {"driver": "local"})

    def known(self) -> list[Volume]:
        """Every volume, by name."""
        return [self._volume(row) for row in self._store.db.execute(f"{_SELECT} ORDER BY name")]

    def inspect(self, name: str) -> Volume:
        """Raises NotFound "get NAME: no such volume"."""
        row = self._store.db.execute(f"{_SELECT} WHERE name = ?", (name,)).fetchone()
        if row is None:
            raise NotFound(f"get {name}: no such volume")
        return self._volume(row)

    def users(self, name: str) -> list[str]:
        """The IDs of the containers that have the volume, running or not."""
        rows = self._store.db.execute("SELECT DISTINCT container FROM volume_uses WHERE volume = ?", (name,))
        return sorted(row[0] for row in rows)

    def remove(self, name: str, *, force: bool = False) -> None:
        """Remove a volume and all in it. With `force`, one that does not exist is no error. Raises Conflict
        "remove NAME: volume is in use - [IDS]", NotFound."""
        try:
            self.inspect(name)
        except NotFound:
            if force:
                return
            raise
        doomed = f"volume-{os.urandom(8).hex()}"
        lock = -1
        try:
            with self._store.transaction() as db:
                users = self.users(name)
                if users:
                    raise Conflict(f"remove {name}: volume is in use - [{', '.join(users)}]")
                mounting.detach(self._store, name)
                lock = self._set_aside(name, doomed)
                db.execute("DELETE FROM volume_mounts WHERE volume = ?", (name,))
                db.execute("DELETE FROM volumes WHERE name = ?", (name,))
                emit(db, "volume", "destroy", name, {"driver": "local"})
            paths.remove_tree(paths.AT_FDCWD, f"{self._store.layout.staging}/{doomed}")
        except OSError as error:
            raise EngineError(f"cannot remove volume {name}: {error}") from error
        finally:
            if lock >= 0:
                os.close(lock)

    @contextmanager
    def opened(self, name: str) -> Iterator[int]:
        """A descriptor of the volume's directory, on its own filesystem if it has one. Raises NotFound."""
        options = self.inspect(name).options
        if options:
            fd = mounting.open_own(self._store, name, options)
        else:
            fd = os.open(self._store.layout.volume(name), _DIRECTORY)
        try:
            yield fd
        finally:
            os.close(fd)

    def prepare(self, container_id: str, requests: Iterable[MountRequest]) -> list[PreparedMount]:
        """Find or make the sources of a new container's mounts, and note which volumes it uses. Leaves nothing
        new when it fails, but a host directory that -v made. Raises InvalidArgument, Conflict, Unsupported."""
        wanted = list(requests)
        check_targets(wanted)
        for request in wanted:
            _check_relabel(request)
            if request.volume_options:
                check_options(request.source or "volume", dict(request.volume_options))
            if request.type == "bind":
                _check_source(request)
        prepared: list[PreparedMount] = []
        with self._store.transaction() as db:
            for request in wanted:
                name = ""
                source = request.source
                if request.type == "volume":
                    name = request.source or os.urandom(32).hex()
                    source = self._store.layout.volume(name)
                    options = dict(request.volume_options)
                    self._insert(
                        db, name, anonymous=not request.source, labels=dict(request.labels), options=options
                    )
                    db.execute(
                        "INSERT INTO volume_uses (container, volume, destination) VALUES (?, ?, ?)",
                        (container_id, name, request.target),
                    )
                anonymous = bool(name) and not request.source
                prepared.append(
                    PreparedMount(
                        request.type,
                        source,
                        request.target,
                        request.options,
                        name,
                        anonymous,
                        request.copy,
                        request.subpath,
                        request.idmap,
                    )
                )
        try:
            for mount in prepared:
                if mount.volume:
                    self._make_directory(mount.volume)
        except BaseException:
            self.release(container_id, anonymous=True)
            raise
        return prepared

    def release(self, container_id: str, *, anonymous: bool) -> list[str]:
        """Forget a container's uses; with `anonymous`, also remove its anonymous volumes that nobody else uses.
        Returns the names removed. Idempotent."""
        rows = self._store.db.execute(
            "SELECT DISTINCT name FROM volume_uses JOIN volumes ON name = volume "
            "WHERE container = ? AND anonymous ORDER BY name",
            (container_id,),
        ).fetchall()
        mounting.unmount_all(self._store, container_id)
        with self._store.transaction() as db:
            db.execute("DELETE FROM volume_uses WHERE container = ?", (container_id,))
        removed: list[str] = []
        for (name,) in rows if anonymous else ():
            try:
                self.remove(name)
            except (NotFound, Conflict):
                continue  # somebody else removed it, or uses it now
            removed.append(name)
        return removed

    def copy_up(self, name: str, root_fd: int, path: str) -> bool:
        """Fill an empty volume with what the container's root has at `path`: entries, and the directory's own
        owner, mode and attributes. Whether it did: not when the volume has anything, nor when the root has no
        directory there. Links of the image resolve inside its root. The copy is made aside and moved in when
        complete; one at a time. Raises NoSpace, LimitExceeded, EngineError."""
        directory = f"{self._store.layout.root}/volumes/{name}"
        try:
            with mounting.locked(self._store, name):
                above = os.open(directory, _DIRECTORY)
                try:
                    data = os.open("_data", _DIRECTORY, dir_fd=above)
                    try:
                        own = mounting.is_mounted(self._store, name)
                        # The copy is made beside the data, on the same filesystem: rename finishes it.
                        return _is_empty(data) and _fill(data if own else above, data, root_fd, path)
                    finally:
                        os.close(data)
                finally:
                    os.close(above)
        except OSError as error:
            if error.errno == errno.EROFS:
                return False  # a filesystem of its own that nobody may write to
            if error.errno in _FULL:
                raise NoSpace(
                    f"no space left to fill volume {name} from {path}; free some and try again"
                ) from error
            raise EngineError(f"cannot fill volume {name} from {path}: {error}") from error

    def _insert(
        self,
        db: sqlite3.Connection,
        name: str,
        *,
        anonymous: bool,
        labels: Mapping[str, str],
        options: Mapping[str, str],
    ) -> None:
        """Make the row, unless it is there. Raises Conflict when that one has other options than are wanted."""
        made = db.execute(
            "INSERT OR IGNORE INTO volumes (name, anonymous, labels, created, options) VALUES (?, ?, ?, ?, ?)",
            (name, int(anonymous), json.dumps(dict(labels)), time.time_ns(), json.dumps(dict(options))),
        )
        if made.rowcount:
            emit(db, "volume", "create", name, {"driver": "local"})
        elif options and self.inspect(name).options != dict(options):
            raise Conflict(
                f"create {name}: a volume of that name has other options; remove it first, or give none"
            )

    def _make_directory(self, name: str) -> None:
        try:
            os.makedirs(f"{self._store.layout.root}/volumes/{name}", 0o700, exist_ok=True)
            try:
                os.mkdir(self._store.layout.volume(name), 0o755)
            except FileExistsError:
                return
            os.chmod(self._store.layout.volume(name), 0o755)  # noqa: S103 - its parents are 0700
        except OSError as error:
            if error.errno in _FULL:
                raise NoSpace(f"no space left to make volume {name}; free some and try again") from error
            raise EngineError(f"cannot make volume {name}: {error}") from error

    def _set_aside(self, name: str, doomed: str) -> int:
        """Move the volume's directory to the staging place; a descriptor that holds its lock, -1 without one."""
        layout = self._store.layout
        try:
            fd = os.open(f"{layout.root}/volumes/{name}", _DIRECTORY)
        except FileNotFoundError:
            return -1
        fcntl.flock(fd, fcntl.LOCK_EX)
        os.rename(f"{layout.root}/volumes/{name}", f"{layout.staging}/{doomed}")
        return fd

    def _volume(self, row: tuple[str, int, str, int, str]) -> Volume:
        name, anonymous, labels, created, options = row
        place = self._store.layout.volume(name)
        return Volume(name, bool(anonymous), json.loads(labels), created, place, json.loads(options))


_SELECT = "SELECT name, anonymous, labels, created, options FROM volumes"
_FULL = (errno.ENOSPC, errno.EDQUOT)


def _check_relabel(request: MountRequest) -> None:
    if request.relabel and os.path.exists(_SELINUX):
        raise Unsupported(
            f"option {request.relabel} of the mount at {request.target}: tiffin does not set SELinux labels; "
            "relabel the source with chcon and leave the option out"
        )


def _check_source(request: MountRequest) -> None:
    """The source of a bind exists, or is made as -v promises."""
    if os.path.exists(request.source):
        return
    if not request.make_source or os.path.islink(request.source):
        raise InvalidArgument(
            f'invalid mount config for type "bind": bind source path does not exist: {request.source}'
        )
    try:
        os.makedirs(request.source, 0o755, exist_ok=True)
    except OSError as error:
        raise InvalidArgument(f"cannot make bind source {request.source}: {error.strerror}") from error


def _is_empty(fd: int) -> bool:
    """But for what an interrupted copy left, and what a new ext4 filesystem has."""
    with os.scandir(fd) as entries:
        return all(entry.name in (_COPYING, "lost+found") for entry in entries)


def _fill(above: int, data: int, root_fd: int, path: str) -> bool:
    """Copy the root's directory beside `data`, then move its entries in."""
    try:
        source = paths.open_in_root(root_fd, path, os.O_RDONLY | os.O_DIRECTORY)
    except (FileNotFoundError, NotADirectoryError):
        return False
    try:
        paths.remove_tree(above, _COPYING)  # of an attempt that was interrupted
        os.mkdir(_COPYING, 0o700, dir_fd=above)
        aside = os.open(_COPYING, _DIRECTORY, dir_fd=above)
        try:
            Copy(aside).tree(source)
            paths.syncfs(aside)
            with os.scandir(aside) as entries:
                names = [entry.name for entry in entries]
            for name in names:
                paths.rename_noreplace(aside, name, data, name)
            copy_metadata(source, data)
        finally:
            os.close(aside)
            paths.remove_tree(above, _COPYING)
    finally:
        os.close(source)
    return True
