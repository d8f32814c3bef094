"""The guest's kernel and root disk, from the Debian packages of the machine that the tests run on."""

import hashlib
import os
import subprocess
from pathlib import Path
from typing import NamedTuple

from tests.images import once

CACHE = Path(__file__).parent.parent.parent / ".cache" / "vm"
INIT = Path(__file__).with_name("guest-init")
SOURCES = Path("/etc/apt/sources.list.d/debian.sources")
# Its disk driver (NVMe) and ext4 are built in, so that it needs no initramfs.
KERNEL_PACKAGE = "linux-image-cloud-amd64"
PACKAGES = "python3,nftables,iproute2,busybox-static,kmod,crun"
DISK_SIZE = "2G"  # sparse


class Machine(NamedTuple):
    kernel: Path
    disk: Path  # ext4; boot it as a snapshot, nothing is to be written to it


def machine() -> Machine:
    """The guest, made when it is missing: half a minute, and 100 MB of packages. RuntimeError with the failing
    command's text. `rm -r .cache/vm` to have it made of newer packages."""
    recipe = Path(__file__).read_bytes() + INIT.read_bytes()
    made = once(CACHE / f"machine-{hashlib.sha256(recipe).hexdigest()[:12]}", _make)
    return Machine(made / "vmlinuz", made / "root.ext4")


def _make(directory: Path) -> None:
    directory.mkdir()
    kernel, tree = directory / "kernel", directory / "tree"
    package = next(
        line.split()[1]
        for line in run(["apt-cache", "depends", KERNEL_PACKAGE]).splitlines()
        if "Depends: linux-image" in line
    )
    run(["apt-get", "download", "-q", "-o", "APT::Sandbox::User=root", package], cwd=directory)
    run(["dpkg-deb", "-x", next(directory.glob("*.deb")), kernel])
    next((kernel / "boot").glob("vmlinuz-*")).rename(directory / "vmlinuz")

    command = ["mmdebstrap", "--quiet", "--variant=minbase", f"--include={PACKAGES}", "--format=directory"]
    command += [
        "--skip=check/qemu",
        "--dpkgopt=path-exclude=/usr/share/doc/*",
        "--dpkgopt=path-exclude=/usr/share/man/*",
    ]
    run([*command, _codename(), tree, *([SOURCES] if SOURCES.exists() else [])])
    modules = next(kernel.glob("**/lib/modules/*"))
    run(["cp", "-r", modules, _made(tree / "usr/lib/modules")])
    run(["chroot", tree, "depmod", modules.name])
    (tree / "sbin/guest-init").write_bytes(INIT.read_bytes())
    (tree / "sbin/guest-init").chmod(0o755)

    run(["mke2fs", "-q", "-t", "ext4", "-O", "^has_journal", "-d", tree, directory / "root.ext4", DISK_SIZE])
    run(["rm", "-r", tree, kernel, *directory.glob("*.deb")])


def _codename() -> str:
    """Of the Debian that this machine runs: its packages are what the machine's sources offer, and its Python
    is the one that compiled wheels were installed for."""
    lines = dict(
        line.split("=", 1) for line in Path("/etc/os-release").read_text().splitlines() if "=" in line
    )
    return lines["VERSION_CODENAME"].strip('"')


def _made(directory: Path) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    return directory


def run(command: list[str | Path], cwd: Path | None = None) -> str:
    """Standard output of a command that must succeed."""
    env = {**os.environ, "PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"}
    done = subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=env, stdin=subprocess.DEVNULL)
    if done.returncode:
        raise RuntimeError(f"{' '.join(map(str, command))}: {(done.stderr or done.stdout)[-800:]}")
    return done.stdout
