"""The engines that a row is run on: tiffin, and whichever of docker, podman and runc is installed.

Each side lives in directories of its own; dockerd runs in a network namespace of its own, so that its bridge and
its iptables rules never meet the machine's. Everything is taken down by `close`, by pid.
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Protocol

BUSYBOX = "bench/busybox"


class Side(Protocol):
    """One engine under measurement."""

    name: str

    def command(self, *words: str) -> list[str]:
        """The argument vector for Docker's command line `words` on this engine."""
        ...

    def load(self, archive: str) -> None: ...

    def close(self) -> None: ...


class Tiffin:
    """The tiffin of the environment that runs the benchmark."""

    name = "tiffin"

    def __init__(self, work: str) -> None:
        binary = os.path.join(os.path.dirname(sys.executable), "tiffin")
        self._prefix = [binary, "--root", f"{work}/tiffin/root", "--run", f"{work}/tiffin/run"]

    def command(self, *words: str) -> list[str]:
        return [*self._prefix, *words]

    def load(self, archive: str) -> None:
        run(self.command("load", "-q", "-i", archive))

    def close(self) -> None:
        ids = run(self.command("ps", "-aq")).split()
        if ids:
            run(self.command("rm", "-f", *ids))
        with contextlib.suppress(ImportError, AttributeError):
            from tiffin.engine import Engine

            with Engine(self._prefix[2], self._prefix[4]) as engine:
                engine.teardown()


class Docker:
    """Debian's dockerd, started here and killed at the end."""

    name = "docker"

    def __init__(self, work: str) -> None:
        self._work = f"{work}/docker"
        os.makedirs(self._work)
        self._host = f"unix://{self._work}/docker.sock"
        self._client = "/usr/bin/docker" if os.path.exists("/usr/bin/docker") else "docker"
        arguments = ["--data-root", f"{self._work}/data", "--exec-root", f"{self._work}/exec",
                     "--pidfile", f"{self._work}/pid", "--host", self._host]  # fmt: skip
        log = open(f"{self._work}/log", "wb")  # noqa: SIM115 - the daemon's for its life
        self._daemon = subprocess.Popen(
            ["unshare", "-n", "sh", "-c", 'ip link set lo up; exec dockerd "$@"', "sh", *arguments],
            stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
        deadline = time.monotonic() + 60
        while subprocess.run(self.command("version"), capture_output=True).returncode:
            if self._daemon.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"dockerd did not start; see {self._work}/log")
            time.sleep(0.1)

    def command(self, *words: str) -> list[str]:
        return [self._client, "--host", self._host, *words]

    def entering(self) -> list[str]:
        """What a command is prefixed with to run in the daemon's network namespace."""
        return ["nsenter", "-t", str(self._daemon.pid), "-n"]

    def load(self, archive: str) -> None:
        run(self.command("load", "-q", "-i", archive))

    def close(self) -> None:
        ids = run(self.command("ps", "-aq")).split()
        if ids:
            run(self.command("rm", "-f", *ids))
        self._daemon.send_signal(signal.SIGTERM)
        try:
            self._daemon.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(self._daemon.pid, signal.SIGKILL)
            self._daemon.wait()


class Podman:
    """Debian's podman on runc."""

    name = "podman"

    def __init__(self, work: str) -> None:
        self._prefix = ["podman", "--root", f"{work}/podman/root", "--runroot", f"{work}/podman/run",
                        "--tmpdir", f"{work}/podman/tmp", "--runtime", "runc",
                        "--cgroup-manager", "cgroupfs", "--events-backend", "none"]  # fmt: skip

    def command(self, *words: str) -> list[str]:
        if words[0] in ("run", "create"):
            # raising rlimits needs a capability that a small machine may lack
            words = (words[0], "--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1000:1000", *words[1:])
        return [*self._prefix, *words]

    def load(self, archive: str) -> None:
        run(self.command("load", "-q", "-i", archive))

    def close(self) -> None:
        run(self.command("rm", "-af", "-t", "0"))


class Runc:
    """A bare `runc run` of a ready bundle: the floor that an engine stands on. Only `run` without network."""

    name = "runc"

    def __init__(self, work: str, rootfs: str) -> None:
        self._bundle, self._state = f"{work}/runc/bundle", f"{work}/runc/state"
        os.makedirs(self._bundle)
        run(["runc", "spec", "-b", self._bundle])
        path = f"{self._bundle}/config.json"
        with open(path, encoding="utf-8") as file:
            spec = json.load(file)
        spec["root"] = {"path": rootfs, "readonly": True}
        spec["process"]["args"], spec["process"]["terminal"] = ["true"], False
        spec["process"].pop("rlimits", None)
        with open(path, "w", encoding="utf-8") as file:
            json.dump(spec, file)

    def command(self, *words: str) -> list[str]:
        return ["runc", "--root", self._state, "run", "-b", self._bundle, f"bench-{os.getpid()}"]

    def load(self, archive: str) -> None: ...

    def close(self) -> None: ...


def run(command: Sequence[str]) -> str:
    """Run to the end, output kept; a failure shows what it said."""
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(
            f"{' '.join(command[:8])} ...: exit {done.returncode}: {done.stderr.strip()[-400:]}"
        )
    return done.stdout


def busybox_tree(directory: str) -> str:
    """A root filesystem of Debian's busybox-static, with its applets as links."""
    source = next(p for p in ("/bin/busybox", "/usr/bin/busybox") if os.path.exists(p))
    for name in ("bin", "etc", "tmp", "proc", "sys", "dev", "root"):
        os.makedirs(f"{directory}/{name}", exist_ok=True)
    shutil.copy2(source, f"{directory}/bin/busybox")
    for applet in run([source, "--list"]).split():
        if applet != "busybox":
            os.symlink("busybox", f"{directory}/bin/{applet}")
    with open(f"{directory}/etc/passwd", "w", encoding="ascii") as file:
        file.write("root:x:0:0:root:/root:/bin/sh\n")
    return directory


def available(work: str, names: Sequence[str]) -> list[Side]:
    """Every side of `names` that this machine has, each ready with the busybox image loaded."""
    tree = busybox_tree(f"{work}/busybox")
    tar = f"{work}/busybox.tar"
    run(["tar", "-C", tree, "--owner=0", "--group=0", "-cf", tar, "."])
    first = Tiffin(work)
    run(first.command("import", tar, BUSYBOX))
    archive = f"{work}/image.tar"
    run(first.command("save", "-o", archive, BUSYBOX))
    sides: list[Side] = [first]
    if "docker" in names and shutil.which("dockerd"):
        sides.append(Docker(work))
    if "podman" in names and shutil.which("podman"):
        sides.append(Podman(work))
    for side in sides[1:]:
        side.load(archive)
    if "runc" in names and shutil.which("runc"):
        sides.append(Runc(work, tree))
    return sides
