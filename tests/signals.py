"""Whether a process is ready for a signal: the first of a pid namespace loses those that it has no handler for yet."""

import signal
import time
from pathlib import Path

PATIENCE = 30.0


def await_trap(pid: object, number: int = signal.SIGTERM, field: str = "SigCgt") -> None:
    """Until the process catches the signal, or with `field` "SigIgn" ignores it."""
    deadline = time.monotonic() + PATIENCE
    while not _mask(pid, field) >> (number - 1) & 1:
        assert time.monotonic() < deadline, f"process {pid} has no trap for signal {number}"
        time.sleep(0.005)


def _mask(pid: object, field: str) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == field:
            return int(value, 16)
    return 0
