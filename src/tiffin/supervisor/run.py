"""One run of a container: everything made ready, its first process created, served by a session, and started."""

from __future__ import annotations

import os
import time

from tiffin.containers.store import Containers
from tiffin.runtime.create import CreateRequest, create
from tiffin.supervisor.logs import open_log
from tiffin.supervisor.prepare import Prepared, prepare
from tiffin.supervisor.session import Session
from tiffin.supervisor.stdio import Stdio, open_stdio, set_size
from tiffin.typed import TYPE_CHECKING, Callable, NamedTuple

if TYPE_CHECKING:
    from tiffin.containers.record import ContainerRecord
    from tiffin.network.records import Attachment
    from tiffin.runtime.forked import FirstProcess
    from tiffin.state import Layout, Store
    from tiffin.supervisor.health import Health
    from tiffin.supervisor.logs import LogWriter

    Serve = Callable[[int, Stdio, LogWriter | None], Session]
    Notice = Callable[[str], None]


class Run(NamedTuple):
    """A run that has begun. `began`: of the monotonic clock."""

    process: FirstProcess
    session: Session
    attachment: Attachment
    health: Health | None
    began: float

    def close(self) -> None:
        """What was held while it ran; after it was taken down, which ends the command of a health check too."""
        if self.health is not None:
            self.health.close()
        self.attachment.close()
        self.session.release()
        self.process.console_fd = -1  # the session's, and closed by it
        self.process.close()


def begin(
    store: Store,
    record: ContainerRecord,
    helper: int,
    serve: Serve,
    notice: Notice,
    size: tuple[int, int] = (0, 0),
) -> Run:
    """Returns once the command executes. `serve` gives the session that is to have the pidfd, the streams and the log;
    `notice` is called with lines for the user. Raises what a start raises; what was made is left to be taken down."""
    prepared = prepare(store, record)
    for line in prepared.notices:
        notice(line)
    ends = open_stdio(terminal=record.tty, open_stdin=record.open_stdin)
    try:
        make = _external(store.layout, record) if record.runtime else create
        process = make(_request(store.layout, record, prepared, ends.theirs, helper))
    except BaseException:
        ends.close_theirs()
        ends.close_ours()
        prepared.close_joined().close()
        raise
    for line in process.warnings:
        notice(line)
    ends.close_theirs()
    attachment = prepared.close_joined().close_namespace()
    if record.tty and any(size):
        set_size(process.console_fd, *size)
    health = _health(store, record, process, helper)
    Containers(store).running(
        record.id, process.pid, process.pid_start, time.time_ns(), "starting" if health else ""
    )
    log = open_log(store.layout.container(record.id), record)
    stdio = Stdio(console=process.console_fd) if record.tty else ends.ours
    session = serve(process.pidfd, stdio, log)
    try:
        if attachment.named:
            from tiffin.network.resolving import await_served  # loaded by now

            await_served(store.layout, attachment.reserved[-1])
        process.start()
    except BaseException:
        attachment.close()
        raise
    session.companion = health
    return Run(process, session, attachment, health, time.monotonic())


def _external(layout: Layout, record: ContainerRecord) -> Callable[[CreateRequest], FirstProcess]:
    """`create` as another OCI runtime does it."""
    from tiffin.runtime.external import External

    return External(record.runtime, layout.container(record.id), record.id).create


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


def _health(store: Store, record: ContainerRecord, process: FirstProcess, helper: int) -> Health | None:
    if record.healthcheck is None:
        return None
    from tiffin.supervisor.health import Health, check_of

    check = check_of(record)
    return Health(store, record, check, process.pid, process.pid_start, helper) if check else None
