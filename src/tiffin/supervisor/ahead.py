"""A supervisor, or the keeper of an exec, forked before it is known what for.

The process is forked first: it loads the runtime while `run` looks up the image and writes the record, and while `exec`
looks up the container; with two processors at the same time.

    caller ──encode(job) + descriptors (SCM_RIGHTS), one message──▶ it does the job
           ──end of file: nothing was made──────────────────────▶ it ends
"""

from tiffin.kernel import sockets as socket
from tiffin.supervisor import jobs
from tiffin.supervisor.fork import fork_orphan
from tiffin.supervisor.launcher import receive
from tiffin.typed import Sequence


class Ahead:
    """The caller's handle of a waiting process, good for one job. Made, as every fork, in a process with one
    thread and no connection to the database."""

    def __init__(self, kind: type[jobs.Job]) -> None:
        self.kind = kind
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            try:
                fork_orphan(lambda: _await_job(kind, theirs), [theirs.fileno()])
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


def _await_job(kind: type[jobs.Job], connection: socket.socket) -> None:
    from tiffin.supervisor import work

    work.load(kind)
    with connection:
        received = receive(connection)
    if received is not None:
        work.do(*received)
