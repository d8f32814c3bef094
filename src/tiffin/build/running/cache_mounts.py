"""Cache mounts: directories that RUN steps share from build to build, never part of any layer.

    <root>/cache-mounts/<name>/        locked while it is in use
                              data/    what the container sees

One has a row of `cache_mounts` before it has a directory, and for as long. Its name goes by its id, by what it began
with, and by a number: `private` users take the first number that nobody uses. `shared` users hold the lock together,
`locked` and `private` ones alone.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Callable

from tiffin.errors import Conflict
from tiffin.kernel.paths import AT_FDCWD, remove_tree, rename_noreplace
from tiffin.oci.digest import sha256
from tiffin.state import Store
from tiffin.typed import NamedTuple

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_COPIES_MAX = 1000


class Kept(NamedTuple):
    """A cache mount at rest. Times in nanoseconds since the epoch; `in_use`: somebody holds its lock."""

    name: str
    id: str
    added: int
    used: int
    in_use: bool


class CacheMount(NamedTuple):
    """One in use: `lock` holds it, `data` is what to mount. Close both."""

    lock: int
    data: int

    def close(self) -> None:
        os.close(self.data)
        os.close(self.lock)


class Wish(NamedTuple):
    """Which cache mount a RUN wants. `origin` is what it begins with, as a key; `begin` makes that, given the path of
    a directory that is not there yet. `waiting` is called before a wait for a build that has it locked."""

    id: str
    origin: str
    sharing: str
    begin: Callable[[str], None]
    waiting: Callable[[], None]


def acquire(store: Store, wish: Wish, workspace: str) -> CacheMount:
    """The cache mount, made when it is new. `workspace` is a directory of the caller's in staging."""
    for number in range(_COPIES_MAX):
        name = sha256(json.dumps([wish.id, wish.origin, number]).encode())[:32]
        lock = _locked(store, name, wish)
        if lock < 0:
            continue
        try:
            return CacheMount(lock, _data(lock, f"{workspace}/cache-{name}", wish.begin))
        except BaseException:
            os.close(lock)
            raise
    raise Conflict(
        f"the cache mount {wish.id!r} has {_COPIES_MAX} private copies in use; wait for a build to end"
    )


def _locked(store: Store, name: str, wish: Wish) -> int:
    """The descriptor of the cache's directory, locked; -1 when it is private and somebody else's now."""
    top = directory(store)
    os.makedirs(top, 0o700, exist_ok=True)
    operation = fcntl.LOCK_SH if wish.sharing == "shared" else fcntl.LOCK_EX
    while True:
        fd = _opened(store, f"{top}/{name}", wish.id)
        try:
            fcntl.flock(fd, operation | fcntl.LOCK_NB)
        except BlockingIOError:
            if wish.sharing == "private":
                os.close(fd)
                return -1
            wish.waiting()
            fcntl.flock(fd, operation)
        if _is_at(fd, f"{top}/{name}"):
            return fd
        os.close(fd)  # removed while we waited


def _opened(store: Store, path: str, id: str) -> int:  # noqa: A002 - as above
    now = time.time_ns()
    with store.transaction() as db:  # nobody removes one meanwhile
        db.execute(
            "INSERT INTO cache_mounts VALUES (?, ?, ?, ?) ON CONFLICT (name) DO UPDATE SET used = excluded.used",
            (os.path.basename(path), id, now, now),
        )
        try:
            os.mkdir(path, 0o700)
        except FileExistsError:
            pass
        return os.open(path, _DIRECTORY)


def _is_at(fd: int, path: str) -> bool:
    try:
        there = os.stat(path, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return os.path.samestat(there, os.fstat(fd))


def _data(lock: int, aside: str, begin: Callable[[str], None]) -> int:
    try:
        return os.open("data", _DIRECTORY, dir_fd=lock)
    except FileNotFoundError:
        pass
    begin(aside)
    try:
        rename_noreplace(AT_FDCWD, aside, lock, "data")
    except FileExistsError:  # another shared user was quicker
        remove_tree(AT_FDCWD, aside)
    return os.open("data", _DIRECTORY, dir_fd=lock)


def directory(store: Store) -> str:
    """Where the cache mounts of an engine are; there is none before the first one."""
    return f"{store.layout.root}/cache-mounts"


def kept(store: Store) -> list[Kept]:
    """All cache mounts, the one not used for longest first."""
    rows = store.db.execute("SELECT name, id, added, used FROM cache_mounts ORDER BY used, name").fetchall()
    found = []
    for name, id_, added, used in rows:
        lock = _try_lock(store, name)
        found.append(Kept(name, id_, added, used, in_use=lock == -1))
        if lock >= 0:
            os.close(lock)
    return found


def remove(store: Store, name: str) -> bool:
    """Remove one with all that is in it; False when it is in use."""
    lock = _try_lock(store, name)
    if lock == -1:
        return False
    aside = (
        f"{store.layout.staging}/cache-mount-{os.urandom(8).hex()}"  # ours by the lock, which moves with it
    )
    try:
        with store.transaction() as db:
            db.execute("DELETE FROM cache_mounts WHERE name = ?", (name,))
            if lock >= 0:
                os.rename(f"{directory(store)}/{name}", aside)
        remove_tree(AT_FDCWD, aside)
    finally:
        if lock >= 0:
            os.close(lock)
    return True


def strays(store: Store) -> tuple[list[str], list[str]]:
    """Names of rows without a directory, and of directories without a row: what a crash can leave."""
    with store.transaction() as db:  # whoever makes or removes one does so in a transaction
        rows = {name for (name,) in db.execute("SELECT name FROM cache_mounts")}
        try:
            there = set(os.listdir(directory(store)))
        except FileNotFoundError:
            there = set()
    return sorted(rows - there), sorted(there - rows)


def _try_lock(store: Store, name: str) -> int:
    """The directory's descriptor, locked; -1 when somebody uses it, -2 when it is not there."""
    try:
        fd = os.open(f"{directory(store)}/{name}", _DIRECTORY)
    except FileNotFoundError:
        return -2
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        return -1
    return fd
