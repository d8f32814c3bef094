"""A machine that executes arm64 too: Debian's qemu, registered with binfmt_misc where the tests alone see it.

binfmt_misc is mounted in a mount namespace of the test's own, which a process holds; commands run in there. Its
handlers are the kernel's, so a program for arm64 is emulated everywhere meanwhile, but other engines do not see why.
With the namespace the last mount goes, and the handler with it.
"""

import os
import platform
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.command import Tiffin
from tests.images import CACHE, mmdebstrap, once

BINFMT = "/proc/sys/fs/binfmt_misc"
NAME = f"tiffin-test-{os.getpid()}"
# An ELF header of 64 bits, little endian, for AArch64: a program, of fixed (2) or of any address (3).
_MAGIC = "7f454c460201010000000000000000000200b700"
_MASK = "ffffffffffffff00fffffffffffffffffeffffff"


def qemu() -> Path:
    """Debian's static qemu for programs of arm64; of the package, of which it is a thirtieth, nothing else is kept."""

    def make(path: Path) -> None:
        directory = path.with_suffix(".packages")
        directory.mkdir()
        # In Debian 12, and from Debian 13, where the first package only refers to the second.
        for package, program in (("qemu-user-static", "qemu-aarch64-static"), ("qemu-user", "qemu-aarch64")):
            fetch = ["apt-get", "download", "-qq", package]
            subprocess.run(fetch, cwd=directory, check=True, capture_output=True)
            unpack = f"dpkg-deb --fsys-tarfile {package}_*.deb | tar -xO ./usr/bin/{program} >{path}"
            subprocess.run(["sh", "-c", unpack], cwd=directory, check=False, capture_output=True)
            if path.stat().st_size:
                break
        path.chmod(0o755)
        subprocess.run(["rm", "-r", directory], check=True)

    return once(CACHE / "qemu-aarch64", make)


def arm64_tar() -> Path:
    """A Debian for arm64 with a shell, the usual tools and busybox, as unpacked: nothing of it was executed."""
    packages = "base-files,busybox-static,coreutils,dash,libc-bin"
    options = ("--arch=arm64", "--variant=extract", f"--include={packages}")
    return once(CACHE / "debian-arm64.tar", lambda path: mmdebstrap(path, *options))


class Machine:
    """Where binfmt_misc is mounted, for as long as the context `machine` lasts."""

    def __init__(self, pid: int) -> None:
        enter = f'exec nsenter --mount=/proc/{pid}/ns/mnt -- sh -c \'cd "$0" && exec "$@"\' "$PWD" "$@"'
        self._enter = ["sh", "-c", enter, "sh"]

    def inside(self, *command: str) -> list[str]:
        """The same command, there, in the directory that it is given in."""
        return [*self._enter, *command]

    def run(self, script: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(self.inside("sh", "-c", script), capture_output=True, text=True, timeout=60)

    def register(self, interpreter: Path, flags: str = "FC") -> None:
        magic, mask = (
            "".join(f"\\x{text[at : at + 2]}" for at in range(0, len(text), 2)) for text in (_MAGIC, _MASK)
        )
        done = self.run(f"printf '%s' ':{NAME}:M::{magic}:{mask}:{interpreter}:{flags}' >{BINFMT}/register")
        assert done.returncode == 0, done.stderr

    def unregister(self) -> None:
        self.run(f"[ ! -e {BINFMT}/{NAME} ] || echo -1 >{BINFMT}/{NAME}")


class TiffinThere(Tiffin):
    """tiffin's commands on that machine."""

    def __init__(self, directory: Path, machine: Machine) -> None:
        super().__init__(directory)
        self._machine = machine

    def argv(self, *words: str | Path) -> list[str]:
        return self._machine.inside(*super().argv(*words))


@contextmanager
def machine() -> Iterator[Machine]:
    """Skips where binfmt_misc cannot be mounted, or arm64 runs without it."""
    if platform.machine() != "x86_64":
        pytest.skip("emulates arm64 on amd64")
    hold = f"mount -t binfmt_misc binfmt_misc {BINFMT} && echo mounted && exec cat"
    holder = subprocess.Popen(
        ["unshare", "--mount", "sh", "-c", hold],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert holder.stdin and holder.stdout and holder.stderr
    mounted = holder.stdout.readline() == "mounted\n"
    made = Machine(holder.pid)
    try:
        if not mounted:
            pytest.skip(f"binfmt_misc cannot be mounted here: {holder.stderr.read().strip()}")
        yield made
    finally:
        if mounted:
            made.unregister()
        holder.stdin.close()
        holder.wait(timeout=30)
        holder.stdout.close()
        holder.stderr.close()
