"""create, start, run, state, kill, delete, exec."""

from __future__ import annotations

import os

from tiffin.cli.output import UsageError
from tiffin.runtime.lifecycle.document import read_document
from tiffin.runtime.lifecycle.operations import Creation, Runtime
from tiffin.typed import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tiffin.cli.oci.main import Session
    from tiffin.cli.oci.words import Words

_TERM = 15
_MOST_PRESERVED = 1024


def _warn(runtime: Runtime, session: Session) -> None:
    for text in runtime.warnings:
        session.log.warn(text)
    runtime.warnings.clear()


def _preserved(count: int) -> tuple[int, ...]:
    if not 0 <= count <= _MOST_PRESERVED:
        raise UsageError(f"--preserve-fds: {count} is not 0 to {_MOST_PRESERVED}", 1)
    for fd in range(3, 3 + count):
        try:
            os.fstat(fd)
        except OSError as error:
            raise UsageError(f"--preserve-fds: descriptor {fd} is not open", 1) from error
    return tuple(range(3, 3 + count))


def _creation(words: Words, **more: Any) -> Creation:
    if words.no_pivot:
        raise UsageError(
            "--no-pivot is refused: it would leave the machine's root within the container's reach", 1
        )
    return Creation(
        console_socket=words.console_socket,
        pid_file=words.pid_file,
        preserve=_preserved(words.preserve_fds),
        keep_keyring=words.no_new_keyring,
        **more,
    )


def run_create(words: Words, session: Session) -> int:
    runtime = Runtime(session.root)
    try:
        runtime.create(words.operands[0], words.bundle or ".", _creation(words)).close()
    finally:
        _warn(runtime, session)
    return 0


def run_start(words: Words, session: Session) -> int:
    runtime = Runtime(session.root)
    try:
        runtime.start(words.operands[0])
    finally:
        _warn(runtime, session)
    return 0


def run_run(words: Words, session: Session) -> int:
    container_id = words.operands[0]
    runtime = Runtime(session.root)
    foreground = not (words.detach or words.console_socket)
    init = runtime.create(container_id, words.bundle or ".", _creation(words, keep_console=foreground))
    try:
        runtime.start(container_id)
        _warn(runtime, session)
        if words.detach:
            return 0
        from tiffin.cli.oci.foreground import attend

        return attend(init.pidfd, init.console_fd if foreground else -1, init.wait)
    except BaseException:
        runtime.delete(container_id, force=True)
        raise
    finally:
        if not words.detach:
            if not words.keep:
                runtime.delete(container_id, force=True)
            _warn(runtime, session)
        init.close()


def run_state(words: Words, session: Session) -> int:
    import json

    print(json.dumps(Runtime(session.root).state(words.operands[0]), indent=2))
    return 0


def run_kill(words: Words, session: Session) -> int:
    container_id, *rest = words.operands
    number = signal_number(rest[0]) if rest else _TERM
    Runtime(session.root).kill(container_id, number, everybody=words.all)
    return 0


def signal_number(text: str) -> int:
    """Of "9", "KILL", "SIGKILL", "sigkill", "RTMIN+1". Raises UsageError."""
    import signal

    if text.isdecimal() and 0 < int(text) <= signal.SIGRTMAX:
        return int(text)
    name, plus, more = text.upper().removeprefix("SIG").partition("+")
    found = getattr(signal, f"SIG{name}", None) if name.isalnum() else None
    if found is None or (plus and not more.isdecimal()):
        raise UsageError(f"unknown signal {text!r}", 1)
    return int(found) + int(more or 0)


def run_delete(words: Words, session: Session) -> int:
    runtime = Runtime(session.root)
    try:
        runtime.delete(words.operands[0], force=words.force)
    finally:
        _warn(runtime, session)
    return 0


# ---- exec


def run_exec(words: Words, session: Session) -> int:
    from tiffin.runtime.lifecycle.joining import Joining, execute

    runtime = Runtime(session.root)
    container_id, *command = words.operands
    process = (
        read_document(words.process) if words.process else _process(runtime, container_id, command, words)
    )
    if process.get("terminal") and words.detach and not words.console_socket:
        raise UsageError("cannot allocate tty if the runtime will detach without setting console socket", 1)
    how = Joining(
        console_socket=words.console_socket,
        pid_file=words.pid_file,
        preserve=_preserved(words.preserve_fds),
        ignore_paused=words.ignore_paused,
    )
    running = execute(runtime, container_id, process, how)
    _warn(runtime, session)
    if words.detach:
        running.close()
        return 0
    from tiffin.cli.oci.foreground import attend

    return attend(running.pidfd, -1 if words.console_socket else running.console_fd, running.wait)


def _process(runtime: Runtime, container_id: str, command: list[str], words: Words) -> dict[str, Any]:
    """The container's own process with another command, and what the flags change."""
    if not command:
        raise UsageError("process args cannot be empty; give a command, or --process", 1)
    with runtime.records.hold(container_id) as held:
        process = dict(held.config()["process"])
    process |= {"args": command, "terminal": words.tty}
    process.pop("consoleSize", None)
    if words.cwd:
        process["cwd"] = words.cwd
    if words.env:
        process["env"] = [*(process.get("env") or ()), *words.env]
    if words.user:
        uid, _, gid = words.user.partition(":")
        process["user"] = {**(process.get("user") or {}), "uid": _id(uid), "gid": _id(gid or "0")}
    if words.additional_gids:
        process["user"] = {
            **(process.get("user") or {}),
            "additionalGids": [_id(gid) for gid in words.additional_gids],
        }
    if words.no_new_privs:
        process["noNewPrivileges"] = True
    for key, value in (("apparmorProfile", words.apparmor), ("selinuxLabel", words.process_label)):
        if value:
            process[key] = value
    if words.cap:
        sets = process.get("capabilities") or {}
        more = [name if name.startswith("CAP_") else f"CAP_{name}" for name in map(str.upper, words.cap)]
        process["capabilities"] = {
            **sets, **{name: [*(sets.get(name) or ()), *more] for name in ("bounding", "effective", "permitted")}
        }  # fmt: skip
    return process


def _id(text: str) -> int:
    if not text.isdecimal():
        raise UsageError(f"{text!r} is no numeric user or group id", 1)
    return int(text)
