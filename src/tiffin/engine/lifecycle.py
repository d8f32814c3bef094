"""start, run, attach: a supervisor is forked, the caller's streams are joined to it."""

from __future__ import annotations

import os
import time

from tiffin.containers.states import SUPERVISED, State, can_start, check_takes_part
from tiffin.containers.store import Container, Containers
from tiffin.engine import recovery
from tiffin.engine.caller import Caller, wants
from tiffin.engine.create import create
from tiffin.engine.detach import parse_keys
from tiffin.engine.options import Completed, Created, CreateOptions, Streams
from tiffin.errors import Conflict, NotFound, TiffinError
from tiffin.state.events import tell
from tiffin.supervisor import control
from tiffin.supervisor.frames import Kind, frame, size_payload
from tiffin.supervisor.jobs import StartJob
from tiffin.typed import TYPE_CHECKING, Any, Sequence

if TYPE_CHECKING:
    from tiffin.engine.workspace import Workspace
    from tiffin.state import Store

_BUSY_PATIENCE = 60.0


def start(workspace: Workspace, reference: str) -> tuple[str, ...]:
    """See ContainerService.start."""
    with workspace.store() as store:
        container, lock = _lock(store, reference)
    if lock < 0:
        return ()
    layout = workspace.layout
    with workspace.submit(StartJob(layout.root, layout.run, container.id), lock) as channel:
        from tiffin.engine.relay import await_started  # while the other side works

        return await_started(channel)


def start_attached(workspace: Workspace, reference: str, streams: Streams) -> int | None:
    """See ContainerService.start_attached."""
    parse_keys(streams.detach_keys)
    with workspace.store() as store:
        container, lock = _lock(store, reference)
    if lock < 0:
        return attach(workspace, reference, streams)
    layout = workspace.layout
    with Caller(streams, tty=container.record.tty, proxy=streams.sig_proxy) as caller:
        size = caller.size()
        job = StartJob(layout.root, layout.run, container.id, wants(streams), *size)
        with workspace.submit(job, lock) as channel:
            from tiffin.engine.relay import relay  # while the other side works

            return relay(channel, caller, size)


def run(workspace: Workspace, options: CreateOptions, streams: Streams | None) -> tuple[Created, int | None]:
    """See ContainerService.run."""
    created = create(workspace, options)
    if streams is None:
        notices = start(workspace, created.id)
        return created._replace(warnings=(*created.warnings, *notices)), None
    return created, start_attached(workspace, created.id, streams)


def run_captured(
    workspace: Workspace, image: str, command: Sequence[str], stdin: bytes | None, options: dict[str, Any]
) -> Completed:
    """See Engine.run."""
    outputs: tuple[list[bytes], list[bytes]] = ([], [])
    given: dict[str, Any] = {
        "auto_remove": True,
        "open_stdin": stdin is not None,
        "stdin_once": True,
    } | options
    created = create(workspace, CreateOptions(image, tuple(command), **given))
    streams = Streams(stdin, outputs[0].append, outputs[1].append, detach_keys="", sig_proxy=False)
    try:
        code = start_attached(workspace, created.id, streams)
    except TiffinError:
        raise
    except BaseException:
        _abandon(workspace, created.id)
        raise
    return Completed(created.id, code or 0, b"".join(outputs[0]), b"".join(outputs[1]))


def _abandon(workspace: Workspace, container_id: str) -> None:
    from tiffin.engine.remove import remove

    try:
        remove(workspace, container_id, force=True, volumes=True)
    except NotFound:
        pass


def attach(workspace: Workspace, reference: str, streams: Streams) -> int | None:
    """See ContainerService.attach."""
    parse_keys(streams.detach_keys)
    with workspace.store() as store:
        container = recovery.truth(store, reference)
        check_takes_part(container.id, container.status, "attach")
        tell(store, "attach", container.id)
        channel = control.connect(workspace.layout, container.id)
    if channel is None:
        raise Conflict("You cannot attach to a stopped container, start it first")
    with channel, Caller(streams, tty=container.record.tty, proxy=streams.sig_proxy) as caller:
        from tiffin.engine.relay import relay

        channel.sendall(frame(Kind.ATTACH, bytes([wants(streams)])))
        size = caller.size()
        if any(size):
            # Twice, so that the size changes even when it was this already: the application draws itself anew.
            channel.sendall(frame(Kind.RESIZE, size_payload(size[0] + 1, size[1] + 1)))
            channel.sendall(frame(Kind.RESIZE, size_payload(*size)))
        return relay(channel, caller, size)


def _lock(store: Store, reference: str) -> tuple[Container, int]:
    """The container at rest with its lock, or running with -1."""
    rows = Containers(store)
    container = rows.find(reference)
    deadline = time.monotonic() + _BUSY_PATIENCE
    while True:
        lock = control.acquire(store.layout, container.id, wait=False)
        current = rows.get(container.id)
        if current is not None and current.status in SUPERVISED and lock >= 0:
            recovery.recover(store, current)
            current = rows.get(container.id)
        if current is None:
            if lock >= 0:
                control.discard(store.layout, container.id)
                os.close(lock)
            raise NotFound(f"No such container: {reference}")
        if lock >= 0:
            if can_start(current.status):
                return current, lock
            os.close(lock)
            raise Conflict("container is marked for removal and cannot be started")
        if current.status == State.PAUSED:
            raise Conflict("cannot start a paused container, try unpause instead")
        if current.status in (State.RUNNING, State.RESTARTING):
            return current, -1
        # Another command is starting or removing it, or its supervisor is taking it down: short work.
        if time.monotonic() > deadline:
            raise Conflict(f"container {container.id} is busy; try again")
        time.sleep(0.005)
