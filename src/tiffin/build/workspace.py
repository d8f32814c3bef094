"""Where a step works: a directory in staging, locked for as long as its maker lives, and gone afterwards.

Left behind only by a kill: then its lock is free, which is how the collector knows it for rubbish.
"""

from __future__ import annotations

import fcntl
import os
from types import TracebackType

from tiffin.errors import EngineError
from tiffin.kernel.inode_flags import spread_subdirectories
from tiffin.kernel.paths import remove_tree

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Workspace:
    """A context manager. `path` is the directory, `fd` is open on it."""

    def __init__(self, staging: str) -> None:
        self._staging = staging
        parent = os.open(staging, _DIRECTORY)
        try:
            spread_subdirectories(parent)
        finally:
            os.close(parent)
        for _ in range(16):
            self._name = f"build-{os.urandom(8).hex()}"
            self.path = f"{staging}/{self._name}"
            os.mkdir(self.path, 0o700)
            try:
                self.fd = os.open(self.path, _DIRECTORY)
            except FileNotFoundError:  # a collector was quicker
                continue
            fcntl.flock(self.fd, fcntl.LOCK_EX)
            if os.path.isdir(self.path):
                return
            os.close(self.fd)
        raise EngineError(f"cannot keep a directory in {staging}; is something clearing it?")

    def __enter__(self) -> Workspace:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            parent = os.open(self._staging, _DIRECTORY)
            try:
                remove_tree(parent, self._name)
            finally:
                os.close(parent)
        finally:
            os.close(self.fd)
