"""What the use cases of one engine share: the layout, open stores, and a way to fork.

Stores are pooled: a use case leases one for as long as it works (`with workspace.store() as store`), one thread
at a time each. None is open while a supervisor is forked from this process, see tiffin.supervisor.fork.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tiffin.kernel.process import thread_count
from tiffin.state import Store, locate, open_store

if TYPE_CHECKING:
    from tiffin.supervisor.jobs import Job
    from tiffin.supervisor.launcher import Launcher


class Workspace:
    """See the module. May be used from many threads; `close` when none does any more."""

    def __init__(self, root: str | None = None, run: str | None = None) -> None:
        import _thread

        self.layout = locate(root, run)
        self._idle: list[Store] = []
        self._leased = 0
        self._launcher: Launcher | None = None
        self._lock = _thread.allocate_lock()

    @contextmanager
    def store(self) -> Iterator[Store]:
        """An open store for the caller alone, back in the pool afterwards."""
        with self._lock:
            store = self._idle.pop() if self._idle else None
            self._leased += 1
        try:
            if store is None:
                store = open_store(self.layout, any_thread=True)
            yield store
        finally:
            with self._lock:
                self._leased -= 1
                if store is not None:
                    self._idle.append(store)

    def submit(self, job: Job, lock: int = -1) -> socket.socket:
        """Have the job done by a process that belongs to nobody; returns our end of its channel, where its
        outcome arrives. Gives `lock` away: it is closed here. No store may be leased by the calling thread."""
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                fds = [theirs.fileno(), lock] if lock >= 0 else [theirs.fileno()]
                if thread_count() > 1:
                    self._warm_launcher().submit(job, fds)
                else:
                    self._fork(job, fds)
        except BaseException:
            ours.close()
            raise
        finally:
            if lock >= 0:
                import os

                os.close(lock)
        return ours

    def _fork(self, job: Job, fds: list[int]) -> None:
        from tiffin.supervisor import work
        from tiffin.supervisor.fork import fork_orphan

        self._close_stores()
        fork_orphan(lambda: work.do(job, fds), fds)

    def _warm_launcher(self) -> Launcher:
        from tiffin.supervisor.launcher import Launcher

        with self._lock:
            if self._launcher is None:
                self._launcher = Launcher()
            return self._launcher

    def _close_stores(self) -> None:
        with self._lock:
            idle, self._idle = self._idle, []
            leased = self._leased
        assert not leased, "a store is leased across a fork"
        for store in idle:
            store.close()

    def close(self) -> None:
        """Close the stores and let the launcher end. Idempotent; a later use opens them again."""
        with self._lock:
            idle, self._idle = self._idle, []
            launcher, self._launcher = self._launcher, None
        for store in idle:
            store.close()
        if launcher is not None:
            launcher.close()
