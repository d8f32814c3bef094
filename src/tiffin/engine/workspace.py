"""What the use cases of one engine share: the layout, open stores, and a way to fork.

Stores are pooled: a use case leases one for as long as it works (`with workspace.store() as store`), one thread
at a time each. A supervisor is forked from this process when it may be, see tiffin.supervisor.fork, and from a
launcher else.
"""

from __future__ import annotations

import os

from tiffin.errors import EngineError
from tiffin.kernel import sockets as socket
from tiffin.kernel.process import thread_count
from tiffin.state import Store, locate, open_store
from tiffin.typed import TYPE_CHECKING, Iterator, contextmanager

if TYPE_CHECKING:
    from tiffin.supervisor.ahead import Ahead
    from tiffin.supervisor.jobs import Job
    from tiffin.supervisor.launcher import Launcher


class Workspace:
    """See the module. May be used from many threads; `close` when none does any more."""

    def __init__(self, root: str | None = None, run: str | None = None) -> None:
        import _thread

        self.layout = locate(root, run)
        self._idle: list[Store] = []
        self._launcher: Launcher | None = None
        self._ahead: Ahead | None = None
        self._lock = _thread.allocate_lock()

    @contextmanager
    def store(self) -> Iterator[Store]:
        """An open store for the caller alone, back in the pool afterwards."""
        with self._lock:
            store = self._idle.pop() if self._idle else None
        if store is None:
            store = open_store(self.layout, any_thread=True)
        try:
            yield store
        finally:
            with self._lock:
                self._idle.append(store)

    def expect(self, kind: type[Job], *, brief: bool = False) -> None:
        """A job of this kind will be submitted: fork now the process that is to do it, so that it loads meanwhile
        what it needs. Does nothing where a launcher is the one to fork; harmless when no job follows. `brief`: this
        process ends with the job's caller."""
        if self._launcher is None and self._ahead is None and self._may_fork():
            import tiffin.containers.store  # noqa: F401 - for both sides, hence before the fork
            from tiffin.supervisor.ahead import Ahead

            self._ahead = Ahead(kind, self.layout, brief=brief)

    def submit(self, job: Job, lock: int = -1) -> socket.socket:
        """Have the job done by a process that belongs to nobody; returns our end of its channel, where its
        outcome arrives. Gives `lock` away: it is closed here."""
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                fds = [theirs.fileno(), lock] if lock >= 0 else [theirs.fileno()]
                if self._use_ahead(job, fds):
                    pass
                elif self._may_fork():
                    _fork(job, fds)
                else:
                    self._launch(job, fds)
        except BaseException:
            ours.close()
            raise
        finally:
            if lock >= 0:
                os.close(lock)
        return ours

    def _use_ahead(self, job: Job, fds: list[int]) -> bool:
        """Whether a process was waiting for this job, and has it."""
        if self._ahead is None or self._ahead.kind is not type(job):
            return False
        ahead, self._ahead = self._ahead, None
        return ahead.submit(job, fds)

    def _may_fork(self) -> bool:
        """Whether this process has one thread and, our idle stores closed, no connection to the database left:
        not of a use case in progress, not of a second engine."""
        if thread_count() > 1:
            return False
        self._close_idle()
        return not any(_leads_to(fd, self.layout.database) for fd in os.listdir("/proc/self/fd"))

    def _launch(self, job: Job, fds: list[int]) -> None:
        launcher = self._warm_launcher()
        try:
            launcher.submit(job, fds)
        except EngineError:
            # Somebody killed it. The job did not reach it. (One that dies with a job unread ends the job's channel,
            # and the caller is told.)
            with self._lock:
                if self._launcher is launcher:
                    self._launcher = None
            launcher.close()
            self._warm_launcher().submit(job, fds)

    def _warm_launcher(self) -> Launcher:
        from tiffin.supervisor.launcher import Launcher

        with self._lock:
            if self._launcher is None:
                self._launcher = Launcher(self.layout)
            return self._launcher

    def _close_idle(self) -> None:
        with self._lock:
            idle, self._idle = self._idle, []
        for store in idle:
            store.close()

    def close(self) -> None:
        """Close the stores and let the launcher end. Idempotent; a later use opens them again."""
        self._close_idle()
        if self._ahead is not None:
            self._ahead.close()
            self._ahead = None
        with self._lock:
            launcher, self._launcher = self._launcher, None
        if launcher is not None:
            launcher.close()


def _fork(job: Job, fds: list[int]) -> None:
    from tiffin.supervisor import work
    from tiffin.supervisor.fork import fork_orphan

    work.load(type(job))
    fork_orphan(lambda: work.do(job, fds), fds)


def _leads_to(fd: str, path: str) -> bool:
    try:
        return os.readlink(f"/proc/self/fd/{fd}") == path
    except FileNotFoundError:  # the descriptor of the listing itself
        return False
