"""A build for a program that has threads: the whole of it in a process of its own, which has one.

program                                 python -c "... apart.main()"
  │ fd 0: the request, json ──────────────► │
  │ ◄─────────────── EVENT, json ────────── │ fd 3, as `workers` words its messages
  │ ◄─────────────── RESULT or FAILED ───── │
"""

from __future__ import annotations

import base64
import json
import os
import sys

from tiffin.build import progress as events
from tiffin.build.progress import Event, StepLog
from tiffin.build.workers import Channel, Failed, Result, Told, Worker
from tiffin.errors import EngineError, InvalidArgument
from tiffin.kernel import process
from tiffin.state import Layout
from tiffin.typed import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tiffin.build.request import BuildRequest, BuildResult

_CODE = "import sys; sys.path[:] = {path!r}; from tiffin.build import apart; apart.main()"
_REPORT, _STREAM = 3, 4


def build_apart(layout: Layout, request: BuildRequest) -> BuildResult:
    """As `Builder.build` with the engine's own way to run a step. Events reach `request.progress` in this thread.
    Raises InvalidArgument for a request with a shell: nothing but this request reaches that process."""
    from tiffin.build.request import BuildResult

    if request.shell_fd >= 0:
        raise InvalidArgument(
            "a shell in a failed step is for programs with one thread, or for the engine's builds"
        )

    worker = _spawn(layout, request)
    result: dict[str, Any] | None = None
    try:
        while not worker.ended:
            for message in worker.receive():
                if isinstance(message, Told):
                    request.progress(_event(message.value))
                elif isinstance(message, Failed):
                    raise message.error
                elif isinstance(message, Result):
                    result = message.value
    finally:
        worker.stop()
        worker.drain()
        status = worker.close()
    if result is None:
        raise EngineError(f"the build's process ended with {status} and said nothing")
    return BuildResult(
        result["image_id"], tuple(result["names"]), tuple(result["warnings"]), tuple(result["checks"])
    )


def _spawn(layout: Layout, request: BuildRequest) -> Worker:
    memory = os.memfd_create("tiffin-build", os.MFD_CLOEXEC)
    reader, writer = os.pipe2(os.O_CLOEXEC)
    try:
        with open(memory, "w", encoding="utf-8", errors="surrogateescape", closefd=False) as file:
            file.write(json.dumps({"layout": layout, "request": _request_document(request)}))
        os.lseek(memory, 0, os.SEEK_SET)
        actions = [(os.POSIX_SPAWN_DUP2, memory, 0), (os.POSIX_SPAWN_DUP2, writer, _REPORT)]
        if request.stdin >= 0:
            actions.append((os.POSIX_SPAWN_DUP2, request.stdin, _STREAM))
        code = _CODE.format(path=[os.path.abspath(entry) for entry in sys.path])
        pid = os.posix_spawn(
            sys.executable,
            [sys.executable, "-I", "-c", code],
            dict(os.environ),
            file_actions=actions,
        )
    except BaseException:
        os.close(reader)
        raise
    finally:
        os.close(memory)
        os.close(writer)
    return Worker(pid, process.pidfd_open(pid), reader)


def _request_document(request: BuildRequest) -> dict[str, Any]:
    from tiffin.build.request import with_absolute_paths

    fields = with_absolute_paths(request)._asdict()
    document = {key: value for key, value in fields.items() if key != "progress"}
    if isinstance(request.dockerfile, bytes):
        document["dockerfile"] = {"base64": base64.b64encode(request.dockerfile).decode()}
    for key in ("build_args", "labels", "contexts", "limits"):
        document[key] = dict(document[key])
    if request.stdin >= 0:
        document["stdin"] = _STREAM
    return document


def main() -> None:
    """The child: one request from fd 0, messages to fd 3."""
    from tiffin.build.builder import Builder
    from tiffin.build.request import BuildRequest
    from tiffin.build.running.run import Runner
    from tiffin.content import LocalContent
    from tiffin.images import Images
    from tiffin.snapshot import Snapshots
    from tiffin.state import open_store

    os.set_inheritable(_REPORT, False)
    channel = Channel(_REPORT)
    with open(0, encoding="utf-8", errors="surrogateescape", closefd=False) as file:
        document = json.load(file)
    options = document["request"]
    if isinstance(options["dockerfile"], dict):
        options["dockerfile"] = base64.b64decode(options["dockerfile"]["base64"])
    for key in ("tags", "secrets", "ssh", "allow", "hosts", "fresh"):
        options[key] = tuple(options[key])
    options["ulimits"] = tuple(tuple(each) for each in options["ulimits"])
    if options["stdin"] >= 0:
        os.set_inheritable(_STREAM, False)
    layout = Layout(*document["layout"])
    try:
        store = open_store(layout)
        images = Images(store, LocalContent(layout), Snapshots(store))
        request = BuildRequest(**options, progress=lambda event: channel.tell(_event_document(event)))
        result = Builder(store, images, Runner(layout)).build(request)
        channel.result(result._asdict())
    except BrokenPipeError:  # the program has gone
        sys.exit(1)
    except Exception as error:  # noqa: BLE001 - the program raises it
        channel.failed(error)
        sys.exit(1)


def _event_document(event: Event) -> dict[str, Any]:
    fields: list[Any] = list(event)
    if isinstance(event, StepLog):
        fields[2] = base64.b64encode(event.data).decode()
    return {"event": type(event).__name__, "fields": fields}


def _event(document: dict[str, Any]) -> Event:
    fields = document["fields"]
    if document["event"] == StepLog.__name__:
        return StepLog(fields[0], fields[1], base64.b64decode(fields[2]))
    fields = [tuple(each) if isinstance(each, list) else each for each in fields]
    made: Event = getattr(events, document["event"])(*fields)
    return made
