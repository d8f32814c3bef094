"""exec: a further process in a container that runs."""

from __future__ import annotations

import os

from tiffin.errors import Conflict
from tiffin.init import open_helper
from tiffin.init.message import KEEP_KEYRING
from tiffin.kernel.namespaces import CLONE_NEWTIME, CLONE_NEWUSER
from tiffin.runtime.exec import ExecProcess, ExecRequest, exec_process
from tiffin.runtime.extras import placement, seccomp_flags
from tiffin.runtime.extras.labels import exec_label
from tiffin.runtime.lifecycle import document as documents
from tiffin.runtime.lifecycle.operations import (
    Runtime,
    send_console,
    state_document,
    status_of,
    write_pid_file,
)
from tiffin.runtime.lifecycle.records import read_record
from tiffin.typed import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tiffin.init.message import Message

_RARE = {"user": CLONE_NEWUSER, "time": CLONE_NEWTIME}


class Joining(NamedTuple):
    """What `exec` is told beside the process; as in `Creation`. `ignore_paused`: queue it in a paused container."""

    console_socket: str = ""
    pid_file: str = ""
    preserve: Sequence[int] = ()
    stdio: tuple[int, int, int] = (0, 1, 2)
    keep_keyring: bool = False
    ignore_paused: bool = False


def execute(runtime: Runtime, container_id: str, process: dict[str, Any], how: Joining) -> ExecProcess:
    """Run `process`, a runtime-spec process object, in the container. Returns once it is executed. Raises NotFound,
    Conflict (the container does not run), CommandNotFound, CommandNotExecutable, InvalidArgument, EngineError."""
    documents.check_process_document(process)
    path = runtime.records.directory(container_id)
    record = read_record(path)
    status = status_of(path, record)
    if status not in ("running", "created", "paused"):
        raise Conflict("cannot exec a container that has stopped")
    if status == "paused" and not how.ignore_paused:
        raise Conflict("cannot exec in a paused container; resume it first, or use --ignore-paused")
    with runtime.records.hold(container_id) as held:
        document = held.config()
    linux = document.get("linux") or {}
    seccomp = linux.get("seccomp")
    userns = _own(record.pid, "user")
    allowed = documents.grantable(process, runtime.warnings, all_held=userns)
    affinity = (process.get("execCPUAffinity") or {}).get("final") or ""
    before = _move_to((process.get("execCPUAffinity") or {}).get("initial") or "")
    helper = open_helper()
    try:
        running = exec_process(
            ExecRequest(
                pid=record.pid,
                pid_start=record.pid_start,
                cgroup=record.cgroup,
                process=allowed,
                seccomp=documents.filter_of(seccomp),
                stdio=how.stdio,
                seccomp_cache=runtime.records.cache(),
                helper_fd=helper,
                join=sum(flag for kind, flag in _RARE.items() if _own(record.pid, kind)),
                adjust=_adjustment(process, seccomp or {}, how),
                listener=_listener(seccomp or {}, state_document(record, "running", record.pid)),
            )
        )
    finally:
        os.close(helper)
        if before:
            os.sched_setaffinity(0, before)
    try:
        placement.apply_from_outside(running.pid, process)
        placement.set_affinity(running.pid, affinity, "execCPUAffinity.final")
        if running.console_fd >= 0 and how.console_socket:
            send_console(how.console_socket, running.console_fd)
        if how.pid_file:
            write_pid_file(how.pid_file, running.pid)
    except BaseException:
        running.signal(9)
        running.wait()
        running.close()
        raise
    runtime.warnings += running.warnings
    return running


def _own(pid: int, kind: str) -> bool:
    """Whether the container has a namespace of this kind that is not ours."""
    theirs, ours = os.stat(f"/proc/{pid}/ns/{kind}"), os.stat(f"/proc/self/ns/{kind}")
    return theirs.st_ino != ours.st_ino


def _move_to(cpus: str) -> set[int]:
    """Run on these CPUs while joining; what was before."""
    if not cpus:
        return set()
    before = os.sched_getaffinity(0)
    placement.set_affinity(0, cpus, "execCPUAffinity.initial")
    return before


def _adjustment(
    process: dict[str, Any], seccomp: dict[str, Any], how: Joining
) -> Callable[[Message], Message]:
    label, label_path = exec_label(process)

    def adjust(message: Message) -> Message:
        return message._replace(
            flags=message.flags | (KEEP_KEYRING if how.keep_keyring else 0),
            preserve=tuple(how.preserve),
            label=label,
            label_path=label_path,
            seccomp_flags=seccomp_flags(seccomp),
        )

    return adjust


def _listener(seccomp: dict[str, Any], state: dict[str, Any]) -> Callable[[int, int], None] | None:
    if not seccomp.get("listenerPath"):
        return None
    from tiffin.runtime.extras.listener import hand_over

    return lambda pid, number: hand_over(seccomp, pid, number, state, state["ociVersion"])
