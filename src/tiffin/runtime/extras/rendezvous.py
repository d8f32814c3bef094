"""Where a container that outlives its creator waits to be started: two named pipes in a private directory.

start    the helper reads one byte from it. It holds both ends, so that it waits however long nobody comes
status   the helper's status words: read by `create` up to "ready", by `start` to the end of file
"""

from __future__ import annotations

import os
from errno import ENXIO

from tiffin.errors import Conflict
from tiffin.runtime.process import await_executed
from tiffin.runtime.step import step
from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from tiffin.runtime.forked import Descriptors

_START, _STATUS = "start", "status"


def open_for_child(directory: str, fds: Descriptors) -> None:
    """Make both pipes and put them in the place of `fds`'s own."""
    with step(f"make the pipes of {directory}"):
        for name in (_START, _STATUS):
            os.mkfifo(f"{directory}/{name}", 0o600)
        fds.child_start = fds.child_end(os.open(f"{directory}/{_START}", os.O_RDWR | os.O_CLOEXEC))
        fds.status = fds.own(os.open(f"{directory}/{_STATUS}", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC))
        fds.child_status = fds.child_end(os.open(f"{directory}/{_STATUS}", os.O_WRONLY | os.O_CLOEXEC))
        os.set_blocking(fds.status, True)


def waits(directory: str) -> bool:
    """Whether the container has not been started."""
    return os.path.exists(f"{directory}/{_START}")


def start(directory: str, process: Mapping[str, Any]) -> None:
    """Have the command executed. Raises CommandNotFound, CommandNotExecutable, EngineError (a hook), Conflict when
    nobody waits any more."""
    try:
        status = os.open(f"{directory}/{_STATUS}", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise Conflict("the container has been started already") from error
    try:
        os.set_blocking(status, True)
        try:
            waiting = os.open(f"{directory}/{_START}", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            if error.errno == ENXIO:
                raise Conflict("the container's process ended before it was started") from error
            raise
        try:
            os.write(waiting, b"\1")
        finally:
            os.close(waiting)
        await_executed(status, process)
    finally:
        os.close(status)
    forget(directory)


def forget(directory: str) -> None:
    """Remove the pipes. Idempotent."""
    for name in (_START, _STATUS):
        try:
            os.unlink(f"{directory}/{name}")
        except FileNotFoundError:
            continue
