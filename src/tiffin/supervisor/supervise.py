"""The life of a supervisor.

    lock held by us (passed by the caller)
    row: starting ─▶ prepare (layers, volumes, network) ─▶ create (first process exists) ─▶ row: running
      ─▶ start (its command executes) ─▶ STARTED ─▶ session (stdio, log, clients) until it ends
      ─▶ row: exit code ─▶ cgroup and network taken down ─┬▶ row: exited, or everything removed
                                                          └▶ row: restarting ─▶ EXIT to whoever waits
                                                             ─▶ idle until its time ─▶ row: starting, and so on
    lock released ─▶ EXIT to whoever waits

A row is written before what it owns is made, so that whoever comes after a crash can take it down; a failure before
STARTED takes down what was made, leaves the row as it was with the error in it, and sends FAILED.

A supervisor may outlive the files it was loaded from: an upgrade of tiffin replaces them while containers run. What the
end of a run and another run need is therefore in memory before the first one begins: modules by being imported, the
static helper by its descriptor.
"""

from __future__ import annotations

import errno
import os
import time

from tiffin.containers.policy import restart_of, runs_again
from tiffin.containers.states import State
from tiffin.containers.store import Asked, Container, Containers
from tiffin.errors import CommandNotExecutable, CommandNotFound, NoSpace, NotFound, TiffinError
from tiffin.init import open_helper
from tiffin.kernel import sockets as socket
from tiffin.kernel.process import boot_id, process_start_time
from tiffin.state import Store, locate, open_store
from tiffin.state import sqlite as sqlite3
from tiffin.supervisor import control, failure, takedown
from tiffin.supervisor.backoff import Backoff
from tiffin.supervisor.client import Client
from tiffin.supervisor.frames import Kind
from tiffin.supervisor.jobs import StartJob
from tiffin.supervisor.run import Run, begin
from tiffin.supervisor.session import Session
from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from tiffin.runtime.cgroups import Cgroup
    from tiffin.supervisor.logs import LogWriter
    from tiffin.supervisor.stdio import Stdio

_FULL_DISK = 1.0  # seconds until another try to record an end
_NOT_STARTED = 128  # Docker's exit code of a container whose start failed for reasons of the engine's


def supervise(
    job: StartJob, channel: socket.socket, lock: int, ready: Store | None = None, helper: int = -1
) -> None:
    """Run the container from start to end, and again for as long as it is to. `ready` and `helper`: the store and the
    static helper, when they are open already. Raises what the first start raises, everything taken down again; later
    failures are recorded in the row."""
    layout = locate(job.root, job.run)
    store = ready if ready is not None and ready.layout == layout else open_store(layout)
    # What we record is about this boot: a power loss ends the container too, and the next command says so. Whole
    # transactions all the same; only the wait for the disk is spared.
    store.db.execute("PRAGMA synchronous=NORMAL")
    container = Containers(store).get(job.container)
    if container is None:
        raise NotFound(f"No such container: {job.container}")
    me = os.getpid()
    Containers(store).starting(container.id, me, process_start_time(me), boot_id())
    client = Client(channel, job.wants)
    try:
        helper = helper if helper >= 0 else open_helper()
        run = _first(store, container, client, job, helper)
    except BaseException as error:
        _give_up(store, container, error)
        os.close(lock)
        raise
    client.queue(Kind.STARTED)
    doomed: list[takedown.Doomed] = []
    code = _serve(store, container, run, helper, doomed)
    os.close(lock)
    run.session.finish(code)
    for files in doomed:
        try:
            files.remove()
        except OSError:
            pass  # the collector finds them
    store.close()  # last: it may write the log of the database back, which nobody is to wait for


def _first(store: Store, container: Container, client: Client, job: StartJob, helper: int) -> Run:
    record = container.record
    listener = control.listen(store.layout, record.id)

    def serve(pidfd: int, stdio: Stdio, log: LogWriter | None) -> Session:
        session = Session(pidfd, stdio, log=log, listener=listener, stdin_once=record.stdin_once)
        session.add(client)
        return session

    def notice(line: str) -> None:
        client.queue(Kind.NOTICE, line.encode())

    return begin(store, record, helper, serve, notice, (job.rows, job.columns))


def _serve(store: Store, container: Container, run: Run, helper: int, doomed: list[takedown.Doomed]) -> int:
    """Run it to its end, and again for as long as its policy or somebody says so; the last exit code. Its files are
    added to `doomed` when it is to be removed: nobody is to wait for the disk to free them."""
    session, backoff = run.session, Backoff()
    while True:
        session.run()
        code = run.process.wait()
        ended = time.monotonic()
        if not _end(store, container, run, code, doomed):
            return code
        session.end_run(code)
        if not session.restart_asked:
            session.idle(ended + backoff.next(ended - run.began))
        if session.stop_asked:
            _rest(store, container, session)
            return code
        if session.restart_asked:
            backoff = Backoff()
        try:
            following = _next(store, container, session, helper, backoff)
        except Exception as error:  # noqa: BLE001 - whatever it is, the row and who waits must learn of it
            code = _not_again(store, container, error)
            session.answer_restart(failure.encode(error))
            return code
        if following is None:
            _rest(store, container, session)
            return code
        run = following
        session.answer_restart()


def _next(store: Store, container: Container, session: Session, helper: int, backoff: Backoff) -> Run | None:
    """Another run; None when a stop is asked for while a full disk holds it up. Raises what a start raises."""
    while True:
        try:
            return _again(store, container, session, helper)
        except (TiffinError, OSError, sqlite3.Error) as error:
            if session.restart_asked or not _is_full(error):
                raise
        try:
            takedown.kill_processes(Containers(store).get(container.id) or container)
            _take_down(store, container)
            Containers(store).set_status(container.id, State.RESTARTING)
        except NoSpace:
            pass
        session.idle(time.monotonic() + backoff.next(0.0))
        if session.stop_asked:
            return None


def _is_full(error: BaseException | None) -> bool:
    """Whether it is a full disk that failed, which may have room again."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return True
    return isinstance(error, NoSpace) or (error is not None and _is_full(error.__cause__))


def _again(store: Store, container: Container, session: Session, helper: int) -> Run:
    """Another run, of the container as it is described by now."""
    Containers(store).begin_again(container.id, by_hand=session.restart_asked)
    current = Containers(store).get(container.id)
    if current is None:
        raise NotFound(f"No such container: {container.id}")

    def serve(pidfd: int, stdio: Stdio, log: LogWriter | None) -> Session:
        session.next_run(pidfd, stdio, log)
        return session

    return begin(store, current.record, helper, serve, lambda _: None)


def _exit_code(error: BaseException) -> int:
    return error.exit_code if isinstance(error, (CommandNotFound, CommandNotExecutable)) else _NOT_STARTED


def _give_up(store: Store, container: Container, error: BaseException) -> None:
    """Take down what a failed start made. What fails in that is noted on `error`, and left to the next one."""
    try:
        current = Containers(store).get(container.id) or container
        takedown.kill_processes(current)
        takedown.take_down(store, container)
        if container.record.auto_remove:
            takedown.forget(store, container, volumes=True)
        else:
            before = container.status if container.status != State.STARTING else State.CREATED
            Containers(store).not_started(container.id, before, _exit_code(error), str(error))
    except (TiffinError, OSError) as failed:
        error.add_note(f"while taking it down: {failed}")


def _not_again(store: Store, container: Container, error: BaseException) -> int:
    """Another run failed to start: no further one is tried, as with Docker. Its exit code."""
    code = _exit_code(error)
    try:
        current = Containers(store).get(container.id) or container
        takedown.kill_processes(current)
        text = str(error) or type(error).__name__
        if left := _take_down(store, container):
            text = f"{text}; {left}"
        if container.record.auto_remove:
            takedown.forget(store, container, volumes=True)
        else:
            Containers(store).exited(container.id, code, time.time_ns(), oom_killed=False, error=text)
    except (TiffinError, OSError, sqlite3.Error):
        pass  # whoever comes next finds the lock free, and does this
    return code


def _end(store: Store, container: Container, run: Run, code: int, doomed: list[takedown.Doomed]) -> bool:
    """Record the end of a run and take it down; whether the container is to run again."""
    rows, finished = Containers(store), time.time_ns()
    asked = _asked(run.session)
    removed = container.record.auto_remove and asked != Asked.RESTART
    again = False
    try:
        oom_killed = run.process.cgroup.oom_killed()
        if not removed:
            # Known from here on, whatever happens to us while taking down.
            again = _ended(rows, container, run.session, (code, finished, oom_killed))
        left = _take_down(store, container, run.process.cgroup)
        run.close()
        if removed:
            doomed.append(takedown.forget_but_files(store, container, volumes=True, died=code))
        elif not again:
            rows.exited(container.id, code, finished, oom_killed=oom_killed, error=left)
    except NotFound:
        control.discard(store.layout, container.id)  # somebody forced the row away
        return False
    except (TiffinError, OSError, sqlite3.Error):
        # A full disk: whoever comes next finds the lock free, and records the end.
        _take_down(store, container)
        if run.process.pidfd >= 0:
            run.close()
        return False
    return again


def _ended(rows: Containers, container: Container, session: Session, end: tuple[int, int, bool]) -> bool:
    """Containers.ended; a full disk holds up a container that is to run again, until there is room or it is stopped."""
    code, finished, oom_killed = end
    while True:
        asked = _asked(session)
        try:
            return rows.ended(
                container.id, code, finished, oom_killed=oom_killed, asked=asked, killed=session.killed
            )
        except NoSpace:
            current = rows.get(container.id) or container
            if asked != Asked.NOTHING or not runs_again(restart_of(current.policy), code, current.restarts):
                raise
        session.idle(time.monotonic() + _FULL_DISK)


def _asked(session: Session) -> str:
    if session.stop_asked:
        return Asked.STOP if session.stopped_by_hand else Asked.PARTING
    return Asked.RESTART if session.restart_asked else Asked.NOTHING


def _rest(store: Store, container: Container, session: Session) -> None:
    """It was stopped while it waited to run again."""
    try:
        if container.record.auto_remove:
            takedown.forget(store, container, volumes=True)
        else:
            Containers(store).stays_down(container.id, by_hand=session.stopped_by_hand)
    except NotFound:
        control.discard(store.layout, container.id)
    except (TiffinError, OSError, sqlite3.Error):
        pass  # whoever comes next finds the lock free, and does this


def _take_down(store: Store, container: Container, cgroup: Cgroup | None = None) -> str:
    try:
        left = takedown.take_down(store, container, cgroup)
    except (TiffinError, OSError) as error:
        left = str(error)
    return f"while taking it down: {left}" if left else ""
