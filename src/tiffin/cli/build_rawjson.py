"""`--progress rawjson`: what a build does as BuildKit's SolveStatus, one JSON object a line.

{"vertexes": [...]}   a step, again whenever it has changed: digest, inputs, name, started, completed, cached, error
{"statuses": [...]}   how much of something has come: id, vertex, current, total, timestamp, started, completed
{"logs": [...]}       output: vertex, stream (1 or 2), data in base64, timestamp
{"warnings": [...]}   level, short in base64
"""

import base64
import json
import time

from tiffin.build.progress import (
    Event,
    Fetching,
    Notice,
    Sending,
    StepCached,
    StepDone,
    StepFailed,
    StepLog,
    StepReason,
    StepStarted,
    StepTransfer,
    StepWaiting,
)
from tiffin.oci.digest import sha256
from tiffin.typed import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing import TextIO

_WAITS = "waiting for another build"


class RawJsonProgress:
    """Writes to `stream`. `at` is when what is told happened, in nanoseconds since the epoch; 0: now."""

    def __init__(self, stream: "TextIO") -> None:
        self._stream = stream
        self._vertexes: dict[int, dict[str, Any]] = {}
        self._images: dict[str, dict[str, Any]] = {}
        self._statuses: dict[tuple[str, str], dict[str, Any]] = {}
        self.at = 0

    def __call__(self, event: Event, /) -> None:
        now = _time(self.at or time.time_ns())
        if isinstance(event, StepStarted | StepCached | StepWaiting):
            self._step(event, now)
        elif isinstance(event, StepDone):
            self._vertex(self._vertexes[event.step], completed=now)
        elif isinstance(event, StepFailed):
            self._vertex(self._vertexes[event.step], completed=now, error=event.error)
        elif isinstance(event, StepLog):
            log = {"vertex": self._vertexes[event.step]["digest"], "stream": event.stream}
            self._write("logs", {**log, "data": _base64(event.data), "timestamp": now})
        elif isinstance(event, StepTransfer):
            vertex = self._vertexes[event.step]
            done = event.current == event.total
            self._status(vertex["digest"], event.name, now, event.current, event.total, done=done)
        elif isinstance(event, Notice):
            self._write("warnings", {"level": 1, "short": _base64(event.text.encode("utf-8", "replace"))})
        elif isinstance(event, StepReason):
            data = "".join(f"ran because {reason}\n" for reason in event.reasons).encode("utf-8", "replace")
            log = {"vertex": self._vertexes[event.step]["digest"], "stream": 2, "data": _base64(data)}
            self._write("logs", {**log, "timestamp": now})
        elif isinstance(event, Fetching | Sending):
            self._transfer(event, now)

    def _step(self, event: StepStarted | StepCached | StepWaiting, now: str) -> None:
        """That a step waits for another build is a status of it, which is over when it goes on."""
        vertex = {"digest": event.digest, "inputs": list(event.inputs), "name": event.name}
        vertex["started"] = self._vertexes.get(event.step, {}).get("started", now)
        self._vertexes[event.step] = vertex
        if isinstance(event, StepCached):
            self._vertex(vertex, completed=now, cached=True)
        else:
            self._vertex(vertex)
        if isinstance(event, StepWaiting):
            self._status(event.digest, _WAITS, now, 0, 1)
        elif (event.digest, _WAITS) in self._statuses:
            self._status(event.digest, _WAITS, now, 1, 1, done=True)

    def _transfer(self, event: Fetching | Sending, now: str) -> None:
        """An image is a vertex, a layer of it a status."""
        doing = "load" if isinstance(event, Fetching) else "push"
        name = f"[internal] {doing} {event[0]}"
        vertex = self._images.get(name)
        if vertex is None:
            digest = f"sha256:{sha256(name.encode('utf-8', 'replace'))}"
            vertex = self._images[name] = {"digest": digest, "name": name}
            self._vertex(vertex, started=now)
        if event.id and event.current >= 0:
            self._status(vertex["digest"], event.id, now, event.current, event.total)
        elif (vertex["digest"], event.id) in self._statuses:
            last = self._statuses[vertex["digest"], event.id]
            current, total = last["current"], last.get("total", -1)
            done = event.status in ("Download complete", "Pull complete", "Pushed")
            self._status(
                vertex["digest"], event.id, now, total if done and total > 0 else current, total, done=done
            )
        elif event.status.startswith("Status: ") or ": digest: " in event.status:
            self._vertex(vertex, completed=now)

    def _vertex(self, vertex: dict[str, Any], **changes: Any) -> None:
        vertex.update(changes)
        self._write("vertexes", {key: value for key, value in vertex.items() if value})

    def _status(
        self, vertex: str, name: str, now: str, current: int, total: int, *, done: bool = False
    ) -> None:
        status = self._statuses.setdefault((vertex, name), {"id": name, "vertex": vertex, "started": now})
        status.update(current=current, timestamp=now)
        if total > 0:
            status["total"] = total
        if done:
            status["completed"] = now
        self._write("statuses", status)

    def _write(self, kind: str, value: dict[str, Any]) -> None:
        self._stream.write(json.dumps({kind: [value]}, separators=(",", ":")) + "\n")
        self._stream.flush()


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _time(nanoseconds: int) -> str:
    """RFC 3339, as Go writes it."""
    seconds, rest = divmod(nanoseconds, 10**9)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{rest:09d}Z"
