"""flock(2) on a directory, by which its maker says that it is at work in there."""

from __future__ import annotations

import fcntl
import os


def is_locked(directory: str) -> bool:
    """Whether somebody holds the lock of the directory at this moment; False when it is not there."""
    try:
        fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False
