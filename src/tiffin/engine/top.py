"""top: the host's own `ps` on the processes of a container, as Docker does it."""

from __future__ import annotations

import os

from tiffin.containers.states import can_kill
from tiffin.engine import recovery
from tiffin.errors import Conflict, EngineError, InvalidArgument
from tiffin.runtime.cgroups import open_cgroup
from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tiffin.engine.workspace import Workspace

_PS = ("/usr/bin/ps", "/bin/ps")
_OUTPUT_MAX = 16 << 20


def top(workspace: Workspace, reference: str, options: Sequence[str]) -> tuple[list[str], list[list[str]]]:
    """See ContainerService.top."""
    with workspace.store() as store:
        container = recovery.truth(store, reference)
        if not can_kill(container.status):
            raise Conflict(f"Container {container.id} is not running")
        pids = set(open_cgroup(container.record.cgroup(store.layout.cgroup)).pids())
    text = _ps([word for option in options for word in option.split()] or ["-ef"])
    return parse(text, pids)


def parse(text: str, pids: set[int]) -> tuple[list[str], list[list[str]]]:
    """The titles of ps's table, and its rows of these processes; the last column may hold blanks."""
    lines = text.splitlines()
    titles = lines[0].split() if lines else []
    if "PID" not in titles:
        raise InvalidArgument("Couldn't find PID field in ps output; let the options show it")
    at = titles.index("PID")
    rows = [line.split(None, len(titles) - 1) for line in lines[1:]]
    return titles, [row for row in rows if len(row) > at and row[at].isdigit() and int(row[at]) in pids]


def _ps(options: list[str]) -> str:
    path = next((found for found in _PS if os.access(found, os.X_OK)), "")
    if not path:
        raise EngineError("top needs the host's ps: install procps")
    reading, writing = os.pipe2(os.O_CLOEXEC)
    try:
        actions = [(os.POSIX_SPAWN_DUP2, writing, 1), (os.POSIX_SPAWN_DUP2, writing, 2)]
        pid = os.posix_spawn(
            path, ["ps", *options], {"PATH": "/usr/bin:/bin", "LC_ALL": "C"}, file_actions=actions
        )
        os.close(writing)
        writing = -1
        parts, size = [], 0
        while (data := os.read(reading, 65536)) and size < _OUTPUT_MAX:
            parts.append(data)
            size += len(data)
    finally:
        os.close(reading)
        if writing >= 0:
            os.close(writing)
    _, status = os.waitpid(pid, 0)
    text = b"".join(parts).decode("utf-8", "replace")
    if os.waitstatus_to_exitcode(status):
        first = (text.strip().splitlines() or ["it failed"])[0]
        raise InvalidArgument(f"error running ps: {first}")
    return text
