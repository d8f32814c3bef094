"""One process for each step that is executed, and the typed messages it sends back.

    builder                               worker (forked, single-threaded)
      │ fork ───────────────────────────────► │
      │ ◄───────────── LOG stream, bytes ──── │   as often as it likes
      │ ◄───────────── RESULT json ────────── │   once, or
      │ ◄───────────── FAILED class, text ─── │   once
      │ ◄─────────────────────────── EOF ──── │   it has ended, whatever way

A message is a kind (u8) and a length (u32, little endian), then that many bytes. A worker that is told to
stop (SIGTERM, also sent by the kernel when the builder dies) raises `Stopped` and undoes what it has begun.
Ctrl-C at a terminal reaches workers too, and so does its hanging up; they leave both to the builder.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from contextlib import suppress

from tiffin.errors import EngineError, TiffinError
from tiffin.jsontext import dumps, loads
from tiffin.kernel import process
from tiffin.typed import TYPE_CHECKING, Any, NamedTuple

# `signal` and what a worker alone needs are imported where they are: a build whose steps are all cached has none.
if TYPE_CHECKING:
    from types import FrameType

_HEADER = struct.Struct("<BI")
_LOG_OUT, _LOG_ERR, _RESULT, _FAILED, _EVENT = 1, 2, 3, 4, 5
_PIECE = 1 << 16
_MESSAGE_MAX = 64 << 20


class Stopped(BaseException):
    """The worker has been told to stop. Not an Exception: nothing on the way may take it for a failure of its
    own."""


class Log(NamedTuple):
    stream: int
    data: bytes


class Result(NamedTuple):
    value: dict[str, Any]


class Failed(NamedTuple):
    error: TiffinError


class Told(NamedTuple):
    """Whatever two ends have agreed on."""

    value: dict[str, Any]


Message = Log | Result | Failed | Told


class Channel:
    """The worker's end."""

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def log(self, stream: int, data: bytes) -> None:
        for at in range(0, len(data), _PIECE):
            self._send(stream, data[at : at + _PIECE])

    def tell(self, value: dict[str, Any]) -> None:
        self._send(_EVENT, dumps(value).encode())

    def result(self, value: dict[str, Any]) -> None:
        self._send(_RESULT, dumps(value).encode())

    def failed(self, error: BaseException) -> None:
        self._send(_FAILED, dumps(_error_document(error)).encode())

    def _send(self, kind: int, data: bytes) -> None:
        view = memoryview(_HEADER.pack(kind, len(data)) + data)
        while view:
            view = view[os.write(self.fd, view) :]


class Worker:
    """The builder's end. `fd` is readable when there is something to `receive`."""

    def __init__(self, pid: int, pidfd: int, fd: int) -> None:
        self.pid = pid
        self.fd = fd
        self._pidfd = pidfd
        self._buffer = bytearray()
        self.ended = False

    def receive(self) -> list[Message]:
        """The messages that have arrived; sets `ended` at the end of the stream. Waits when there are
        none."""
        data = os.read(self.fd, 1 << 18)
        if not data:
            self.ended = True
        self._buffer += data
        messages: list[Message] = []
        while len(self._buffer) >= _HEADER.size:
            kind, length = _HEADER.unpack_from(self._buffer)
            if length > _MESSAGE_MAX:
                raise EngineError(f"build worker {self.pid} sent a message of {length} bytes")
            if len(self._buffer) < _HEADER.size + length:
                break
            body = bytes(self._buffer[_HEADER.size : _HEADER.size + length])
            del self._buffer[: _HEADER.size + length]
            messages.append(_message(kind, body))
        return messages

    def stop(self) -> None:
        """Ask it to undo and end. Idempotent."""
        import signal

        with suppress(ProcessLookupError):
            process.pidfd_send_signal(self._pidfd, signal.SIGTERM)

    def drain(self) -> None:
        """Throw away what it still says, so that it can end."""
        while os.read(self.fd, 1 << 18):
            pass

    def close(self) -> int:
        """Wait for its end; its exit code, negative for a signal."""
        _, status = os.waitpid(self.pid, 0)
        os.close(self.fd)
        os.close(self._pidfd)
        return os.waitstatus_to_exitcode(status)


def start(task: Callable[[Channel], dict[str, Any]]) -> Worker:
    """Run `task` in a forked process; it returns the RESULT. The caller must have one thread only."""
    if process.thread_count() != 1:
        raise EngineError("a build step can only be forked from a process with one thread")
    reader, writer = os.pipe2(os.O_CLOEXEC)
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        status = 70
        try:
            os.close(reader)
            status = _work(task, Channel(writer), parent)
        finally:
            os._exit(status)  # never back into the builder's code, whatever was raised
    os.close(writer)
    return Worker(pid, process.pidfd_open(pid), reader)


def call(task: Callable[[Channel], dict[str, Any]]) -> dict[str, Any]:
    """Run `task` in a worker and wait for its result. Raises what it failed of."""
    worker = start(task)
    found: dict[str, Any] | None = None
    try:
        while not worker.ended:
            for message in worker.receive():
                if isinstance(message, Failed):
                    raise message.error
                if isinstance(message, Result):
                    found = message.value
    finally:
        worker.stop()
        worker.drain()
        status = worker.close()
    if found is None:
        raise EngineError(f"a build worker ended with {status} and said nothing")
    return found


def _work(task: Callable[[Channel], dict[str, Any]], channel: Channel, parent: int) -> int:
    import gc
    import signal

    from tiffin.kernel.mounts import MS_PRIVATE, MS_REC, mount
    from tiffin.kernel.namespaces import CLONE_NEWNS, unshare

    gc.disable()  # one step, without cycles; collecting would only look through what the builder holds, and copy it
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _on_stop)
    process.set_pdeathsig(signal.SIGTERM)
    if os.getppid() != parent:  # it died before that
        return 1
    try:
        # What a step mounts by path, if it must, is nobody else's.
        unshare(CLONE_NEWNS)
        mount(None, "/", None, MS_REC | MS_PRIVATE)
        channel.result(task(channel))
    except Stopped:
        return 1
    except BrokenPipeError:  # the builder has gone
        return 1
    except BaseException as error:  # noqa: BLE001 - the other process raises it
        with suppress(BrokenPipeError, Stopped):
            channel.failed(error)
        return 1
    return 0


def _on_stop(_number: int, _frame: FrameType | None) -> None:
    import signal

    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # once: what is undone now must not be cut short
    raise Stopped


def _error_document(error: BaseException) -> dict[str, Any]:
    if isinstance(error, TiffinError):
        details = {key: value for key, value in vars(error).items() if isinstance(value, str | int)}
        return {"class": type(error).__name__, "text": str(error), "details": details}
    if isinstance(error, OSError):
        import errno

        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return {
                "class": "NoSpace",
                "text": "no space left on the disk of the store; free some and try again",
            }
    import traceback

    text = "".join(traceback.format_exception(error))
    return {"class": "EngineError", "text": f"{type(error).__name__}: {error}", "details": {"trace": text}}


def _message(kind: int, body: bytes) -> Message:
    if kind in (_LOG_OUT, _LOG_ERR):
        return Log(kind, body)
    document = loads(body)
    if kind in (_RESULT, _EVENT):
        return Result(document) if kind == _RESULT else Told(document)
    found = _class_named(document["class"], TiffinError) or EngineError
    error = TiffinError.__new__(found)
    Exception.__init__(error, document["text"])
    for name, value in document.get("details", {}).items():
        setattr(error, name, value)
    return Failed(error)


def _class_named(name: str, below: type[TiffinError]) -> type[TiffinError] | None:
    """The error class of that name, this room's own included."""
    for each in below.__subclasses__():
        found = each if each.__name__ == name else _class_named(name, each)
        if found is not None:
            return found
    return None
