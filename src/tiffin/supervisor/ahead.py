"""A supervisor, or the keeper of an exec, forked before it is known what for.

The process is forked first: it loads the runtime, and opens what a start needs, while `run` looks up the image and
writes the record, and while `exec` looks up the container; with two processors at the same time.

    caller ──encode(job) + descriptors (SCM_RIGHTS), one message──▶ it does the job
           ──end of file: nothing was made──────────────────────▶ it ends
"""

import gc

from tiffin.kernel import sockets as socket
from tiffin.state import Layout
from tiffin.supervisor import jobs
from tiffin.supervisor.fork import fork_orphan
from tiffin.supervisor.launcher import receive
from tiffin.typed import Sequence


class Ahead:
    """The caller's handle of a waiting process, good for one job. Made, as every fork, in a process with one
    thread and no connection to the database."""

    def __init__(self, kind: type[jobs.Job], layout: Layout, *, brief: bool = False) -> None:
        """For one job of this kind and layout. `brief`: this process ends soon, so the other may be its child until
        then, and a second fork is spared."""
        self.kind = kind
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            try:
                fork_orphan(lambda: _await_job(kind, layout, theirs), [theirs.fileno()], reaped=brief)
            except BaseException:
                ours.close()
                raise
        self._socket = ours

    def submit(self, job: jobs.Job, descriptors: Sequence[int]) -> bool:
        """Hand the job over; its outcome comes on the job's channel. False when somebody killed the process.
        Closes the handle."""
        try:
            socket.send_fds(self._socket, jobs.encode(job), list(descriptors))
        except OSError:
            return False
        finally:
            self.close()
        return True

    def close(self) -> None:
        """Let it end when it has no job. Idempotent."""
        self._socket.close()


def _await_job(kind: type[jobs.Job], layout: Layout, connection: socket.socket) -> None:
    gc.disable()  # what is loaded now stays: to look for what may go would cost a quarter of it
    from tiffin.supervisor import work

    work.load(kind)
    gc.freeze()
    gc.enable()
    with connection:
        ready = work.make_ready(layout, kind)
        received = receive(connection)
    if received is not None:
        work.do(*received, ready)
