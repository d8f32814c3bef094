"""The `process` object of the specification → what the helper is told; and what the helper says → errors.

Shared by `create` and `exec`. The helper's protocol is drawn in `tiffin.init.message`.
"""

from __future__ import annotations

import errno
import os

from tiffin.errors import (
    CommandNotExecutable,
    CommandNotFound,
    EngineError,
    InvalidArgument,
    TiffinError,
)
from tiffin.init.message import (
    CONTROLLING_TTY,
    CREATE,
    FAILED,
    KEEP_INIT,
    LISTENER,
    NEW_SESSION,
    NO_NEW_PRIVS,
    READY,
    WAIT_START,
    WARNING,
    Message,
    Status,
    read_status,
)
from tiffin.runtime.defaults import DEFAULT_PATH, capability_mask
from tiffin.runtime.users import User, resolve_user
from tiffin.typed import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_RLIMITS = [
    "CPU",
    "FSIZE",
    "DATA",
    "STACK",
    "CORE",
    "RSS",
    "NPROC",
    "NOFILE",
    "MEMLOCK",
    "AS",
    "LOCKS",
    "SIGPENDING",
    "MSGQUEUE",
    "NICE",
    "RTPRIO",
    "RTTIME",
]
_INFINITY = (1 << 64) - 1


def check_process(process: Mapping[str, Any]) -> None:
    """Refuse early, before anything is made. Raises InvalidArgument."""
    args, env, cwd = process.get("args"), process.get("env") or [], process.get("cwd") or "/"
    if not args or not args[0]:
        raise InvalidArgument("no command specified")
    for text in (*args, *env, cwd):
        if "\0" in text:
            raise InvalidArgument(f"null byte in {text[:80]!r}")
    if not cwd.startswith("/"):
        raise InvalidArgument(f"the working directory {cwd!r} is invalid: it needs to be an absolute path")
    rlimits(process)


def rlimits(process: Mapping[str, Any]) -> list[tuple[int, int, int]]:
    """(number, soft, hard) of each limit; -1 is unlimited. Raises InvalidArgument."""
    found = []
    for limit in process.get("rlimits") or ():
        name = str(limit.get("type", "")).removeprefix("RLIMIT_")
        if name not in _RLIMITS:
            raise InvalidArgument(f"invalid ulimit type: {name.lower()}")
        soft, hard = limit.get("soft", -1), limit.get("hard", -1)
        soft, hard = (_INFINITY if value < 0 else value for value in (soft, hard))
        if soft > hard:
            raise InvalidArgument(
                f"ulimit soft limit must be less than or equal to hard limit: {soft} > {hard}"
            )
        found.append((_RLIMITS.index(name), soft, hard))
    return found


def find_user(process: Mapping[str, Any], root_fd: int) -> User:
    """The process's ids: given as numbers, or looked up in the container's own files."""
    user = process.get("user") or {}
    if "username" in user or "groups" in user:
        return resolve_user(root_fd, user.get("username") or "", user.get("groups") or ())
    return User(user.get("uid", 0), user.get("gid", 0), tuple(user.get("additionalGids") or ()))


def message_for(process: Mapping[str, Any], user: User, seccomp: bytes, mode: int, **more: Any) -> Message:
    """The helper's message. `more` are the fields that only one of the modes has."""
    sets = process.get("capabilities") or {}
    masks: dict[str, Any] = {
        name: capability_mask(sets.get(name) or ())
        for name in ("bounding", "effective", "permitted", "inheritable", "ambient")
    }
    flags = NEW_SESSION | WAIT_START
    flags |= CONTROLLING_TTY if process.get("terminal") else 0
    flags |= NO_NEW_PRIVS if process.get("noNewPrivileges") else 0
    flags |= KEEP_INIT if mode == CREATE and process.get("init") else 0
    env = list(process.get("env") or ())
    if not any(word.startswith("HOME=") for word in env):
        env.append(f"HOME={user.home}")
    path = next((word[5:] for word in env if word.startswith("PATH=")), DEFAULT_PATH)
    return Message(
        mode=mode,
        flags=flags,
        args=list(process["args"]),
        env=env,
        cwd=process.get("cwd") or "/",
        uid=user.uid,
        gid=user.gid,
        groups=user.groups,
        umask=(process.get("user") or {}).get("umask", 0o022),
        path=path,
        rlimits=rlimits(process),
        seccomp=seccomp,
        **masks,
        **more,
    )


def place_stdio(stdin: int, stdout: int, stderr: int, uid: int) -> None:
    """Make the descriptors 0 to 2, and give pipes to the user, so that /dev/stdout can be opened again by
    them."""
    import fcntl

    high = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 16) for fd in (stdin, stdout, stderr)]
    for target, fd in enumerate(high):
        os.dup2(fd, target)
        os.close(fd)
        give_stdio(target, uid)


def give_stdio(fd: int, uid: int) -> None:
    """Give a pipe or a terminal to the user who is to find it as standard input or output."""
    status = os.fstat(fd)
    if status.st_uid != uid and status.st_mode & 0o170000 in (0o010000, 0o020000) and _is_ours(status):
        try:
            os.fchown(fd, uid, -1)
        except OSError:
            pass  # a convenience; the descriptor itself works


def _is_ours(status: os.stat_result) -> bool:
    # A pipe, or a pseudo-terminal. Not /dev/null, which everybody shares.
    return status.st_mode & 0o170000 == 0o010000 or os.major(status.st_rdev) == 136


def await_ready(
    status_fd: int,
    process: Mapping[str, Any],
    warnings: list[str],
    listener: Callable[[int], None] | None = None,
) -> None:
    """Read status words until the helper has done all but execute. Raises what it failed of. `listener` is told the
    number that a seccomp filter's listener has in the helper."""
    while True:
        status = read_status(status_fd)
        if status is None:
            raise EngineError("the container's process ended before it was ready")
        if status.kind == READY:
            return
        if status.kind == WARNING:
            limit = _RLIMITS[status.value].lower() if 0 <= status.value < len(_RLIMITS) else status.value
            warnings.append(f"ulimit {limit} could not be raised: this process lacks CAP_SYS_RESOURCE")
        elif status.kind == LISTENER and listener:
            listener(status.value)
        elif status.kind == FAILED:
            raise failure(status, process)


def await_executed(status_fd: int, process: Mapping[str, Any]) -> None:
    """Read until the end of file that a successful exec means. Raises CommandNotFound,
    CommandNotExecutable."""
    while status := read_status(status_fd):
        if status.kind == FAILED:
            raise failure(status, process)


def failure(status: Status, process: Mapping[str, Any]) -> TiffinError:
    """What the helper failed of, in Docker's words where clients know them."""
    why = os.strerror(abs(status.value))
    command, cwd = process["args"][0], process.get("cwd") or "/"
    if status.stage == "exec":
        return _not_executed(command, status.value, why)
    if status.stage == "cwd":
        return InvalidArgument(f'chdir to cwd ("{cwd}") failed: {why.lower()}')
    if status.stage == "cwd_outside":
        return InvalidArgument(f'chdir to cwd ("{cwd}") failed: it is outside of the container')
    if status.stage == "hook":
        why = f"exit status {-status.value}" if status.value < 0 else why.lower()
        return EngineError(f"a startContainer hook failed: {why}; the container was stopped")
    return EngineError(
        f"cannot start the container's process: {status.stage.replace('_', ' ')}: {why.lower()}"
    )


def _not_executed(command: str, number: int, why: str) -> TiffinError:
    if number in (errno.ENOENT, errno.ENOTDIR):
        if "/" in command:
            return CommandNotFound(f'exec: "{command}": stat {command}: {why.lower()}')
        return CommandNotFound(f'exec: "{command}": executable file not found in $PATH')
    return CommandNotExecutable(f'exec: "{command}": {why.lower()}')
