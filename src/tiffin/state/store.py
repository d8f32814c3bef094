"""Opening the store: directories, database, migrations, transactions, locks.

`open_store` is what every command begins with. SQLite in WAL mode orders writers of rows; three kinds of file
lock order the rest:

- `Store.adding()`: shared, held while content is put in place that no row names yet (load, build, commit);
- `Store.collecting()`: exclusive, held while unnamed content is removed; skipped when somebody is adding;
- `lock_file(path)`: one per container or staged thing, held by its owner for its life.

All locks are flock(2) on CLOEXEC descriptors: the kernel drops them with their owner, however it dies.
"""

import errno
import fcntl
import os

from tiffin.errors import Corrupt, NoSpace, PermissionDenied, Unsupported
from tiffin.state import sqlite as sqlite3
from tiffin.state.layout import Layout
from tiffin.state.schema import MIGRATIONS
from tiffin.typed import Iterator, NamedTuple, contextmanager

_BUSY_SECONDS = 30.0
_DIRECTORIES = ("oci", "oci/blobs", "oci/blobs/sha256", "layers", "containers", "volumes", "staging", "cache")


class Store(NamedTuple):
    """An open engine store. Not to be used after a fork: the child opens its own (0.1 ms)."""

    layout: Layout
    db: sqlite3.Connection

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """One write transaction (BEGIN IMMEDIATE), committed on success, rolled back on any exception.
        Atomic and durable: a commit has reached the disk. Do nothing slow within."""
        db = self.db
        # SQLite's own wait for another writer is a sleep that grows; a lock wakes the next one at once.
        turn = lock_file(f"{self.layout.root}/write.lock")
        try:
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
            except BaseException:
                if db.in_transaction:  # some errors, a full disk among them, have rolled it back
                    db.execute("ROLLBACK")
                raise
            db.execute("COMMIT")
        except sqlite3.OperationalError as error:
            if "full" in str(error):
                raise NoSpace(
                    f"no space left on the disk of {self.layout.root}; free some and try again"
                ) from error
            raise
        finally:
            os.close(turn)

    @contextmanager
    def adding(self) -> Iterator[None]:
        """Shared lock: content that this process puts in place stays until it is named or the lock goes."""
        fd = lock_file(f"{self.layout.root}/content.lock", shared=True)
        try:
            yield
        finally:
            os.close(fd)

    @contextmanager
    def collecting(self) -> Iterator[bool]:
        """Exclusive lock for removing unnamed content; yields False (remove nothing) while anyone is adding."""
        fd = lock_file(f"{self.layout.root}/content.lock", wait=False)
        try:
            yield fd >= 0
        finally:
            if fd >= 0:
                os.close(fd)

    def close(self) -> None:
        self.db.close()


def lock_file(path: str, *, shared: bool = False, wait: bool = True) -> int:
    """Open (making it, 0600) and flock `path`; returns the descriptor, whose close releases the lock.
    With `wait=False`, -1 when another holds it."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(fd, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        os.close(fd)
        return -1
    except BaseException:
        os.close(fd)
        raise
    return fd


def open_store(layout: Layout, *, any_thread: bool = False) -> Store:
    """Open the store, making or migrating it as needed. Idempotent; safe beside other processes.
    With `any_thread` it may be handed from thread to thread, used by one at a time.
    Raises PermissionDenied, NoSpace, Unsupported (made by a newer tiffin), Corrupt."""
    try:
        if not os.path.exists(layout.database):
            _make_directories(layout)
        if not os.path.isdir(f"{layout.run}/containers"):
            _private_directory(layout.run)
            _private_directory(f"{layout.run}/containers")
        return Store(layout, _connect(layout, any_thread))
    except PermissionError as error:
        raise PermissionDenied(
            f"cannot open {error.filename or layout.root}: permission denied; run as root, or choose --root and --run"
        ) from error
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise NoSpace(f"no space left to open {layout.root}; free some and try again") from error
        raise


def _make_directories(layout: Layout) -> None:
    _private_directory(layout.root)
    for name in _DIRECTORIES:
        _private_directory(f"{layout.root}/{name}")
    _write_once(f"{layout.oci}/index.json", '{"schemaVersion":2,"manifests":[]}')
    _write_once(f"{layout.oci}/oci-layout", '{"imageLayoutVersion":"1.0.0"}')


def _write_once(path: str, text: str) -> None:
    """Make a file whole, unless it is there; of two processes the first wins."""
    aside = f"{path}.{os.getpid()}"
    with open(aside, "w", encoding="ascii") as file:
        file.write(text)
    try:
        os.link(aside, path)
    except FileExistsError:
        pass
    finally:
        os.unlink(aside)


def _private_directory(path: str) -> None:
    try:
        os.makedirs(path, 0o700)
    except FileExistsError:
        status = os.lstat(path)
        if status.st_uid != os.geteuid() or status.st_mode & 0o170077 != 0o040000:
            os.chmod(path, 0o700, follow_symlinks=True)


def _connect(layout: Layout, any_thread: bool) -> sqlite3.Connection:
    try:
        db = sqlite3.connect(
            layout.database, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=not any_thread
        )
        version: int = db.execute("PRAGMA user_version").fetchone()[0]
        if version > len(MIGRATIONS):
            db.close()
            raise Unsupported(f"{layout.root} was made by a newer tiffin (schema {version}); upgrade tiffin")
        if version < len(MIGRATIONS):
            _migrate(db)
        db.execute("PRAGMA synchronous=FULL")
        db.execute("PRAGMA foreign_keys=ON")
    except sqlite3.DatabaseError as error:
        if isinstance(error, sqlite3.OperationalError):
            if "unable to open" in str(error):
                raise PermissionDenied(
                    f"cannot open {layout.database}: {error}; run as root, or choose --root"
                ) from error
            raise
        raise Corrupt(f"{layout.database} is not a tiffin database: {error}; move it aside") from error
    return db


def _migrate(db: sqlite3.Connection) -> None:
    db.execute("PRAGMA journal_mode=WAL")
    db.execute("BEGIN IMMEDIATE")
    try:
        version: int = db.execute("PRAGMA user_version").fetchone()[0]
        for statements in MIGRATIONS[version:]:
            for statement in statements:
                db.execute(statement)
        db.execute(f"PRAGMA user_version={len(MIGRATIONS)}")
        db.execute("COMMIT")
    except BaseException:
        db.execute("ROLLBACK")
        raise
