"""OCI bundles of busybox and the runtimes that take them, for tests: ours, and others that are installed.

with Runtime(OURS, tmp_path) as runtime:
    done = runtime.run(lambda c: c["process"].update(args=["id"]))     # (code, out, err)
"""

from __future__ import annotations

import copy
import json
import os
import shutil
import subprocess
import sys
import time
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tests.images import CACHE, busybox_tree, once
from tiffin.runtime.cgroups import open_cgroup, prune_parent

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Change = Callable[[dict[str, Any]], object]

OURS = (sys.executable, "-m", "tiffin.cli.oci.main")
_numbers = count()
_CAPABILITIES = [
    "CAP_AUDIT_WRITE",
    "CAP_KILL",
    "CAP_NET_BIND_SERVICE",
    "CAP_CHOWN",
    "CAP_SETUID",
    "CAP_SETGID",
]
BASE: dict[str, Any] = {
    "ociVersion": "1.0.2",
    "root": {"path": "rootfs", "readonly": False},
    "process": {
        "terminal": False,
        "user": {"uid": 0, "gid": 0},
        "args": ["true"],
        "env": ["PATH=/bin"],
        "cwd": "/",
        "capabilities": dict.fromkeys(("bounding", "effective", "permitted"), _CAPABILITIES),
        "noNewPrivileges": True,
    },
    "hostname": "box",
    "mounts": [
        {"destination": "/proc", "type": "proc", "source": "proc"},
        {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "strictatime", "mode=755"]},
        {"destination": "/dev/pts", "type": "devpts", "source": "devpts",
         "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]},
        {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["nosuid", "noexec", "nodev", "ro"]},
    ],
    "linux": {"namespaces": [{"type": kind} for kind in ("pid", "network", "ipc", "uts", "mount")]},
}  # fmt: skip


class Done(NamedTuple):
    code: int
    out: str
    err: str


def template() -> Path:
    """A busybox root, made once; never run from."""

    def make(path: Path) -> None:
        path.mkdir()
        busybox_tree(path)

    return once(CACHE / "busybox-root", make)


class Runtime:
    """One runtime's command line on a state directory of its own."""

    def __init__(self, argv: Sequence[str], directory: Path) -> None:
        self.argv, self.directory = list(argv), directory
        self.ours = tuple(argv) == OURS
        self.parent = f"tiffin-test-{os.getpid()}-{next(_numbers)}"
        self.made: list[str] = []
        template()

    def __enter__(self) -> Runtime:
        return self

    def __exit__(self, *exc: object) -> None:
        for name in self.made:
            self("delete", "--force", name)
            open_cgroup(f"{self.parent}/{name}").delete()
        prune_parent(self.parent)
        with open("/proc/self/mountinfo") as mounts:
            assert not [line for line in mounts if str(self.directory) in line]

    def __call__(self, *words: str, **options: Any) -> Done:
        options = {"stdin": subprocess.DEVNULL, "timeout": 60, **options}
        # A file, not a pipe: what a created container holds open would keep a pipe from ending.
        with (
            open(self.directory / f"out{next(_numbers)}", "w+b") as out,
            open(self.directory / f"err{next(_numbers)}", "w+b") as err,
        ):
            environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
            done = subprocess.run(
                [*self.argv, "--root", str(self.directory / "state"), *words],
                stdout=out, stderr=err, env=environment, **options,
            )  # fmt: skip
            out.seek(0)
            err.seek(0)
            return Done(
                done.returncode, out.read().decode(errors="replace"), err.read().decode(errors="replace")
            )

    def ok(self, *words: str, **options: Any) -> str:
        done = self(*words, **options)
        assert done.code == 0, f"{' '.join(words)}: {done}"
        return done.out

    def bundle(self, change: Change | None = None, *, owner: int = 0) -> tuple[str, Path]:
        """A new id and its bundle; `change` edits the configuration."""
        name = f"c{next(_numbers)}"
        self.made.append(name)
        path = self.directory / name
        shutil.copytree(template(), path / "rootfs", symlinks=True)
        (path / "rootfs/tmp").chmod(0o1777)
        config = copy.deepcopy(BASE)
        config["linux"]["cgroupsPath"] = f"/{self.parent}/{name}"
        if change:
            change(config)
        if owner:
            subprocess.run(["chown", "-R", f"{owner}:{owner}", path / "rootfs"], check=True)
        (path / "config.json").write_text(json.dumps(config))
        return name, path

    def run(
        self, change: Change | None = None, *, owner: int = 0, words: Sequence[str] = (), **options: Any
    ) -> Done:
        """Create, start, wait, delete."""
        name, path = self.bundle(change, owner=owner)
        return self("run", "--bundle", str(path), *words, name, **options)

    def sh(self, script: str, change: Change | None = None, **options: Any) -> Done:
        """`run` of a shell script."""

        def both(config: dict[str, Any]) -> None:
            config["process"]["args"] = ["sh", "-c", script]
            if change:
                change(config)

        return self.run(both, **options)

    def create(self, change: Change | None = None, *words: str, owner: int = 0, **options: Any) -> str:
        """The id of a container that has been created."""
        name, path = self.bundle(change, owner=owner)
        self.ok("create", "--bundle", str(path), *words, name, **options)
        return name

    def state(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.ok("state", name))
        return found

    def wait(self, name: str, status: str) -> dict[str, Any]:
        """Its state, once it is that."""
        deadline = time.monotonic() + 20
        while (state := self.state(name))["status"] != status:
            assert time.monotonic() < deadline, f"{name} is {state['status']}, never {status}"
            time.sleep(0.01)
        return state


def sleeper(config: dict[str, Any]) -> None:
    """A change: a process that runs until it is told to end."""
    config["process"]["args"] = ["sleep", "1000"]


def script(text: str) -> Change:
    return lambda config: config["process"].update(args=["sh", "-c", text])
