"""Doing a job, in the process forked for it."""

import socket
from collections.abc import Sequence

from tiffin.supervisor import failure, frames
from tiffin.supervisor.jobs import ExecJob, Job


def load(job: type[Job]) -> None:
    """Import what a job of this kind needs: before the fork, so that the processes share it."""
    if job is ExecJob:
        import tiffin.supervisor.keep
    else:
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
