"""A seccomp filter that asks another process (SCMP_ACT_NOTIFY): its listener goes to `listenerPath`, with the state of
the container process (config-linux, "The Container Process State")."""

from __future__ import annotations

import json
import os
import socket

from tiffin.errors import EngineError
from tiffin.kernel.process import pidfd_getfd, pidfd_open
from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

_PATIENCE = 10.0  # seconds for an agent that does not take what it is sent


def hand_over(
    seccomp: Mapping[str, Any], pid: int, number: int, state: Mapping[str, Any], version: str
) -> None:
    """Fetch descriptor `number` of process `pid`, the helper's, and send it. Raises EngineError."""
    path = str(seccomp["listenerPath"])
    document = {"ociVersion": version, "fds": ["seccompFd"], "pid": pid, "state": dict(state)}
    if seccomp.get("listenerMetadata"):
        document["metadata"] = seccomp["listenerMetadata"]
    try:
        pidfd = pidfd_open(pid)
        try:
            listener = pidfd_getfd(pidfd, number)
        finally:
            os.close(pidfd)
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as agent:
                agent.settimeout(_PATIENCE)
                agent.connect(path)
                socket.send_fds(agent, [json.dumps(document).encode()], [listener])
        finally:
            os.close(listener)
    except OSError as error:
        why = error.strerror or str(error)
        raise EngineError(f"cannot send the seccomp listener to {path}: {why.lower()}") from error
