"""What container work can leave behind on a machine, listed, so that a test run can compare before and after.

    python tools/leaks.py list > before
    ... tests ...
    python tools/leaks.py check before      # exit 1 and a line for each thing that is new

The engine of the default root (/var/lib/tiffin) is left out: a developer's own containers may come and go meanwhile.
"""

import os
import re
import sys
import time

_GRACE_SECONDS = 10.0  # the kernel ends network namespaces in the background


def _default_engine() -> str:
    from tiffin.state import locate

    return locate("/var/lib/tiffin").engine


def _mounts() -> set[str]:
    with open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as file:
        return {f"mount {line.split()[4]} ({line.split(' - ')[1].split()[0]})" for line in file}


def _links() -> set[str]:
    with open("/proc/net/dev", encoding="ascii") as file:
        return {f"network link {line.split(':')[0].strip()}" for line in file if ":" in line}


def _namespaces() -> set[str]:
    try:
        return {f"network namespace /run/netns/{name}" for name in os.listdir("/run/netns")}
    except FileNotFoundError:
        return set()


def _cgroups() -> set[str]:
    found = set()
    for directory, names, _ in os.walk("/sys/fs/cgroup"):
        found.update(f"cgroup {directory}/{name}" for name in names if "tiffin" in directory + name)
    return found


def _tables() -> set[str]:
    command = "nft list tables 2>/dev/null"
    with os.popen(command) as pipe:
        return {f"nft {line.strip()}" for line in pipe if "tiffin" in line}


def _processes() -> set[str]:
    """Processes of the test run (they carry its mark in their environment) and of containers (by their cgroup)."""
    mark = f"TIFFIN_TEST_RUN={os.environ.get('TIFFIN_TEST_RUN', '-')}".encode()
    ours = {os.getpid(), *_ancestors()}
    found = set()
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/environ", "rb") as file:
                marked = mark in file.read().split(b"\0")
            with open(f"/proc/{name}/cgroup", encoding="utf-8") as file:
                contained = "/tiffin-" in file.read()
            with open(f"/proc/{name}/cmdline", "rb") as file:
                command = file.read().replace(b"\0", b" ").decode(errors="replace")[:120]
        except OSError:
            continue
        if (marked or contained) and int(name) not in ours:
            found.add(f"process {name}: {command}")
    return found


def _ancestors() -> set[int]:
    pid, found = os.getppid(), set()
    while pid > 1:
        found.add(pid)
        with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
            pid = int(file.read().rpartition(")")[2].split()[1])
    return found


def listing() -> set[str]:
    """One line per thing that stands on the machine now."""
    everything = _mounts() | _links() | _namespaces() | _cgroups() | _tables() | _processes()
    own = re.compile(rf"tfn{_default_engine()}|tiffin[-_]{_default_engine()}|/var/lib/tiffin|/run/tiffin/")
    return {line for line in everything if not own.search(line)}


def main() -> int:
    if sys.argv[1:2] == ["list"]:
        print("\n".join(sorted(listing())))
        return 0
    with open(sys.argv[2], encoding="utf-8") as file:
        before = set(file.read().splitlines())
    deadline = time.monotonic() + _GRACE_SECONDS
    while (left := listing() - before) and time.monotonic() < deadline:
        time.sleep(0.2)
    for line in sorted(left):
        print(f"left behind: {line}", file=sys.stderr)
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main())
