"""exec: a further command in a running container, kept by a process of its own."""

from __future__ import annotations

from tiffin.containers.environment import merge_env, process_env
from tiffin.containers.security import parse_security_options
from tiffin.containers.states import check_takes_part
from tiffin.engine import recovery
from tiffin.engine.caller import Caller, wants
from tiffin.engine.detach import parse_keys
from tiffin.errors import InvalidArgument
from tiffin.runtime import defaults
from tiffin.runtime.spec import ContainerOptions, process
from tiffin.state.events import tell
from tiffin.supervisor.jobs import ExecJob
from tiffin.typed import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tiffin.containers import ContainerRecord
    from tiffin.engine.options import ExecOptions, Streams
    from tiffin.engine.workspace import Workspace
    from tiffin.kernel import sockets as socket


def exec_attached(workspace: Workspace, reference: str, options: ExecOptions, streams: Streams) -> int | None:
    """See ContainerService.exec."""
    parse_keys(streams.detach_keys)
    with Caller(streams, tty=options.tty, proxy=False) as caller:
        size = caller.size()
        with _submit(workspace, reference, options, streams, size) as channel:
            from tiffin.engine.relay import relay  # while the other side works

            return relay(channel, caller, size)


def exec_detached(workspace: Workspace, reference: str, options: ExecOptions) -> None:
    """See ContainerService.exec_detached."""
    with _submit(workspace, reference, options, None) as channel:
        from tiffin.engine.relay import await_started  # while the other side works

        await_started(channel)


def _submit(
    workspace: Workspace,
    reference: str,
    options: ExecOptions,
    streams: Streams | None,
    size: tuple[int, int] = (0, 0),
) -> socket.socket:
    if not options.command:
        raise InvalidArgument("No exec command specified")
    with workspace.store() as store:
        container = recovery.truth(store, reference)
        check_takes_part(container.id, container.status, "exec")
        words = " ".join(options.command)
        tell(store, f"exec_create: {words}", container.id, then=f"exec_start: {words}")
    layout = workspace.layout
    job = ExecJob(
        layout.root,
        layout.run,
        container.id,
        container.record.cgroup(layout.cgroup),
        container.pid,
        container.pid_start,
        {**exec_process(container.record, options), "consoleSize": {"height": size[0], "width": size[1]}},
        _seccomp(container.record, options),
        options.open_stdin,
        wants(streams) if streams else 0,
    )
    return workspace.submit(job)


def _seccomp(record: ContainerRecord, options: ExecOptions) -> dict[str, Any] | None:
    profile = parse_security_options(record.security_opts).seccomp
    unfiltered = record.privileged or options.privileged or profile == "unconfined"
    return None if unfiltered else {"profile": profile}


def exec_process(record: ContainerRecord, options: ExecOptions) -> dict[str, Any]:
    """The OCI process object of an exec: the container's own rights, or every one when privileged."""
    env = process_env(record._replace(env=merge_env(options.env, record.env)), tty=options.tty)
    privileged = record.privileged or options.privileged
    granted = defaults.choose_capabilities(record.cap_add, record.cap_drop, privileged=privileged).granted
    return process(
        ContainerOptions(
            argv=options.command,
            env=env,
            cwd=options.workdir or record.cwd,
            user=options.user or record.user,
            groups=() if options.user else record.group_add,
            terminal=options.tty,
            capabilities=granted,
            privileged=privileged,
            no_new_privileges=parse_security_options(record.security_opts).no_new_privileges,
            rlimits=defaults.rlimits(record.ulimits),
            oom_score_adj=record.oom_score_adj,
        )
    )
