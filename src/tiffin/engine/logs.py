"""logs: the container's log, from the end or from the beginning, and as it grows."""

from __future__ import annotations

from collections.abc import Iterator

from tiffin.engine import recovery
from tiffin.engine.options import LogLine
from tiffin.errors import Unsupported
from tiffin.kernel import sockets as socket
from tiffin.supervisor import control
from tiffin.supervisor.frames import FrameReader, Kind, frame
from tiffin.supervisor.logs.files import timestamp
from tiffin.supervisor.logs.jsonfile import Entry
from tiffin.supervisor.logs.reader import LogReader
from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from tiffin.engine.options import LogQuery
    from tiffin.engine.workspace import Workspace


def entries(workspace: Workspace, reference: str, query: LogQuery) -> Iterator[LogLine]:
    """See ContainerService.log_entries. Errors about the reference come at the call, not at the first line."""
    with workspace.store() as store:
        container = recovery.truth(store, reference)
    driver = container.record.log.driver
    if driver == "none":
        raise Unsupported("configured logging driver does not support reading")
    # The watch is opened before the file is read: what is written in between is announced.
    watch = control.connect(workspace.layout, container.id) if query.follow else None
    reader = LogReader(workspace.layout.container(container.id), driver)
    return _chosen(_entries(reader, watch, query), query)


def lines(found: Iterator[LogLine]) -> Iterator[LogLine]:
    """Each line of each entry by itself."""
    for entry in found:
        if entry.data.find(b"\n") in (-1, len(entry.data) - 1):
            yield entry
            continue
        *whole, rest = entry.data.split(b"\n")
        for line in whole:
            yield LogLine(entry.stream, entry.time, line + b"\n")
        if rest:
            yield LogLine(entry.stream, entry.time, rest)


def _entries(reader: LogReader, watch: socket.socket | None, query: LogQuery) -> Iterator[Entry]:
    try:
        if watch is not None:
            watch.sendall(frame(Kind.WATCH))
            _await_growth(watch, FrameReader())  # until it answers that it watches
        if query.tail >= 0:
            yield from reader.skip_to_tail(query.tail)
        elif query.since:
            reader.skip_to_time(timestamp(query.since))
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
