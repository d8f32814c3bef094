"""Running a further process in a container that runs.

    parent                                                    helper                     the command
      │ pidfd, user, terminal, cgroup: by descriptor
      ├── spawn ───────────────────────────────────────────────▶│ into the cgroup
      │                                                         │ setns(pidfd), clone ────▶│ ours to reap
      │◀──────────────── child pid, ready, end of file ─────────┤

Where the helper's message is not only ours (`adjust`, `listener`), a child is forked that enters the cgroup and becomes
the helper: it may have to lay out descriptors first.

The container's files are looked at through /proc/PID/root, opened once and checked to be that container's.
"""

from __future__ import annotations

import os

from tiffin.errors import Conflict, EngineError, TiffinError
from tiffin.init.launch import execute_helper, spawn_helper
from tiffin.init.message import CHILD, EXEC, FAILED, read_status
from tiffin.kernel.mounts import DEVPTS_SUPER_MAGIC, filesystem_type
from tiffin.kernel.namespaces import (
    CLONE_NEWCGROUP,
    CLONE_NEWIPC,
    CLONE_NEWNET,
    CLONE_NEWNS,
    CLONE_NEWPID,
    CLONE_NEWUTS,
)
from tiffin.kernel.paths import RESOLVE_NO_SYMLINKS, open_in_root
from tiffin.kernel.process import pidfd_open, pidfd_send_signal, process_start_time
from tiffin.runtime.cgroups import Cgroup, open_cgroup
from tiffin.runtime.forked import Child, Descriptors, raise_reported, read_all, reap, report
from tiffin.runtime.process import (
    await_executed,
    await_ready,
    check_process,
    failure,
    find_user,
    give_stdio,
    message_for,
    place_stdio,
)
from tiffin.runtime.seccomp import seccomp_filter
from tiffin.runtime.step import step
from tiffin.typed import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import NoReturn

    from tiffin.init.message import Message
    from tiffin.runtime.console import Terminal
    from tiffin.runtime.external import External

_JOIN = CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP


class ExecRequest(NamedTuple):
    """What makes a further process.

    pid, pid_start  the container's first process, as `InitProcess` gave them
    cgroup          path of the container's cgroup ("parent/id")
    process         a `process` object (see `tiffin.runtime.spec.process`)
    seccomp         the document's `linux.seccomp`; None for no filter
    stdio           descriptors for fds 0 to 2, used when process.terminal is false
    join            further namespaces to join, CLONE_NEW*: those that not every container has
    adjust          may change the helper's message
    listener        is told the joined process and the number of its seccomp filter's listener
    external        the other runtime whose container it is
    """

    pid: int
    pid_start: int
    cgroup: str
    process: dict[str, Any]
    seccomp: Mapping[str, Any] | None = None
    stdio: tuple[int, int, int] = (0, 1, 2)
    seccomp_cache: str = ""
    helper_fd: int = -1
    join: int = 0
    adjust: Callable[[Message], Message] | None = None
    listener: Callable[[int, int], None] | None = None
    external: External | None = None


class ExecProcess(Child):
    """The running command: a child of this process, in the container's namespaces."""


def exec_process(request: ExecRequest) -> ExecProcess:
    """Run the command. Returns once it is executed. Raises CommandNotFound, CommandNotExecutable, Conflict
    (the container does not run), InvalidArgument, EngineError; nothing of it remains then."""
    check_process(request.process)
    if request.external:
        return request.external.exec(request)
    fds = Descriptors()
    try:
        with step("open the container's process"):
            pidfd, root_fd = open_container(request, fds)
        user = find_user(request.process, root_fd)
        seccomp = seccomp_filter(request.seccomp, request.process, request.seccomp_cache)
        terminal = None
        with step("open pipes and terminals"):
            fds.open()
            if request.process.get("terminal"):
                terminal = _open_terminal(root_fd, fds, request.process.get("consoleSize"))
        stdio = (terminal.slave,) * 3 if terminal else request.stdio
        message = message_for(
            request.process, user, seccomp, EXEC, join_pidfd=pidfd, join_flags=_JOIN | request.join
        )
        if request.adjust:
            message = request.adjust(message)
        return _launch(request, message, stdio, terminal, fds)
    finally:
        fds.close()


def open_container(request: ExecRequest, fds: Descriptors) -> tuple[int, int]:
    """A pidfd and the root of the container's first process. The start time, read after both were opened and
    while the pidfd's process lives, says that all three are of one process."""
    try:
        pidfd = fds.own(pidfd_open(request.pid))
        root_fd = fds.own(os.open(f"/proc/{request.pid}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC))
        same = process_start_time(request.pid) == request.pid_start
        pidfd_send_signal(pidfd, 0)
    except (ProcessLookupError, FileNotFoundError):
        same = False
    if not same:
        raise Conflict(f"container {os.path.basename(request.cgroup)} is not running")
    return pidfd, root_fd


def _open_terminal(root_fd: int, fds: Descriptors, size: Mapping[str, int] | None) -> Terminal:
    from tiffin.runtime.console import open_terminal, resize  # most commands have no terminal

    devpts = fds.own(
        open_in_root(root_fd, "dev/pts", os.O_PATH | os.O_DIRECTORY, resolve=RESOLVE_NO_SYMLINKS)
    )
    if filesystem_type(devpts) != DEVPTS_SUPER_MAGIC:
        raise EngineError("/dev/pts of the container holds no terminals; run the command without -t")
    terminal = open_terminal(devpts)
    fds.own(terminal.master)
    fds.child_end(terminal.slave)
    if size:  # before the command runs: its first prompt is to be right
        resize(terminal.master, size["height"], size["width"])
    return terminal


def _launch(
    request: ExecRequest,
    message: Message,
    stdio: tuple[int, int, int],
    terminal: Terminal | None,
    fds: Descriptors,
) -> ExecProcess:
    cgroup = open_cgroup(request.cgroup)
    os.write(fds.start, b"\1")  # now: later the reader may have failed, and gone, before it was told its pid
    if request.adjust or request.listener:
        parents = fds.parent_ends()
        joiner = os.fork()
        if joiner == 0:
            _run(request, message, stdio, cgroup, fds, parents)
    else:
        joiner = _spawn(request, message, stdio, cgroup, fds)
    pid, warnings = 0, []  # type: int, list[str]
    try:
        fds.close_child_ends()
        started = process_start_time(joiner)
        if reported := read_all(fds.errors):
            raise_reported(reported)
        pid = _await_child(request, fds.status, joiner, started)
        told, found = request.listener, pid
        await_ready(
            fds.status, request.process, warnings, (lambda number: told(found, number)) if told else None
        )
        await_executed(fds.status, request.process)
        made = ExecProcess(pid, terminal.master if terminal else -1, warnings)
    except (TiffinError, OSError) as error:
        if pid:
            reap(pid)
        raise (
            error if isinstance(error, TiffinError) else EngineError(f"cannot run the command: {error}")
        ) from error
    finally:
        reap(joiner)
    if terminal:
        fds.keep(terminal.master)
    return made


def _spawn(
    request: ExecRequest, message: Message, stdio: tuple[int, int, int], cgroup: Cgroup, fds: Descriptors
) -> int:
    """The pid of the helper, which enters the cgroup itself."""
    try:
        entrances = cgroup.entrances()
    except FileNotFoundError as error:
        raise Conflict(f"container {os.path.basename(request.cgroup)} is not running") from error
    try:
        for fd in stdio:
            give_stdio(fd, message.uid)
        with step("run the helper"):
            placed = message._replace(enter=entrances)
            return spawn_helper(request.helper_fd, placed, stdio, fds.child_status, fds.child_start)
    finally:
        for fd in entrances:
            os.close(fd)


def _await_child(request: ExecRequest, status_fd: int, joiner: int, started: int) -> int:
    """The pid of the process in the container. A container that may trace can write status words in that
    process's name as soon as it is there: a pid is believed only of a child of ours no older than the
    joiner."""
    while status := read_status(status_fd):
        if status.kind == FAILED:
            raise failure(status, request.process)
        known = status.kind == CHILD and status.value != joiner and _is_child(status.value)
        if known and process_start_time(status.value) >= started:
            return status.value
    raise EngineError("the helper ended before it had joined the container")


def _is_child(pid: int) -> bool:
    try:
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except (ChildProcessError, OSError):
        return False
    return True


def _run(
    request: ExecRequest,
    message: Message,
    stdio: tuple[int, int, int],
    cgroup: Cgroup,
    fds: Descriptors,
    parents: tuple[int, ...],
) -> NoReturn:
    """In the child: never returns."""
    try:
        for fd in parents:
            # What the message names is a descriptor of the parent's that the helper needs.
            if fd != message.join_pidfd:
                os.close(fd)
        cgroup.add(0)
        place_stdio(*stdio, message.uid)
        with step("run the helper"):
            execute_helper(request.helper_fd, message, fds.child_status, fds.child_start)
    except BaseException as error:  # noqa: BLE001 - whatever it is, the parent must learn of it
        report(fds.child_errors, error)
    finally:
        os._exit(125)
