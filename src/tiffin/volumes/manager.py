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
from contextlib import ExitStack, contextmanager

from tiffin.errors import Conflict, EngineError, InvalidArgument, NoSpace, NotFound, PluginFailed, Unsupported
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
    from tiffin.volumes.plugin_client import VolumePlugin

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_SELINUX = "/sys/fs/selinux/enforce"
_COPYING = ".tiffin-copy"
_LOCAL = "local"  # the driver that is no plugin


class Volume(NamedTuple):
    """A volume; `mountpoint` is its directory on the host, "" where only its plugin knows; `created` in ns since the
    epoch."""

    name: str
    anonymous: bool
    labels: dict[str, str]
    created: int
    mountpoint: str
    options: dict[str, str] = {}
    driver: str = _LOCAL


class PreparedMount(NamedTuple):
    """A mount with its source found: for "bind" and "volume" a host path, "" where a plugin says it at each start.
    `volume` names the volume, "" for none; `copy` asks for `Volumes.copy_up` before each start."""

    type: str
    source: str
    target: str
    options: tuple[str, ...]
    volume: str = ""
    anonymous: bool = False
    copy: bool = False
    subpath: str = ""
    idmap: str = ""
    driver: str = _LOCAL


class _Wanted(NamedTuple):
    """A volume that is to be there."""

    name: str
    anonymous: bool
    labels: Mapping[str, str]
    options: Mapping[str, str]
    driver: str


class Volumes:
    """The volumes of one engine."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def create(
        self,
        name: str | None = None,
        labels: Mapping[str, str] | None = None,
        options: Mapping[str, str] | None = None,
        driver: str = _LOCAL,
    ) -> Volume:
        """Make a volume, anonymous without a name; one that is there already is returned as it is, unless another
        driver or other `options` (the local driver's, see `local`, or the plugin's) are wanted. Raises InvalidArgument,
        Conflict, NotFound (driver), PluginFailed."""
        chosen = check_name(name) if name else os.urandom(32).hex()
        wanted = _Wanted(chosen, not name, labels or {}, options or {}, driver or _LOCAL)
        if wanted.driver == _LOCAL and options:
            check_options(chosen, options)
        with self._plugins((wanted.driver,)) as plugins:
            with self._store.transaction() as db:
                new = self._insert(db, wanted)
            try:
                self._make(wanted, plugins)
            except BaseException:
                self._undo((wanted,) if new else ())
                raise
        return self.inspect(chosen)

    def relabel(self, name: str, add: Mapping[str, str], remove: Iterable[str]) -> None:
        """Change a volume's labels. Raises NotFound."""
        with self._store.transaction() as db:
            labels = self.inspect(name).labels
            for key in remove:
                labels.pop(key, None)
            db.execute("UPDATE volumes SET labels = ? WHERE name = ?", (json.dumps({**labels, **add}), name))
            emit(db, "volume", "update", name, {"driver": self.inspect(name).driver})

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
        """The IDs of the containers that have the volume, running or not, and of others who have it open."""
        query = """SELECT container FROM volume_uses WHERE volume = ?1
            UNION SELECT container FROM volume_mounts WHERE volume = ?1"""
        return sorted(row[0] for row in self._store.db.execute(query, (name,)))

    def remove(self, name: str, *, force: bool = False) -> None:
        """Remove a volume and all in it. With `force`, one that does not exist is no error, nor is a plugin that does
        not remove it. Raises Conflict "remove NAME: volume is in use - [IDS]", NotFound, PluginFailed."""
        try:
            driver = self.inspect(name).driver
        except NotFound:
            if force:
                return
            raise
        if driver == _LOCAL:
            self._drop(name, driver)
            return
        from tiffin.volumes import drivers

        with ExitStack() as undo:
            self._check_unused(name)
            try:
                plugin = undo.enter_context(drivers.changing(self._store, driver))
                self._check_unused(name)
                drivers.discard(plugin, name)
            except (NotFound, PluginFailed):
                if not force:
                    raise
            self._drop(name, driver)

    def _check_unused(self, name: str) -> None:
        users = self.users(name)
        if users:
            raise Conflict(f"remove {name}: volume is in use - [{', '.join(users)}]")

    def _drop(self, name: str, driver: str) -> None:
        """Take the volume out of the store, and away what is below its directory here."""
        doomed = f"volume-{os.urandom(8).hex()}"
        lock = -1
        try:
            with self._store.transaction() as db:
                self._check_unused(name)
                mounting.detach(self._store, name)
                lock = self._set_aside(name, doomed)
                db.execute("DELETE FROM volume_mounts WHERE volume = ?", (name,))
                db.execute("DELETE FROM volumes WHERE name = ?", (name,))
                emit(db, "volume", "destroy", name, {"driver": driver})
            paths.remove_tree(paths.AT_FDCWD, f"{self._store.layout.staging}/{doomed}")
        except OSError as error:
            raise EngineError(f"cannot remove volume {name}: {error}") from error
        finally:
            if lock >= 0:
                os.close(lock)

    @contextmanager
    def opened(self, name: str) -> Iterator[int]:
        """A descriptor of the volume's directory, on its own filesystem if it has one. Not of a plugin's volume: that
        is mounted for somebody, see `mounting.mounted_for`. Raises NotFound."""
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
            if request.type == "bind":
                _check_source(request)
        asked = [self._wanted(request) if request.type == "volume" else None for request in wanted]
        volumes = [one for one in asked if one is not None]
        new: list[_Wanted] = []
        try:
            with self._plugins(one.driver for one in volumes) as plugins:
                with self._store.transaction() as db:
                    new += [one for one in volumes if self._insert(db, one)]
                    db.executemany(
                        "INSERT INTO volume_uses (container, volume, destination) VALUES (?, ?, ?)",
                        [
                            (container_id, one.name, request.target)
                            for one, request in zip(asked, wanted, strict=True)
                            if one is not None
                        ],
                    )
                for one in volumes:
                    self._make(one, plugins)
        except BaseException:
            self.release(container_id, anonymous=True)
            self._undo(new)
            raise
        return [self._prepared(request, one) for request, one in zip(wanted, asked, strict=True)]

    def _wanted(self, request: MountRequest) -> _Wanted:
        name, options = request.source or os.urandom(32).hex(), dict(request.volume_options)
        driver = self._driver(request)
        if options and driver == _LOCAL:
            check_options(request.source or "volume", options)
        return _Wanted(name, not request.source, dict(request.labels), options, driver)

    def _driver(self, request: MountRequest) -> str:
        """Of the volume if it is known, else the one that is asked for, else a plugin that has it already."""
        query = "SELECT driver FROM volumes WHERE name = ?"
        known = self._store.db.execute(query, (request.source,)).fetchone()
        if request.driver or known:
            return request.driver or str(known[0])
        if request.source:
            from tiffin.volumes.plugins import all_plugins

            if all_plugins():
                from tiffin.volumes.drivers import owner_of

                return owner_of(request.source) or _LOCAL
        return _LOCAL

    def _prepared(self, request: MountRequest, volume: _Wanted | None) -> PreparedMount:
        if volume is None:
            name, source, driver = "", request.source, _LOCAL
        else:
            name, driver = volume.name, volume.driver
            source = self._store.layout.volume(name) if driver == _LOCAL else ""
        return PreparedMount(
            request.type, source, request.target, request.options, name, volume is not None and volume.anonymous,
            request.copy, request.subpath, request.idmap, driver,
        )  # fmt: skip

    @contextmanager
    def _plugins(self, drivers: Iterable[str]) -> Iterator[dict[str, VolumePlugin]]:
        """The plugins among the drivers, each kept from others who make or remove volumes of it."""
        elsewhere = sorted(set(drivers) - {_LOCAL})
        if not elsewhere:
            yield {}
            return
        from tiffin.volumes.drivers import changing

        with ExitStack() as undo:
            yield {driver: undo.enter_context(changing(self._store, driver)) for driver in elsewhere}

    def _make(self, wanted: _Wanted, plugins: Mapping[str, VolumePlugin]) -> None:
        """What the row stands for."""
        self._make_directory(wanted.name)
        if wanted.driver != _LOCAL:
            from tiffin.volumes import drivers

            drivers.make(plugins[wanted.driver], wanted.name, wanted.options)

    def _undo(self, new: Iterable[_Wanted]) -> None:
        """Rows that were made for volumes which their plugins did not make."""
        for wanted in new:
            if wanted.driver != _LOCAL:
                try:
                    self._drop(wanted.name, wanted.driver)
                except Conflict:
                    pass  # somebody else asked for it too, and it is theirs to find out

    def release(self, container_id: str, *, anonymous: bool) -> list[str]:
        """Forget a container's uses; with `anonymous`, also remove its anonymous volumes that nobody else uses.
        Returns the names removed. Idempotent."""
        rows = self._store.db.execute(
            "SELECT DISTINCT name FROM volume_uses JOIN volumes ON name = volume "
            "WHERE container = ? AND anonymous ORDER BY name",
            (container_id,),
        ).fetchall()
        mounting.unmount_all(self._store, container_id, last=True)
        with self._store.transaction() as db:
            db.execute("DELETE FROM volume_uses WHERE container = ?", (container_id,))
        removed: list[str] = []
        for (name,) in rows if anonymous else ():
            try:
                self.remove(name)
            except (NotFound, Conflict, PluginFailed):
                continue  # somebody else removed it, or uses it now, or its plugin keeps it
            removed.append(name)
        return removed

    def copy_up(self, name: str, root_fd: int, path: str, place: int = -1) -> bool:
        """Fill an empty volume with what the container's root has at `path`: entries, and the directory's own
        owner, mode and attributes. Whether it did: not when the volume has anything, nor when the root has no
        directory there. Links of the image resolve inside its root. The copy is made aside and moved in when
        complete; one at a time. `place` is the directory of a plugin's volume. Raises NoSpace, LimitExceeded,
        EngineError."""
        directory = f"{self._store.layout.root}/volumes/{name}"
        try:
            with mounting.locked(self._store, name), ExitStack() as undo:
                above = os.open(directory, _DIRECTORY)
                undo.callback(os.close, above)
                data = os.open("_data" if place < 0 else f"/proc/self/fd/{place}/.", _DIRECTORY, dir_fd=above)
                undo.callback(os.close, data)
                own = place >= 0 or mounting.is_mounted(self._store, name)
                # The copy is made beside the data, on the same filesystem: rename finishes it.
                return _is_empty(data) and _fill(data if own else above, data, root_fd, path)
        except OSError as error:
            if error.errno == errno.EROFS:
                return False  # a filesystem of its own that nobody may write to
            if error.errno in _FULL:
                raise NoSpace(
                    f"no space left to fill volume {name} from {path}; free some and try again"
                ) from error
            raise EngineError(f"cannot fill volume {name} from {path}: {error}") from error

    def _insert(self, db: sqlite3.Connection, wanted: _Wanted) -> bool:
        """Make the row, unless it is there; whether it was made. Raises Conflict when that one has another driver or
        other options than are wanted."""
        name, options = wanted.name, dict(wanted.options)
        made = db.execute(
            "INSERT OR IGNORE INTO volumes (name, anonymous, labels, created, options, driver)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            (
                *(name, int(wanted.anonymous), json.dumps(dict(wanted.labels)), time.time_ns()),
                *(json.dumps(options), wanted.driver),
            ),
        )
        if made.rowcount:
            emit(db, "volume", "create", name, {"driver": wanted.driver})
            return True
        there = self.inspect(name)
        if there.driver != wanted.driver:
            raise Conflict(
                f"create {name}: a volume of that name has the driver {there.driver}; remove it first, or name that one"
            )
        if options and there.options != options:
            raise Conflict(
                f"create {name}: a volume of that name has other options; remove it first, or give none"
            )
        return False

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

    def _volume(self, row: tuple[str, int, str, int, str, str]) -> Volume:
        name, anonymous, labels, created, options, driver = row
        place = self._store.layout.volume(name) if driver == _LOCAL else ""
        return Volume(name, bool(anonymous), json.loads(labels), created, place, json.loads(options), driver)


_SELECT = "SELECT name, anonymous, labels, created, options, driver FROM volumes"
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
