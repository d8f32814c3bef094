"""A process of its own that plays the engine's part before the helper: namespaces, a root, descriptors, exec.

Run by `harness.Box` as `python -m tests.integration.init.box PLAN`; the test's process stays out of it. PLAN is
the descriptor of a JSON file: root, message (fields of Message; seccomp in hexadecimal), status, start, pid
(descriptors), join (a pid), host_pid (stay in the machine's pid namespace), leak (descriptors to open, carelessly,
on the host's root).
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import sys
from typing import Any

from tiffin.init import open_helper
from tiffin.init.launch import execute_helper
from tiffin.init.message import CREATE, EXEC, Message, StartHook
from tiffin.kernel import mounts, namespaces, process

NAMESPACES = (
    namespaces.CLONE_NEWNS
    | namespaces.CLONE_NEWPID
    | namespaces.CLONE_NEWUTS
    | namespaces.CLONE_NEWIPC
    | namespaces.CLONE_NEWNET
)


def make_root(path: str) -> int:
    """A private mount namespace whose `path` is a mount with /proc in it; its descriptor."""
    mounts.mount(None, "/", None, mounts.MS_REC | mounts.MS_PRIVATE)
    tree = mounts.open_tree(mounts.AT_FDCWD, path, mounts.OPEN_TREE_CLONE)
    mounts.move_mount(tree, os.open(path, os.O_PATH | os.O_CLOEXEC))
    proc = os.open("proc", os.O_PATH | os.O_CLOEXEC, dir_fd=tree)
    mounts.move_mount(mounts.make_filesystem("proc"), proc)
    return tree


def state_of(text: str) -> int:
    fd = os.memfd_create("state")
    os.write(fd, text.encode())
    return fd


def become(plan: dict[str, Any]) -> None:
    process.set_pdeathsig(signal.SIGKILL)
    fields = dict(plan["message"], seccomp=bytes.fromhex(plan["message"].get("seccomp", "")))
    fields["hooks"] = [StartHook(*hook) for hook in fields.get("hooks", ())]
    fields["state_fd"] = state_of(fields.pop("state", ""))
    fields["preserve"] = [os.open(path, os.O_RDONLY | os.O_CLOEXEC) for path in fields.get("preserve", ())]
    fields["enter"] = [
        fcntl.fcntl(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC), fcntl.F_DUPFD, 40)
        for path in fields.get("enter", ())
    ]
    if "join" in plan:
        fields.update(mode=EXEC, join_pidfd=process.pidfd_open(plan["join"]), join_flags=NAMESPACES)
    else:
        fields.update(mode=CREATE, root_fd=make_root(plan["root"]))
    taken = {int(name) for name in os.listdir("/proc/self/fd")}
    for fd in set(plan["leak"]) - taken:
        os.dup2(os.open("/", os.O_RDONLY | os.O_CLOEXEC), fd)
    execute_helper(open_helper(), Message(**fields), plan["status"], plan["start"])


def main() -> int:
    with open(int(sys.argv[1])) as file:
        plan = json.load(file)
    process.set_pdeathsig(signal.SIGKILL)
    if "join" not in plan:
        namespaces.unshare(NAMESPACES & ~(namespaces.CLONE_NEWPID if plan["host_pid"] else 0))
    child = os.fork()
    if not child:
        become(plan)
    os.write(plan["pid"], b"%d\n" % child)
    for fd in (plan["pid"], plan["status"], plan["start"]):
        os.close(fd)
    codes = {}
    while True:
        try:
            pid, status = os.wait()
        except ChildProcessError:
            break
        code = os.waitstatus_to_exitcode(status)
        codes[pid] = code if code >= 0 else 128 - code
    joined = [code for pid, code in codes.items() if pid != child]
    return joined[0] if joined else codes[child]


if __name__ == "__main__":
    sys.exit(main())
