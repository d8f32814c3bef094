"""Root filesystems for tests, made from what Debian ships and kept between runs in .cache/test-images."""

import fcntl
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

CACHE = Path(__file__).parent.parent / ".cache" / "test-images"


def once(path: Path, make: Callable[[Path], None]) -> Path:
    """`path`, made (aside, then renamed) by one process at a time and only when it is missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(f"{path}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            aside = path.with_name(f"{path.name}.{os.getpid()}")
            make(aside)
            aside.rename(path)
    return path


def busybox_tree(tree: Path) -> Path:
    """A root filesystem of busybox-static in the new directory `tree`."""
    source = next(p for p in (Path("/bin/busybox"), Path("/usr/bin/busybox")) if p.exists())
    for name in ("bin", "etc", "tmp", "root", "home", "var"):
        (tree / name).mkdir(parents=True)
    (tree / "bin/busybox").write_bytes(source.read_bytes())
    (tree / "bin/busybox").chmod(0o755)
    applets = subprocess.run([source, "--list"], capture_output=True, text=True, check=True).stdout.split()
    for applet in applets:
        if applet != "busybox":
            (tree / "bin" / applet).symlink_to("busybox")
    (tree / "tmp").chmod(0o1777)
    (tree / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000:user:/home:/bin/sh\n")
    (tree / "etc/group").write_text("root:x:0:\nuser:x:1000:\nextra:x:2000:user\n")
    return tree


def busybox_tar() -> Path:
    """A tar of `busybox_tree`."""

    def make(path: Path) -> None:
        tree = busybox_tree(path.with_suffix(".tree"))
        command = ["tar", "-C", str(tree), "--owner=0", "--group=0", "--sort=name", "--mtime=@1700000000"]
        subprocess.run([*command, "-cf", str(path), "."], check=True)
        subprocess.run(["rm", "-r", tree], check=True)

    return once(CACHE / "busybox.tar", make)


def debian_tar() -> Path:
    """A small Debian: what is essential, apt and certificates; without documentation, and without dpkg's syncing."""
    spared = [f"--dpkgopt=path-exclude=/usr/share/{what}/*" for what in ("doc", "man", "locale")]
    options = ("--variant=minbase", "--include=ca-certificates", "--dpkgopt=force-unsafe-io", *spared)
    return once(CACHE / "debian-small.tar", lambda path: mmdebstrap(path, *options))


def postgresql_tar() -> Path:
    """A Debian with its PostgreSQL 15 and no cluster yet."""
    no_cluster = """--essential-hook=mkdir -p "$1/etc/postgresql-common" &&
        echo create_main_cluster = false >"$1/etc/postgresql-common/createcluster.conf\""""
    spared = ("share/doc", "share/man", "share/locale", "lib/postgresql/15/lib/bitcode", "lib/*/libLLVM*")
    without = [f"--dpkgopt=path-exclude=/usr/{path}{'' if '*' in path else '/*'}" for path in spared]
    options = ("--variant=essential", "--include=postgresql-15", "--aptopt=Apt::Install-Recommends false")
    return once(CACHE / "postgresql.tar", lambda path: mmdebstrap(path, *options, no_cluster, *without))


def mmdebstrap(path: Path, *options: str) -> None:
    """Made by mmdebstrap from the machine's own package sources."""
    command = ["mmdebstrap", *options, "--format=tar", "--quiet", "--skip=check/qemu", "bookworm", str(path)]
    sources = Path("/etc/apt/sources.list.d/debian.sources")
    if sources.exists():
        command.append(str(sources))
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"mmdebstrap: {done.stderr[-600:]}")
