"""A busybox container driven through the runtime itself, for tests: no store, no supervisor.

with Box(tmp_path) as box:
    done = box.run("id; exit 3")        # (code, out)
    init = box.start("sleep 100")       # started; box.exec(init, "ls") runs another in it
    init.destroy()
"""

from __future__ import annotations

import os
import shutil
import subprocess
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tiffin.init import open_helper
from tiffin.oci.mount import Mount
from tiffin.runtime.cgroups import open_cgroup, prune_parent
from tiffin.runtime.create import CreateRequest, InitProcess, create
from tiffin.runtime.exec import ExecProcess, ExecRequest, exec_process
from tiffin.runtime.spec import ContainerOptions, default_spec, process

if TYPE_CHECKING:
    from collections.abc import Iterator

BUSYBOX = shutil.which("busybox") or "/bin/busybox"
_numbers = count()


class Done(NamedTuple):
    code: int
    out: str


class Box:
    """A layer with busybox in it, and a fresh upper directory for each container."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.layer = directory / "layer"
        self.parent = f"tiffin-test-{os.getpid()}-{next(_numbers)}"
        self.running: list[InitProcess] = []
        self.helper = open_helper()
        (self.layer / "bin").mkdir(parents=True)
        (self.layer / "etc").mkdir()
        (self.layer / "tmp").mkdir(mode=0o1777)
        (self.layer / "tmp").chmod(0o1777)
        shutil.copy(BUSYBOX, self.layer / "bin/busybox")
        for applet in subprocess.run(
            [BUSYBOX, "--list"], capture_output=True, text=True, check=True
        ).stdout.split():
            if applet != "busybox":
                (self.layer / "bin" / applet).symlink_to("busybox")

    def __enter__(self) -> Box:
        return self

    def __exit__(self, *exc: object) -> None:
        for init in self.running:
            if init.pidfd >= 0:
                init.destroy()
        os.close(self.helper)
        prune_parent(self.parent)
        assert not open_cgroup(f"{self.parent}/any").exists()
        assert self.leftovers() == []

    def leftovers(self) -> list[str]:
        """Mounts in this namespace and cgroups that a container of ours left."""
        with open("/proc/self/mountinfo") as mounts:
            left = [line for line in mounts if str(self.directory) in line]
        return left + [str(path) for path in Path("/sys/fs/cgroup").glob(f"*/{self.parent}")]

    def options(self, argv: list[str] | str, **options: Any) -> ContainerOptions:
        command = ["/bin/sh", "-c", argv] if isinstance(argv, str) else argv
        return ContainerOptions(argv=command, **{"env": ["PATH=/bin"], "hostname": "box", **options})

    def spec(self, argv: list[str] | str, **options: Any) -> dict[str, Any]:
        return default_spec(self.options(argv, **options))

    def create(self, spec: dict[str, Any], output: int = -1, **request: Any) -> InitProcess:
        """From a document; `output` becomes fds 1 and 2, fd 0 is /dev/null."""
        number = next(_numbers)
        base = self.directory / f"c{number}"
        for name in ("upper", "work", "rootfs"):
            (base / name).mkdir(parents=True)
        root = Mount(
            "/", "overlay", lower=(str(self.layer),), upper=str(base / "upper"), work=str(base / "work")
        )
        null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        try:
            out = output if output >= 0 else null
            fields = {"root": root, "mount_point": str(base / "rootfs"), "stdio": (null, out, out), **request}
            init = create(
                CreateRequest(
                    id=f"c{number}",
                    spec=spec,
                    cgroup_parent=self.parent,
                    seccomp_cache=str(self.directory),
                    helper_fd=self.helper,
                    **fields,
                )
            )
        finally:
            os.close(null)
        self.running.append(init)
        return init

    def start(self, argv: list[str] | str, output: int = -1, **options: Any) -> InitProcess:
        init = self.create(self.spec(argv, **options), output)
        init.start()
        return init

    def run(self, argv: list[str] | str, **options: Any) -> Done:
        return self.run_spec(self.spec(argv, **options))

    def run_spec(self, spec: dict[str, Any], **request: Any) -> Done:
        with self.output() as (fd, text):
            init = self.create(spec, fd, **request)
            init.start()
            code = init.wait()
            init.close()
            init.cgroup.delete()
            return Done(code, text())

    def exec(self, init: InitProcess, argv: list[str] | str, **options: Any) -> Done:
        with self.output() as (fd, text):
            running = self.exec_start(init, argv, fd, **options)
            code = running.wait()
            running.close()
            return Done(code, text())

    def exec_start(
        self, init: InitProcess, argv: list[str] | str, output: int = -1, seccomp: bool = True, **options: Any
    ) -> ExecProcess:
        null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        try:
            out = output if output >= 0 else null
            return exec_process(
                ExecRequest(
                    pid=init.pid,
                    pid_start=init.pid_start,
                    cgroup=init.cgroup.path,
                    process=process(self.options(argv, **options)),
                    seccomp={"profile": ""} if seccomp else None,
                    stdio=(null, out, out),
                    seccomp_cache=str(self.directory),
                    helper_fd=self.helper,
                )
            )
        finally:
            os.close(null)

    @contextmanager
    def output(self) -> Iterator[tuple[int, Any]]:
        path = self.directory / f"output{next(_numbers)}"
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
        try:
            yield fd, lambda: path.read_text(errors="replace")
        finally:
            os.close(fd)

    def compile(self, source: str, name: str) -> None:
        """A static program into the layer's /bin."""
        text = self.directory / f"{name}.c"
        text.write_text(source)
        (self.layer / "bin" / name).unlink(missing_ok=True)  # a link to busybox would be written through
        target = self.layer / "bin" / name
        subprocess.run(
            ["gcc", "-O1", "-static", "-o", str(target), str(text)], check=True, capture_output=True
        )
