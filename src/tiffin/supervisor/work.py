"""Doing a job, in the process forked for it."""

from collections.abc import Sequence

from tiffin.errors import Unsupported
from tiffin.kernel import sockets as socket
from tiffin.supervisor import failure, frames
from tiffin.supervisor.jobs import ExecJob, Job


def load(job: type[Job]) -> None:
    """Import what a job of this kind needs: before the fork, or while the job is awaited, so that nothing is left to
    load when it is done. What is imported late elsewhere, since not every command needs it, is named here as well; a
    test holds that nothing is forgotten."""
    import codecs

    import tiffin.init.compile
    from tiffin.kernel import libc
    from tiffin.runtime import cgroups

    libc.bind()
    try:
        cgroups.open_cgroup("tiffin/none")  # makes nothing, loads the machine's version
    except Unsupported:
        pass  # to be told to whoever has a job
    codecs.lookup("ascii")  # which /proc is read with
    if job is ExecJob:
        import tiffin.supervisor.keep
    else:
        import tiffin.supervisor.logs.jsonfile
        import tiffin.supervisor.supervise  # noqa: F401 - loaded for later


def do(job: Job, descriptors: Sequence[int]) -> None:
    """Do the job to its end. Whatever goes wrong before the command runs is sent to the caller as FAILED."""
    channel = socket.socket(fileno=descriptors[0])
    try:
        if isinstance(job, ExecJob):
            from tiffin.supervisor.keep import keep_exec

            keep_exec(job, channel)
        else:
            from tiffin.supervisor.supervise import supervise

            supervise(job, channel, descriptors[1])
    except BaseException as error:  # noqa: BLE001 - the last frame of this process: nothing may pass it
        report(channel, error)


def report(channel: socket.socket, error: BaseException) -> None:
    """Send FAILED. The caller may be gone."""
    try:
        channel.setblocking(True)
        channel.sendall(frames.frame(frames.Kind.FAILED, failure.encode(error)))
    except OSError:
        pass
