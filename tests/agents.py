"""Keys of ssh, and the agents that builds start for them."""

import os
import subprocess
import time
from pathlib import Path


def make_key(path: Path, comment: str, passphrase: str = "") -> Path:
    """A new key in the file `path`, which is given back."""
    words = ["-q", "-t", "ed25519", "-N", passphrase, "-C", comment, "-f", str(path)]
    subprocess.run(["ssh-keygen", *words], check=True)
    return path


def agents() -> set[int]:
    """The processes that are agents of builds."""
    found = set()
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if words[0].endswith(b"/ssh-agent") and words[1:3] == [b"-a", b"agent"]:
            found.add(int(pid))
    return found


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def await_none(before: set[int]) -> None:
    """Wait until there is none but those of `before`."""
    deadline = time.monotonic() + 30
    while agents() - before:
        assert time.monotonic() < deadline
        time.sleep(0.02)
