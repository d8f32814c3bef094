"""The keeper of an exec: a session without a log or a control socket."""

from __future__ import annotations

import os

from tiffin.init import open_helper
from tiffin.kernel import sockets as socket
from tiffin.runtime.exec import ExecRequest, exec_process
from tiffin.state import locate
from tiffin.supervisor.client import Client
from tiffin.supervisor.frames import Kind
from tiffin.supervisor.jobs import ExecJob
from tiffin.supervisor.session import Session
from tiffin.supervisor.stdio import Stdio, open_stdio
from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from tiffin.runtime.external import External
    from tiffin.state import Layout, Store

_DRAIN = 0.5  # seconds for output of processes that the command left behind with its pipes


def _external(layout: Layout, container_id: str) -> External | None:
    """The other runtime that made the container, if one did."""
    directory = layout.container(container_id)
    if not os.path.exists(f"{directory}/runtime"):
        return None
    from tiffin.runtime import external

    return external.of_container(directory, container_id)


def keep_exec(job: ExecJob, channel: socket.socket, helper: int = -1, unused: Store | None = None) -> None:
    """Run the command, serve its streams to the channel, and say EXIT when it has ended. A caller that goes away
    changes nothing for the command. `helper`: the static helper when it is open already; `unused`: a store that is open
    and not needed, closed once nobody waits for that. Raises what `exec_process` raises."""
    layout = locate(job.root, job.run)
    terminal = bool(job.process["terminal"])
    ends = open_stdio(terminal=terminal, open_stdin=job.open_stdin)
    helper = helper if helper >= 0 else open_helper()
    try:
        process = exec_process(
            ExecRequest(
                pid=job.pid,
                pid_start=job.pid_start,
                cgroup=job.cgroup,
                process=job.process,
                seccomp=job.seccomp,
                stdio=ends.theirs,
                seccomp_cache=layout.cache,
                helper_fd=helper,
                external=_external(layout, job.container),
            )
        )
    except BaseException:
        ends.close_ours()
        raise
    finally:
        os.close(helper)
        ends.close_theirs()
    client = Client(channel, job.wants)
    client.queue(Kind.STARTED)
    if unused is not None:
        unused.close()
    stdio = Stdio(console=process.console_fd) if terminal else ends.ours
    session = Session(process.pidfd, stdio, stdin_once=True, drain=_DRAIN)
    session.add(client)
    session.run()
    session.finish(process.wait())
