"""Keys of a build, lent by an agent of its own: the machine's `ssh-agent`, for as long as the build takes.

    builder ── pipe ──► sh, waiting for the pipe's end
                          └─ ssh-agent, which goes when that has gone

The agent ends with the build, also with one that is killed: the shell then finds the pipe's end, and its socket is in a
directory that is collected. Keys are read by `ssh-add` alone, never here.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager

from tiffin.build.workspace import Workspace
from tiffin.errors import EngineError, InvalidArgument, Unsupported

_PATH = "/usr/local/bin:/usr/bin:/bin"
_SOCKET = "agent"
_SECONDS = 60
# Told its number by the agent, which listens by then.
_HOLD = ("/bin/sh", "-c", 'echo listening; cat >/dev/null; kill -9 "$SSH_AGENT_PID"')


@contextmanager
def lend_keys(keys: Mapping[str, Sequence[str]], staging: str) -> Iterator[dict[str, str]]:
    """An agent for each id with the keys of its files, all absolute paths: sockets by id, while the context lasts. The
    path of a socket leads through this process, and is short whatever `staging` is. Raises InvalidArgument for a file
    that holds no key, or one with a passphrase, Unsupported without OpenSSH's programs."""
    with ExitStack() as undo:
        yield {name: undo.enter_context(_agent(name, paths, staging)) for name, paths in keys.items()}


@contextmanager
def _agent(name: str, paths: Sequence[str], staging: str) -> Iterator[str]:
    agent, add = _program("ssh-agent"), _program("ssh-add")
    with Workspace(staging) as workspace:
        try:
            holder = subprocess.Popen(
                [agent, "-a", _SOCKET, *_HOLD],
                cwd=workspace.path,
                env={"PATH": _PATH},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        except OSError as error:
            raise Unsupported(f"cannot start {agent} for --ssh {name}: {error.strerror}") from error
        assert holder.stdin is not None and holder.stdout is not None
        with holder:  # which closes the pipe in the end
            if holder.stdout.readline(16) != b"listening\n":
                raise EngineError(f"no ssh-agent starts for --ssh {name}; see whether one does in a shell")
            socket = f"/proc/{os.getpid()}/fd/{workspace.fd}/{_SOCKET}"
            for path in paths:
                _add(add, socket, path)
            yield socket


def _add(program: str, socket: str, path: str) -> None:
    """Nobody is asked for a passphrase: a build may run where nobody is."""
    never_asks = {"SSH_ASKPASS": "/bin/false", "SSH_ASKPASS_REQUIRE": "force"}
    try:
        done = subprocess.run(
            [program, "-q", "--", path],
            env={"PATH": _PATH, "LC_ALL": "C", "SSH_AUTH_SOCK": socket, **never_asks},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
            timeout=_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise InvalidArgument(
            f"cannot read the key {path!r}: ssh-add takes longer than {_SECONDS} s"
        ) from error
    if done.returncode == 0:
        return
    lines = [line.strip(" @") for line in done.stderr.decode("utf-8", "replace").splitlines()]
    reason = next((line for line in reversed(lines) if line), "it has a passphrase")
    raise InvalidArgument(
        f"cannot lend the key {path!r}: {reason[:200]}; add it to an agent (ssh-add FILE) and give that: --ssh default"
    )


def _program(name: str) -> str:
    for directory in _PATH.split(":"):
        if os.access(f"{directory}/{name}", os.X_OK):
            return f"{directory}/{name}"
    raise Unsupported(f"{name} is not installed, which lends keys to a build (Debian: openssh-client)")
