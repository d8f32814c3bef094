"""The launcher: a single-threaded process that forks supervisors for a program with threads.

A program with threads cannot fork safely, and one with a large heap not cheaply. Its engine starts this process
once, keeps it warm, and sends it jobs:

                                        launcher ──fork──▶ spare: opens the store and the helper, waits
    program ──encode(job) + descriptors (SCM_RIGHTS), one SOCK_SEQPACKET message──▶ spare, a supervisor now
                                        launcher ◀──taken─── ·
                                        launcher ──fork──▶ the next spare
            ◀───────────────── STARTED, FAILED, ... on the job's own channel ──────── ·

So that a start waits neither for a fork nor for a database to be opened: a quarter of what it took. The spare reads the
program's socket itself, of which each message has one reader. The launcher holds no store and no state, and ends
when the program closes its socket or dies. Containers stay.
"""

import _signal  # type: ignore[import-not-found] # `signal` itself turns every number into a name first
import gc
import os
import sys
import time

from tiffin.errors import EngineError
from tiffin.kernel import sockets as socket
from tiffin.state import Layout, locate
from tiffin.supervisor import jobs
from tiffin.supervisor.fork import fork_orphan
from tiffin.typed import Sequence

_MESSAGE = 1 << 18
_MOST_DESCRIPTORS = 4
_SOCKET = 3
_KILLED_PAUSE = 0.05  # seconds until a spare that died of something else than a job is replaced


class Launcher:
    """The program's handle of its launcher. `submit` may be called from any thread."""

    def __init__(self, layout: Layout) -> None:
        """Starts the process, for jobs of this layout; raises EngineError when it cannot."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            for end in (ours, theirs):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _MESSAGE)
            home = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
            program = (
                f"import sys; sys.path.insert(0, {home!r}); sys.dont_write_bytecode = True;"
                " from tiffin.supervisor.launcher import main; main()"
            )
            try:
                self._pid = os.posix_spawn(
                    sys.executable,
                    [sys.executable, "-I", "-S", "-c", program, layout.root, layout.run],
                    {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
                    file_actions=[(os.POSIX_SPAWN_DUP2, theirs.fileno(), _SOCKET)],
                    setsigmask=(),
                )
            except OSError as error:
                ours.close()
                raise EngineError(
                    f"cannot start the launcher with {sys.executable}: {error.strerror}"
                ) from error
        self._socket = ours

    def submit(self, job: jobs.Job, descriptors: Sequence[int]) -> None:
        """Hand a job over; its outcome comes on the job's channel. Raises EngineError when the launcher died."""
        try:
            socket.send_fds(self._socket, jobs.encode(job), list(descriptors))
        except OSError as error:
            raise EngineError(f"the launcher is gone: {error.strerror}; open the engine again") from error

    def close(self) -> None:
        """Let the launcher end; wait until it has."""
        self._socket.close()
        try:
            os.waitpid(self._pid, 0)
        except ChildProcessError:
            pass  # the program reaps its own children, ours among them


def main() -> None:
    """The launcher's whole life."""
    from tiffin.supervisor import work

    layout = locate(*sys.argv[1:3])
    for kind in (jobs.StartJob, jobs.ExecJob):
        work.load(kind)
    os.chdir("/")
    _signal.signal(_signal.SIGINT, _signal.SIG_IGN)
    _signal.signal(_signal.SIGCHLD, _signal.SIG_IGN)
    gc.collect()
    gc.freeze()
    with socket.socket(fileno=_SOCKET) as connection:
        os.set_inheritable(_SOCKET, False)
        while not _has_ended(connection):
            if not _spare_is_taken(connection, layout) and not _has_ended(connection):
                time.sleep(_KILLED_PAUSE)  # somebody killed it


def _spare_is_taken(connection: socket.socket, layout: Layout) -> bool:
    """Fork a spare and wait until it has a job; False when it ended without one."""
    taken, report = os.pipe2(os.O_CLOEXEC)
    with open(taken, "rb", buffering=0) as waiting:
        try:
            fork_orphan(lambda: _wait(connection, layout, report), [_SOCKET, report], reaped=True)
        finally:
            os.close(report)
        return bool(waiting.read(1))


def _wait(connection: socket.socket, layout: Layout, report: int) -> None:
    """The life of a spare, and of the supervisor that it becomes."""
    from tiffin.supervisor import work

    ready = work.make_ready(layout)
    with connection:
        received = receive(connection)
    if received is not None:
        try:
            os.write(report, b"\1")
        except BrokenPipeError:
            pass  # somebody killed the launcher, and not us: this job is done, the next one goes to another launcher
        os.close(report)
        work.do(*received, ready)


def _has_ended(connection: socket.socket) -> bool:
    """Whether the program has closed its end, or died."""
    try:
        return not connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except BlockingIOError:
        return False
    except OSError:
        return True


def receive(connection: socket.socket) -> tuple[jobs.Job, list[int]] | None:
    """The next job and its descriptors, close-on-exec; None at the end of file."""
    message, descriptors = socket.recv_fds(connection, _MESSAGE, _MOST_DESCRIPTORS)
    if not message:
        return None
    return jobs.decode(message), descriptors
