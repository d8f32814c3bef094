"""Whose turn it is to fetch a blob: one at a time, among the threads and processes of one engine.

`staging/fetch-<hex>` is locked by who fetches. Those who wait hold the same file open; the one before them leaves in it
what the blob turned out to be, so that they need not find out again. An unlinked file that says nothing belonged to
somebody who failed, or to nobody: the next one begins with a new file.
"""

import fcntl
import os

from tiffin.errors import EngineError
from tiffin.oci.digest import check_digest, is_digest
from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from threading import Event

_PATIENCE = 0.05  # seconds between two looks at a lock that another holds
_TEXT_MAX = 128


class Turn:
    """The right to fetch a blob, until it is closed. `proven` is the DiffID that the one before us has found the blob
    to unpack to, "" when nobody has."""

    def __init__(self, path: str, fd: int, proven: str) -> None:
        self._path, self._fd, self.proven = path, fd, proven

    def prove(self, diff_id: str) -> None:
        """Tell those who wait what the blob unpacks to; to be called once its layer is in place."""
        os.pwrite(self._fd, diff_id.encode("ascii"), 0)

    def close(self) -> None:
        """Let the next one in. Idempotent."""
        if self._fd < 0:
            return
        if os.fstat(self._fd).st_nlink:
            try:
                os.unlink(self._path)  # it is ours: nobody makes another while this one has its name
            except FileNotFoundError:
                pass
        os.close(self._fd)
        self._fd = -1


def take_turn(staging: str, digest: str, waiting: "Callable[[], None]", stop: "Event") -> Turn | None:
    """Wait until nobody else fetches the blob; `waiting` is called once if that takes a moment. None when `stop` was
    set meanwhile. Raises EngineError."""
    path = f"{staging}/fetch-{check_digest(digest)[7:]}"
    told = False
    try:
        while not stop.is_set():
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            try:
                while not _lock(fd):
                    if not told:
                        waiting()
                        told = True
                    if stop.wait(_PATIENCE):
                        return None
                proven = os.pread(fd, _TEXT_MAX, 0).decode("ascii", "replace")
                if is_digest(proven) or os.fstat(fd).st_nlink:
                    turn = Turn(path, fd, proven if is_digest(proven) else "")
                    fd = -1
                    return turn
            finally:
                if fd >= 0:
                    os.close(fd)
        return None
    except OSError as error:
        raise EngineError(f"cannot lock {path}: {error}") from error


def _lock(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
