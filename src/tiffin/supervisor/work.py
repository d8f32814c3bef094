"""Doing a job, in the process forked for it."""

import os

from tiffin.errors import TiffinError, Unsupported
from tiffin.init import open_helper
from tiffin.kernel import sockets as socket
from tiffin.state import Layout, Store, open_store
from tiffin.state import sqlite as sqlite3
from tiffin.supervisor import failure, frames
from tiffin.supervisor.jobs import ExecJob, Job
from tiffin.typed import NamedTuple, Sequence


class Ready(NamedTuple):
    """What was opened while the job was awaited: a store, None for none, and the static helper, -1 for none.
    `database`: the inode of the store's file."""

    store: Store | None = None
    helper: int = -1
    database: int = 0

    def now(self) -> "Ready":
        """Without a store whose file has been replaced: an engine may be removed and made anew meanwhile."""
        if self.store is None:
            return self
        try:
            if os.stat(self.store.layout.database).st_ino == self.database:
                return self
        except OSError:
            pass
        self.store.close()
        return self._replace(store=None)


def load(job: type[Job]) -> None:
    """Import what a job of this kind needs: before the fork, or while the job is awaited, so that nothing is left to
    load when it is done. What is imported late elsewhere, since not every command needs it, is named here as well; a
    test holds that nothing is forgotten."""
    import tiffin.init.compile
    from tiffin.kernel import libc
    from tiffin.runtime import cgroups

    libc.bind()
    try:
        cgroups.open_cgroup("tiffin/none")  # makes nothing, loads the machine's version
    except Unsupported:
        pass  # to be told to whoever has a job
    if job is ExecJob:
        import tiffin.supervisor.keep
    else:
        import tiffin.supervisor.logs.jsonfile
        import tiffin.supervisor.supervise  # noqa: F401 - loaded for later


def make_ready(layout: Layout, kind: type[Job] | None = None) -> Ready:
    """Open what a job of this layout, and of this kind if one is given, needs; makes nothing. What cannot be opened now
    is left to the job, which has somebody to tell."""
    ready = Ready()
    try:
        ready = ready._replace(helper=open_helper())
        if kind is ExecJob:
            return ready
        inode = os.stat(layout.database).st_ino
        store = open_store(layout)
        ready = ready._replace(store=store, database=inode)
        touch(store)
    except (TiffinError, OSError, sqlite3.Error):
        pass
    return ready


def touch(store: Store) -> None:
    """Have the database read its schema, and the first statement of a start prepared."""
    from tiffin.containers.store import Containers

    Containers(store).get("")


def do(job: Job, descriptors: Sequence[int], ready: Ready | None = None) -> None:
    """Do the job to its end. Whatever goes wrong before the command runs is sent to the caller as FAILED."""
    channel = socket.socket(fileno=descriptors[0])
    ready = (ready or Ready()).now()
    try:
        if isinstance(job, ExecJob):
            from tiffin.supervisor.keep import keep_exec

            keep_exec(job, channel, ready.helper, ready.store)
        else:
            from tiffin.supervisor.supervise import supervise

            supervise(job, channel, descriptors[1], ready.store, ready.helper)
    except BaseException as error:  # noqa: BLE001 - the last frame of this process: nothing may pass it
        report(channel, error)


def report(channel: socket.socket, error: BaseException) -> None:
    """Send FAILED. The caller may be gone."""
    try:
        channel.setblocking(True)
        channel.sendall(frames.frame(frames.Kind.FAILED, failure.encode(error)))
    except OSError:
        pass
