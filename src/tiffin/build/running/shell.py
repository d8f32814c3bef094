"""A shell in the state of a RUN that failed. Its terminal is given to whoever has asked for it, over a socket pair.

    worker (has the step's mounts)                     caller (sits at the terminal)
      ├─ {"shell": status} on its own channel ──────────▶│ StepShell; every other worker has ended by then
      │◀─ GO ────────────────────────────────────────────┤
      ├─ TERMINAL, with the pseudo-terminal's master ───▶│
      │◀─ SIGNAL, number ────────────────────────────────┤ as often as it likes; its end of file: kill the shell
      ├─ ENDED, exit code   or   FAILED, text ──────────▶│

Messages are packets: a byte for the kind, and what follows it. Whoever is told StepShell closes its own copy of the
worker's end, so that the death of the worker is the end of file.
"""

from __future__ import annotations

import select
import socket

from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from tiffin.build.contexts.agent import Forwarder
    from tiffin.runtime.create import InitProcess

GO, TERMINAL, SIGNAL, ENDED, FAILED = b"g", b"t", b"s", b"e", b"f"
PACKET = 4096
_KILL = 9


def wait_for_caller(end: socket.socket) -> bool:
    """Whether the caller wants the shell, and is still there."""
    return end.recv(PACKET) == GO


def lend(end: socket.socket, process: InitProcess, agents: tuple[Forwarder, ...]) -> int:
    """Give the terminal of a started process away, and wait for its end: the exit code."""
    socket.send_fds(end, [TERMINAL], [process.console_fd])
    poll = select.poll()
    poll.register(end, select.POLLIN)
    poll.register(process.pidfd, select.POLLIN)
    for agent in agents:
        agent.attend(poll)
    while True:
        for fd, _ in poll.poll():
            if fd == process.pidfd:
                return process.wait()
            if any(agent.ready(fd) for agent in agents):
                continue
            packet = end.recv(PACKET)
            process.signal(packet[1] if packet[:1] == SIGNAL and len(packet) == 2 else _KILL)
            if not packet:
                poll.unregister(end)
