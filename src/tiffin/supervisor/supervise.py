"""The life of a supervisor.

    lock held by us (passed by the caller)
    row: starting ─▶ prepare (layers, volumes, network) ─▶ create (first process exists) ─▶ row: running
      ─▶ start (its command executes) ─▶ STARTED ─▶ session (stdio, log, clients) until it ends
      ─▶ row: exit code ─▶ cgroup and network taken down ─▶ row: exited, or everything removed
    lock released ─▶ EXIT to whoever waits

A row is written before what it owns is made, so that whoever comes after a crash can take it down; a failure before
STARTED takes down what was made, leaves the row as it was with the error in it, and sends FAILED.
"""

from __future__ import annotations

import os
import socket
import time

from tiffin.containers.states import State
from tiffin.containers.store import Container, Containers
from tiffin.errors import CommandNotExecutable, CommandNotFound, NotFound, TiffinError
from tiffin.init import open_helper
from tiffin.kernel.process import process_start_time
from tiffin.runtime.cgroups import open_cgroup
from tiffin.runtime.create import CreateRequest, InitProcess, create
from tiffin.state import Layout, Store, locate, open_store
from tiffin.supervisor import control, processes, takedown
from tiffin.supervisor.client import Client
from tiffin.supervisor.frames import Kind
from tiffin.supervisor.jobs import StartJob
from tiffin.supervisor.logs import open_log
from tiffin.supervisor.prepare import Prepared, prepare
from tiffin.supervisor.session import Session
from tiffin.supervisor.stdio import Stdio, open_stdio, set_size
from tiffin.typed import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from tiffin.containers.record import ContainerRecord
    from tiffin.network.records import Attachment

_NOT_STARTED = 128  # Docker's exit code of a container whose start failed for reasons of the engine's


class _Running(NamedTuple):
    process: InitProcess
    session: Session
    attachment: Attachment


def supervise(job: StartJob, channel: socket.socket, lock: int) -> None:
    """Run the container from start to end. Raises what a start raises, everything taken down again; later
    failures are recorded in the row."""
    layout = locate(job.root, job.run)
    store = open_store(layout)
    # What we record is about this boot: a power loss ends the container too, and the next command says so. Whole
    # transactions all the same; only the wait for the disk is spared.
    store.db.execute("PRAGMA synchronous=NORMAL")
    container = Containers(store).get(job.container)
    if container is None:
        raise NotFound(f"No such container: {job.container}")
    me = os.getpid()
    Containers(store).starting(container.id, me, process_start_time(me), processes.boot_id())
    client = Client(channel, job.wants)
    try:
        running = _start(store, container, client, job)
    except BaseException as error:
        _give_up(store, container, error)
        os.close(lock)
        raise
    client.queue(Kind.STARTED)
    running.session.run()
    code = running.process.wait()
    _finish(store, container, running, code)
    os.close(lock)
    running.session.finish(code)
    store.close()  # last: it may write the log of the database back, which nobody is to wait for


def _start(store: Store, container: Container, client: Client, job: StartJob) -> _Running:
    record = container.record
    prepared = prepare(store, record)
    for notice in prepared.notices:
        client.queue(Kind.NOTICE, notice.encode())
    ends = open_stdio(terminal=record.tty, open_stdin=record.open_stdin)
    try:
        listener = control.listen(store.layout, record.id)
        helper = open_helper()
        try:
            process = create(_request(store.layout, record, prepared, ends.theirs, helper))
        finally:
            os.close(helper)
    except BaseException:
        ends.close_theirs()
        ends.close_ours()
        prepared.close_joined().close()
        raise
    for warning in process.warnings:
        client.queue(Kind.NOTICE, warning.encode())
    ends.close_theirs()
    attachment = prepared.close_joined().close_namespace()
    if record.tty and job.rows:
        set_size(process.console_fd, job.rows, job.columns)
    Containers(store).running(record.id, process.pid, process.pid_start, time.time_ns())
    log = open_log(store.layout.container(record.id), record)
    stdio = Stdio(console=process.console_fd) if record.tty else ends.ours
    session = Session(process.pidfd, stdio, log=log, listener=listener, stdin_once=record.stdin_once)
    session.add(client)
    try:
        process.start()
    except BaseException:
        attachment.close()
        raise
    return _Running(process, session, attachment)


def _request(
    layout: Layout, record: ContainerRecord, prepared: Prepared, stdio: tuple[int, int, int], helper: int
) -> CreateRequest:
    return CreateRequest(
        id=record.id,
        spec=prepared.spec,
        root=prepared.root,
        mount_point=prepared.mount_point,
        stdio=stdio,
        netns_fd=prepared.attachment.netns_fd,
        cgroup_parent=os.path.dirname(record.cgroup(layout.cgroup)),
        seccomp_cache=layout.cache,
        helper_fd=helper,
    )


def _give_up(store: Store, container: Container, error: BaseException) -> None:
    """Take down what a failed start made. What fails in that is noted on `error`, and left to the next one."""
    try:
        current = Containers(store).get(container.id) or container
        takedown.kill_processes(current)
        takedown.take_down(store, container)
        if container.record.auto_remove:
            takedown.forget(store, container, volumes=True)
        else:
            code = (
                error.exit_code
                if isinstance(error, (CommandNotFound, CommandNotExecutable))
                else _NOT_STARTED
            )
            before = container.status if container.status != State.STARTING else State.CREATED
            Containers(store).not_started(container.id, before, code, str(error))
    except (TiffinError, OSError) as failure:
        error.add_note(f"while taking it down: {failure}")


def _finish(store: Store, container: Container, running: _Running, code: int) -> None:
    rows = Containers(store)
    finished = time.time_ns()
    try:
        oom_killed = open_cgroup(container.record.cgroup(store.layout.cgroup)).oom_killed()
        if not container.record.auto_remove:
            # Known from here on, whatever happens to us while taking down.
            rows.ended(container.id, code, finished, oom_killed=oom_killed)
        failure = _take_down(store, container)
        running.attachment.close()
        if container.record.auto_remove:
            takedown.forget(store, container, volumes=True, died=code)
        else:
            rows.exited(container.id, code, finished, oom_killed=oom_killed, error=failure)
    except NotFound:
        control.discard(store.layout, container.id)  # somebody forced the row away


def _take_down(store: Store, container: Container) -> str:
    try:
        takedown.take_down(store, container)
    except (TiffinError, OSError) as error:
        return f"while taking it down: {error}"
    return ""
