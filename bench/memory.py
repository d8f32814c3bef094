"""What stays in memory: for each running container, and for the engine itself when nothing runs."""

import os
import re
import subprocess
import time

from bench.sides import BUSYBOX, Docker, Side, run

NAME = "resident memory"
_COUNT = 20


def proportional(pids: list[int]) -> int:
    """Kilobytes of the processes, what they share with others shared out among them (PSS)."""
    total = 0
    for pid in pids:
        try:
            with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
                found = re.search(r"^Pss:\s+(\d+)", file.read(), re.MULTILINE)
        except OSError:
            continue
        total += int(found[1]) if found else 0
    return total


def processes() -> dict[int, list[str]]:
    """Every process's command line."""
    found = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/cmdline", "rb") as file:
                    found[int(name)] = file.read().decode("utf-8", "replace").split("\0")
            except OSError:
                continue
    return found


def keepers(side: Side) -> list[int]:
    """What an engine keeps beside each container: supervisors, shims, monitors."""
    prefix = side.command("ps")[:-1]
    if side.name == "tiffin":
        return [pid for pid, words in processes().items() if prefix[2] in words and "run" in words]
    if side.name == "docker":
        place = str(prefix[2]).removeprefix("unix://").rpartition("/")[0]
        return [
            pid for pid, words in processes().items()
            if "containerd-shim" in words[0] and any(place in word for word in words)
        ]  # fmt: skip
    return [
        pid
        for pid, words in processes().items()
        if words[0].endswith("conmon") and prefix[2] in " ".join(words)
    ]


def idle(side: Side) -> int:
    """Kilobytes that stay when nothing runs."""
    if not isinstance(side, Docker):
        return 0
    place = str(side.command("ps")[2]).removeprefix("unix://").rpartition("/")[0]
    daemons = [
        pid for pid, words in processes().items()
        if words[0].rpartition("/")[2] in ("dockerd", "containerd") and any(place in word for word in words)
    ]  # fmt: skip
    return proportional(daemons)


def measure(sides: list[Side]) -> str:
    """Lines for the table, in megabytes."""
    lines = []
    for side in (side for side in sides if side.name != "runc"):
        names = [f"resident-{number}" for number in range(_COUNT)]
        nothing = idle(side)
        for name in names:
            run(side.command("run", "-d", "--network", "none", "--name", name, BUSYBOX, "sleep", "1000"))
        time.sleep(1)
        each = proportional(keepers(side)) / _COUNT
        subprocess.run(side.command("rm", "-f", *names), capture_output=True)
        lines.append(
            f"{side.name:>8} {each / 1024:6.1f} MB a container (PSS), {nothing / 1024:6.1f} MB when idle"
        )
    return f"{NAME}, {_COUNT} containers\n" + "\n".join(lines)
