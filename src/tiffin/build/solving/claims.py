"""Who executes a step: of several builds that need the same one, the first; the others wait for its result.

A claim is a lock on a few bytes of one file, at a place that the step's key says. The kernel gives it up when its
build dies, and there is nothing to clear away. Nobody waits while holding one for a step that is not being executed,
so builds never wait for each other in a circle. Two keys with the same place would only wait for each other.

    build A   take ─► worker executes ─► cache row ─► give back
    build B   take: no ─► waiter, a process that blocks until the claim is this build's ─► cache row found
"""

from __future__ import annotations

import fcntl
import os
import struct

from tiffin.build.workers import Channel, Worker, start
from tiffin.errors import EngineError
from tiffin.typed import Any

_LOCK = struct.Struct("@hhqqi0q")  # struct flock of fcntl(2): type, whence, start, length, pid
_PLACE_DIGITS = 15  # hexadecimal: below the largest offset that there is


class Claims:
    """The claims of one build. The locks belong to the open file, not to a process: a waiter gets them for whoever
    started it, and they go with the last of both."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._fd = -1

    def take(self, key: str) -> bool:
        """Claim the step with this key; whether it is this build's now. It is, too, when it was before."""
        if self._fd < 0:
            flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
            self._fd = os.open(self._path, flags, 0o600)
        try:
            self._lock(fcntl.F_OFD_SETLK, fcntl.F_WRLCK, key)
        except BlockingIOError:
            return False
        return True

    def waiter(self, key: str) -> Worker:
        """A process that ends with a result once the step is this build's. After a `take` that failed."""

        def wait(_: Channel) -> dict[str, Any]:
            self._lock(fcntl.F_OFD_SETLKW, fcntl.F_WRLCK, key)
            return {}

        return start(wait)

    def give_back(self, key: str) -> None:
        """Let others have it. Idempotent."""
        if self._fd >= 0:
            self._lock(fcntl.F_OFD_SETLK, fcntl.F_UNLCK, key)

    def close(self) -> None:
        """Give all back. Idempotent."""
        if self._fd >= 0:
            fcntl.fcntl(self._fd, fcntl.F_OFD_SETLK, _LOCK.pack(fcntl.F_UNLCK, os.SEEK_SET, 0, 0, 0))
            os.close(self._fd)
            self._fd = -1

    def _lock(self, command: int, kind: int, key: str) -> None:
        place = int(key.partition(":")[2][:_PLACE_DIGITS], 16)
        try:
            fcntl.fcntl(self._fd, command, _LOCK.pack(kind, os.SEEK_SET, place, 1, 0))
        except BlockingIOError:
            raise
        except OSError as error:
            raise EngineError(f"cannot lock {self._path}: {error.strerror}") from error
