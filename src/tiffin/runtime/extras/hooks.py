"""Hooks (config, "POSIX-platform Hooks"): commands of the machine's that are run at points of a container's life.

| kind            | when                                   | where                  | a failure                       |
|-----------------|----------------------------------------|------------------------|---------------------------------|
| prestart        | create, the tree is made, not entered  | beside the runtime     | the container is destroyed      |
| createRuntime   | the same, after prestart               | beside the runtime     | the container is destroyed      |
| createContainer | the same, after createRuntime          | container's namespaces | the container is destroyed      |
| startContainer  | start, before the command              | inside (the helper)    | the container is destroyed      |
| poststart       | start, after the command               | beside the runtime     | the container is destroyed      |
| poststop        | delete, when all is gone               | beside the runtime     | a warning; the others still run |

Each gets the container's state on its standard input, and the environment that it names and no other. createContainer
hooks are the machine's files, run by the child whose root is still the machine's.
"""

from __future__ import annotations

import os

from tiffin.errors import EngineError, InvalidArgument
from tiffin.kernel.process import pidfd_open, pidfd_send_signal
from tiffin.typed import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

KINDS = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")
_SIGKILL, _SIGPIPE = 9, 13
_SAID = 400  # characters of a failed hook's complaint that are repeated


class Hook(NamedTuple):
    """`timeout` in seconds, 0 for none."""

    path: str
    args: tuple[str, ...]
    env: tuple[str, ...]
    timeout: int


def hooks_of(document: Mapping[str, Any], kind: str) -> list[Hook]:
    """The document's hooks of one kind, in order. Raises InvalidArgument for a path that is not absolute."""
    found = []
    for entry in (document.get("hooks") or {}).get(kind) or ():
        path = entry["path"]
        if not path.startswith("/"):
            raise InvalidArgument(f"the path {path!r} of a {kind} hook is not absolute")
        args = tuple(entry.get("args") or (path,))
        found.append(Hook(path, args, tuple(entry.get("env") or ()), entry.get("timeout") or 0))
    return found


def run_hooks(kind: str, hooks: Sequence[Hook], state: bytes) -> None:
    """One after the other. Raises EngineError at the first that fails."""
    for number, hook in enumerate(hooks):
        run_hook(f"{kind} hook {number} ({hook.path})", hook, state)


def run_hook(name: str, hook: Hook, state: bytes) -> None:
    """Run it to its end, or kill it at its timeout. Raises EngineError when it does not end with 0."""
    given, said = _memory("tiffin-state", state), _memory("tiffin-hook")
    try:
        code = _run(name, hook, given, said)
        if code:
            how = f"exit status {code}" if code > 0 else f"signal {-code}"
            text = os.pread(said, _SAID, 0).decode("utf-8", "replace").strip().replace("\n", "; ")
            raise EngineError(f"{name} failed: {how}{': ' + text if text else ''}")
    finally:
        os.close(given)
        os.close(said)


def _run(name: str, hook: Hook, stdin: int, output: int) -> int:
    environment = dict(word.partition("=")[::2] for word in hook.env)
    try:
        pid = os.posix_spawn(
            hook.path,
            hook.args,
            environment,
            file_actions=[
                (os.POSIX_SPAWN_DUP2, stdin, 0),
                *((os.POSIX_SPAWN_DUP2, output, fd) for fd in (1, 2)),
            ],
            setsigmask=(),
            setsigdef=(_SIGPIPE,),
        )
    except OSError as error:
        raise EngineError(f"{name} cannot be executed: {(error.strerror or '').lower()}") from error
    if hook.timeout and not _ends_within(pid, hook.timeout):
        os.waitpid(pid, 0)
        raise EngineError(f"{name} did not end within {hook.timeout} s and was killed")
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _ends_within(pid: int, seconds: int) -> bool:
    import select

    pidfd = pidfd_open(pid)
    try:
        poller = select.poll()
        poller.register(pidfd, select.POLLIN)
        if poller.poll(seconds * 1000):
            return True
        pidfd_send_signal(pidfd, _SIGKILL)
        return False
    finally:
        os.close(pidfd)


def _memory(name: str, content: bytes = b"") -> int:
    fd = os.memfd_create(name, os.MFD_CLOEXEC)
    view = memoryview(content)
    while view:
        view = view[os.write(fd, view) :]
    os.lseek(fd, 0, os.SEEK_SET)
    return fd
