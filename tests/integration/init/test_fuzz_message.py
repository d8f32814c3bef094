"""Mutated messages: the helper refuses or obeys them, within bounds, and never dies of one."""

from __future__ import annotations

import json
import os
import random
import signal
import struct
import subprocess
import sys

import pytest

from tests.integration.init.box import NAMESPACES, make_root
from tiffin.init import open_helper
from tiffin.init.message import CREATE, NO_NEW_PRIVS, Message
from tiffin.kernel import namespaces, process

pytestmark = pytest.mark.root

COUNT = 2000
SEED = 20261
ROOT_FD = 200
# What a filter or limit that a mutation made up may do to its own process, once the message has been accepted.
OWN_DOING = {signal.SIGSYS, signal.SIGKILL}


def base_messages(root_fd: int) -> list[bytes]:
    allow = struct.pack("<HBBI", 6, 0, 0, 0x7FFF0000)
    plain = Message(CREATE, ("/bin/true", "x"), env=("PATH=/bin", "A=b"), root_fd=root_fd, bounding=2**41 - 1)
    return [
        plain.encode(),
        plain._replace(groups=(1, 2, 3), hostname="h", domainname="d", flags=NO_NEW_PRIVS, uid=5).encode(),
        plain._replace(seccomp=allow * 3, flags=NO_NEW_PRIVS, args=("true",)).encode(),
    ]


def mutate(random_: random.Random, message: bytes) -> bytes:
    data = bytearray(message)
    edge = [0, 1, 2, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, len(data), len(data) + 1, len(data) - 1]
    for _ in range(random_.choice((1, 1, 2, 5))):
        at = random_.randrange(len(data))
        match random_.randrange(6):
            case 0:
                data[at] ^= 1 << random_.randrange(8)
            case 1:
                data[at & ~3 : (at & ~3) + 4] = struct.pack("<I", random_.choice(edge))
            case 2:
                del data[at : at + random_.randrange(1, 9)]
            case 3:
                data[at:at] = random_.randbytes(random_.randrange(1, 9))
            case 4:
                del data[at + 1 :]
            case 5:
                data[at : at + 4] = random_.randbytes(4)
        if len(data) < 2:
            break
    if len(data) >= 12 and random_.randrange(3):  # let most of them past the check of the whole length
        data[8:12] = struct.pack("<I", len(data))
    return bytes(data)


def execute(helper: int, message: bytes, root: str) -> None:
    namespaces.unshare(namespaces.CLONE_NEWNS | namespaces.CLONE_NEWUTS)
    os.dup2(make_root(root), ROOT_FD)
    fd = os.memfd_create("message", 0)
    os.pwrite(fd, message, 0)
    os.dup2(fd, 3)
    os.dup2(os.open("/dev/null", os.O_RDWR), 4)
    os.dup2(4, 5)
    process.close_range(6, ROOT_FD - 1)
    os.execve(helper, ["tiffin-init"], {})


def fuzz(root: str) -> dict[str, int]:
    """In namespaces of our own: run all of them; how often each exit code or signal came."""
    namespaces.unshare(NAMESPACES)
    if os.fork():  # only a child is in the new pid namespace; it goes on, this process takes its verdict over
        os._exit(os.waitstatus_to_exitcode(os.wait()[1]) & 0xFF)
    random_ = random.Random(SEED)
    helper = os.dup2(open_helper(), ROOT_FD + 1, inheritable=False)
    bases = base_messages(ROOT_FD)
    seen: dict[str, int] = {}
    for _ in range(COUNT):
        message = mutate(random_, random_.choice(bases))
        child = os.fork()
        if not child:
            signal.alarm(20)
            execute(helper, message, root)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if code < 0 and -code not in OWN_DOING:
            raise AssertionError(f"signal {-code} by {message.hex()}")
        seen[str(code)] = seen.get(str(code), 0) + 1
    return seen


def test_mutated_messages_are_refused_or_obeyed_and_never_crash_the_helper(rootfs):
    done = subprocess.run(
        [sys.executable, "-m", "tests.integration.init.test_fuzz_message", rootfs],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert seen["1"] > COUNT / 4  # refused
    assert seen["0"] > 0  # obeyed: the mutations are not all caught by the first check


if __name__ == "__main__":
    print(json.dumps(fuzz(sys.argv[1])), flush=True)
    os._exit(0)
