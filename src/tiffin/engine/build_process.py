"""A build in a process of its own, for a program with threads.

    program ──(root, run, request)──▶ builder process
            ◀── event, event, ... ───
            ◀── result or error ─────   and it ends; it also ends, killed, with the program

Both ends are this program's: the values travel as pickles over a socket pair that nobody else has.
"""

from __future__ import annotations

import fcntl
import os
import pickle
import signal
import socket
import sys
from contextlib import ExitStack
from struct import Struct

from tiffin.build.progress import StepShell, silent
from tiffin.build.request import BuildRequest, BuildResult, with_absolute_paths
from tiffin.errors import EngineError
from tiffin.kernel.process import set_pdeathsig
from tiffin.state import Layout, locate, open_store
from tiffin.typed import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tiffin.build.progress import Event

_LENGTH = Struct("!I")
_SOCKET, _STREAM, _SHELL = 3, 4, 5


def build_apart(layout: Layout, request: BuildRequest) -> BuildResult:
    """Build there, passing events on here. Raises what the build raised."""
    ours, theirs = socket.socketpair()
    with ours:
        with theirs:
            pid = _spawn(theirs, request)
        try:
            _send(
                ours,
                (
                    layout.root,
                    layout.run,
                    with_absolute_paths(request)._replace(progress=silent),
                ),
            )
            while True:
                kind, value = _receive(ours)
                if kind == "event":
                    request.progress(value)
                elif kind == "result":
                    result: BuildResult = value
                    return result
                else:
                    raise _revive(*value)
        except EOFError:
            raise EngineError("the build's process died; try again") from None
        except BaseException:
            os.kill(pid, signal.SIGTERM)  # our child, not yet reaped
            raise
        finally:
            ours.close()
            os.waitpid(pid, 0)


def _spawn(theirs: socket.socket, request: BuildRequest) -> int:
    paths = [path for path in sys.path if path]
    program = f"import sys; sys.path[:] = {paths!r}; from tiffin.engine.build_process import main; main()"
    actions = [(os.POSIX_SPAWN_DUP2, theirs.fileno(), _SOCKET)]
    # Where one of these lies on a place that is filled before it, it would be lost.
    with ExitStack() as moved:
        for fd, place in ((request.stdin, _STREAM), (request.shell_fd, _SHELL)):
            if fd >= 0:
                high = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _SHELL + 1)
                moved.callback(os.close, high)
                actions.append((os.POSIX_SPAWN_DUP2, high, place))
        return _start(program, actions)


def _start(program: str, actions: list[Any]) -> int:
    return os.posix_spawn(
        sys.executable,
        [sys.executable, "-I", "-c", program],
        os.environ,
        file_actions=actions,
        setsigmask=(),
    )


def main() -> None:
    """The builder process."""
    from tiffin.engine.building import build_in

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # an exception, so that steps are undone
    signal.signal(
        signal.SIGINT, signal.SIG_IGN
    )  # of the terminal: the program that asked hears it, and tells us
    set_pdeathsig(signal.SIGTERM)
    with socket.socket(fileno=_SOCKET) as connection:
        os.set_inheritable(_SOCKET, False)
        root, run, request = _receive(connection)

        def progress(event: Event, /) -> None:
            if isinstance(event, StepShell):
                os.close(_SHELL)  # the worker's copy is the last
            _send(connection, ("event", event))

        store = open_store(locate(root, run))
        try:
            if request.stdin >= 0:
                os.set_inheritable(_STREAM, False)
                request = request._replace(stdin=_STREAM)
            if request.shell_fd >= 0:
                os.set_inheritable(_SHELL, False)
                request = request._replace(shell_fd=_SHELL)
            result = build_in(store, request._replace(progress=progress))
            _send(connection, ("result", result))
        except Exception as error:  # noqa: BLE001 - raised again in the program that asked
            _send(connection, ("error", (type(error), error.args, vars(error))))
        finally:
            store.close()


def _revive(kind: type[Exception], arguments: tuple[Any, ...], members: dict[str, Any]) -> Exception:
    """The error as it was. Not by calling its class: some make their message of other arguments."""
    error = kind.__new__(kind)
    error.args = arguments
    vars(error).update(members)
    return error


def _send(connection: socket.socket, value: object) -> None:
    data = pickle.dumps(value)
    connection.sendall(_LENGTH.pack(len(data)) + data)


def _receive(connection: socket.socket) -> Any:
    (length,) = _LENGTH.unpack(_exactly(connection, _LENGTH.size))
    return pickle.loads(_exactly(connection, length))  # noqa: S301 - from the process that we started, by its socket


def _exactly(connection: socket.socket, length: int) -> bytes:
    data = bytearray()
    while len(data) < length:
        piece = connection.recv(length - len(data))
        if not piece:
            raise EOFError
        data += piece
    return bytes(data)
