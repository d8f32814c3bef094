"""Driving the helper from a test: a root of busybox, and a `Box` that runs one command in it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

from tiffin.init import message as m
from tiffin.init.message import Status

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

APPLETS = ("cat", "chmod", "env", "grep", "hostname", "ls", "mkdir", "ps", "sh", "sleep", "true")
ALL_CAPABILITIES = (1 << 64) - 1


def make_rootfs(path: Path) -> str:
    for directory in ("bin", "proc", "tmp", "work"):
        (path / directory).mkdir(parents=True)
    shutil.copy("/usr/bin/busybox", path / "bin/busybox")
    for applet in APPLETS:
        (path / "bin" / applet).symlink_to("busybox")
    path.chmod(0o755)
    return str(path)


class Result(NamedTuple):
    code: int
    output: str
    statuses: list[Status]


class Box:
    """One run of the helper; keywords are fields of Message. `finish` releases it and collects all it said."""

    def __init__(
        self,
        root: str,
        *args: str,
        join: int = 0,
        host_pid: bool = False,
        leak: Sequence[int] = (),
        stdio: int | None = None,
        **fields: Any,
    ) -> None:
        fields.setdefault("flags", m.NEW_SESSION | m.WAIT_START)
        fields.setdefault("env", ["PATH=/bin"])
        fields.setdefault("bounding", ALL_CAPABILITIES)
        fields["seccomp"] = fields.get("seccomp", b"").hex()
        self.waits = bool(fields["flags"] & m.WAIT_START)
        self.status, status = os.pipe()
        start, self.start_fd = os.pipe()
        pids, pid = os.pipe()
        plan: dict[str, Any] = {"root": root, "message": {**fields, "args": args}}
        plan |= {"status": status, "start": start, "pid": pid, "host_pid": host_pid, "leak": list(leak)}
        if join:
            plan["join"] = join
        planned = os.memfd_create("plan")
        os.pwrite(planned, json.dumps(plan).encode(), 0)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.integration.init.box", str(planned)],
            stdin=subprocess.DEVNULL if stdio is None else stdio,
            stdout=subprocess.PIPE if stdio is None else stdio,
            stderr=subprocess.STDOUT if stdio is None else stdio,
            pass_fds=(status, start, pid, planned),
            env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
        )
        for fd in (status, start, pid, planned):
            os.close(fd)
        with os.fdopen(pids) as lines:
            self.pid = int(lines.readline() or "0")
        self.statuses: list[Status] = []

    def ready(self) -> Status:
        """The word after any warnings: `ready`, or why it is not."""
        while (word := m.read_status(self.status)) is not None:
            self.statuses.append(word)
            if word.kind in (m.READY, m.FAILED):
                return word
        raise AssertionError(f"the helper ended without a word: {self.process.communicate()[0]!r}")

    def start(self) -> None:
        os.write(self.start_fd, b"\0")

    def executed(self) -> bool:
        """True at the end of the status words; False when the last says that it failed."""
        while (word := m.read_status(self.status)) is not None:
            self.statuses.append(word)
        return self.statuses[-1].kind != m.FAILED

    def finish(self) -> Result:
        awaited = not any(word.kind in (m.READY, m.FAILED) for word in self.statuses)
        if awaited and self.ready().kind == m.READY and self.waits:
            self.start()
        self.executed()
        output = self.process.communicate(timeout=60)[0]
        self.close()
        return Result(self.process.returncode, output.decode() if output else "", self.statuses)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        if self.process.stdout:
            self.process.stdout.close()
        for fd in (self.status, self.start_fd):
            if fd >= 0:
                os.close(fd)
        self.status = self.start_fd = -1


def run(root: str, *args: str, **fields: Any) -> Result:
    return Box(root, *args, **fields).finish()
