"""stats: what a container uses, and the rates that two looks make, by Docker's formulas."""

from __future__ import annotations

import os
import time

from tiffin.containers.states import LIVE
from tiffin.containers.store import Container, Containers
from tiffin.engine import recovery
from tiffin.errors import NotFound
from tiffin.kernel.process import process_start_time
from tiffin.runtime.cgroups import Stats, detect, open_cgroup
from tiffin.typed import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tiffin.engine.workspace import Workspace
    from tiffin.runtime.cgroups import Hierarchies
    from tiffin.state import Store

_NOTHING = Stats(*(0,) * len(Stats._fields))


class Sample(NamedTuple):
    """One look. `taken` in ns of the monotonic clock, `system` the CPU time of all of the machine in ns; `received` and
    `sent` bytes of its interfaces but the loopback one, 0 in the host's network. All 0 when it does not run."""

    id: str
    name: str
    running: bool
    taken: int
    system: int
    online_cpus: int
    cgroup: Stats
    memory_total: int
    received: int = 0
    sent: int = 0


class Usage(NamedTuple):
    """What people are shown. `cpu` and `memory_percent` in per cent (of one CPU: 200 is two of them busy); `memory`
    without file pages that could go at once; `memory_limit` the machine's memory when there is none."""

    cpu: float
    memory: int
    memory_limit: int
    memory_percent: float
    received: int
    sent: int
    read: int
    written: int
    pids: int


def sample(workspace: Workspace, reference: str) -> Sample:
    """See ContainerService.stats."""
    with workspace.store() as store:
        return _look(store, recovery.truth(store, reference), detect())


def samples(workspace: Workspace, references: Sequence[str] = (), *, show_all: bool = False) -> list[Sample]:
    """One look at each of `references`, or at every container that runs (exists, with `show_all`). Raises NotFound."""
    hierarchies = detect()
    with workspace.store() as store:
        recovery.reconcile(store)
        rows = Containers(store)
        if references:
            found = [rows.find(reference) for reference in references]
        else:
            found = rows.all() if show_all else rows.in_states(LIVE)
        return [_look(store, container, hierarchies) for container in found]


def stream(workspace: Workspace, reference: str, interval: float) -> Iterator[tuple[Sample, Usage]]:
    """See ContainerService.stats_stream."""
    before = None
    now = sample(workspace, reference)
    while now.running:
        yield now, usage(now, before)
        time.sleep(interval)
        try:
            before, now = now, sample(workspace, now.id)
        except NotFound:
            return


def usage(sample: Sample, before: Sample | None) -> Usage:
    """Of a container whose earlier look was `before`; without one, the CPU counts as idle."""
    cpu = 0.0
    if before is not None and before.id == sample.id:
        used, elapsed = sample.cgroup.cpu - before.cgroup.cpu, sample.system - before.system
        if used > 0 and elapsed > 0:
            cpu = used / elapsed * sample.online_cpus * 100
    now = sample.cgroup
    memory = max(now.memory, 0)
    if 0 < now.memory_inactive_file < memory:
        memory -= now.memory_inactive_file
    limit = sample.memory_total
    if 0 < now.memory_limit < limit:
        limit = now.memory_limit
    return Usage(
        cpu=cpu,
        memory=memory,
        memory_limit=limit if sample.running else 0,
        memory_percent=memory / limit * 100 if limit else 0.0,
        received=sample.received,
        sent=sample.sent,
        read=now.read_bytes,
        written=now.write_bytes,
        pids=max(now.pids, 0),
    )


def _look(store: Store, container: Container, hierarchies: Hierarchies) -> Sample:
    running = container.status in LIVE
    used, received, sent = _NOTHING, 0, 0
    if running:
        used = open_cgroup(container.record.cgroup(store.layout.cgroup), hierarchies).stats()
        if container.record.network != "host":
            received, sent = _interfaces(container)
    return Sample(
        id=container.id,
        name=container.name,
        running=running,
        taken=time.monotonic_ns(),
        system=system_time(),
        online_cpus=os.cpu_count() or 1,
        cgroup=used,
        memory_total=os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
        received=received,
        sent=sent,
    )


def system_time() -> int:
    """The CPU time that all of the machine's CPUs spent since boot, idle or not, in ns (proc(5), /proc/stat): user to
    steal; a guest's is part of user's."""
    with open("/proc/stat", encoding="ascii") as file:
        ticks = sum(int(word) for word in file.readline().split()[1:9])
    return ticks * 1_000_000_000 // os.sysconf("SC_CLK_TCK")


def _interfaces(container: Container) -> tuple[int, int]:
    """Bytes received and sent in the container's network namespace, by all interfaces but the loopback one."""
    try:
        with open(f"/proc/{container.pid}/net/dev", encoding="utf-8", errors="replace") as file:
            lines = file.read().splitlines()[2:]
    except OSError:
        return 0, 0  # it has just ended
    if process_start_time(container.pid) != container.pid_start:
        return 0, 0
    received = sent = 0
    for line in lines:
        name, _, counters = line.partition(":")
        if name.strip() != "lo":
            words = counters.split()
            received, sent = received + int(words[0]), sent + int(words[8])
    return received, sent
