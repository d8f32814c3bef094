"""logs: the container's log, from the end or from the beginning, and as it grows."""

from __future__ import annotations

import socket
from collections.abc import Iterator

from tiffin.engine import recovery
from tiffin.engine.options import LogLine
from tiffin.errors import Unsupported
from tiffin.supervisor import control
from tiffin.supervisor.frames import FrameReader, Kind, frame
from tiffin.supervisor.log import timestamp
from tiffin.supervisor.logfile import Entry, LogReader
from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from tiffin.engine.options import LogQuery
    from tiffin.engine.workspace import Workspace


def logs(workspace: Workspace, reference: str, query: LogQuery) -> Iterator[LogLine]:
    """See ContainerService.logs. Errors about the reference come at the call, not at the first line."""
    with workspace.store() as store:
        container = recovery.truth(store, reference)
    if container.record.log.driver == "none":
        raise Unsupported("configured logging driver does not support reading")
    # The watch is opened before the file is read: what is written in between is announced.
    watch = control.connect(workspace.layout, container.id) if query.follow else None
    return _chosen(_entries(LogReader(workspace.layout.container(container.id)), watch, query.tail), query)


def _entries(reader: LogReader, watch: socket.socket | None, tail: int) -> Iterator[Entry]:
    try:
        if watch is not None:
            watch.sendall(frame(Kind.WATCH))
            _await_growth(watch, FrameReader())  # until it answers that it watches
        if tail >= 0:
            yield from reader.skip_to_tail(tail)
        yield from reader.read()
        frames = FrameReader()
        while watch is not None and _await_growth(watch, frames):
            yield from reader.read()
        yield from reader.read()
    finally:
        reader.close()
        if watch is not None:
            watch.close()


def _await_growth(watch: socket.socket, frames: FrameReader) -> bool:
    """Wait for news; False once the container has ended."""
    try:
        data = watch.recv(65536)
    except ConnectionError:
        return False
    return bool(data) and all(kind != Kind.EXIT for kind, _ in frames.feed(data))


def _chosen(entries: Iterator[Entry], query: LogQuery) -> Iterator[LogLine]:
    since = timestamp(query.since) if query.since else ""
    until = timestamp(query.until) if query.until else ""
    for entry in entries:
        if until and entry.time > until:
            return
        if entry.time < since or not (query.stdout if entry.stream == "stdout" else query.stderr):
            continue
        yield LogLine(*entry)
