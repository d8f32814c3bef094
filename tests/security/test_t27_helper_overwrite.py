"""T27: what a container finds behind /proc/self/exe and /proc/1/exe is a sealed copy of the helper, for good."""

from __future__ import annotations

import hashlib
import os

import pytest

from tests.integration.init.harness import Box, run
from tiffin.init import message as m
from tiffin.init import open_helper

pytestmark = pytest.mark.root

PTRACE = {"bounding": 1 << 19, "permitted": 1 << 19, "effective": 1 << 19}


def test_the_helper_cannot_be_written_truncated_or_made_unexecutable():
    fd = open_helper()
    try:
        for attempt in (
            lambda: os.open(f"/proc/self/fd/{fd}", os.O_RDWR | os.O_TRUNC),
            lambda: os.pwrite(os.open(f"/proc/self/fd/{fd}", os.O_RDWR), b"#!", 0),
            lambda: os.ftruncate(fd, 0),
        ):
            with pytest.raises(OSError):
                attempt()
        release = tuple(int(part) for part in os.uname().release.split(".")[:2])
        if release >= (6, 3):
            with pytest.raises(PermissionError):
                os.fchmod(fd, 0o600)
    finally:
        os.close(fd)


def test_an_entrypoint_of_proc_self_exe_runs_the_helper_without_a_message_and_fails(rootfs):
    result = run(rootfs, "/proc/self/exe")
    assert result.code not in (0, 126, 127)
    assert result.output == ""


def test_a_container_cannot_change_the_init_that_it_can_see(rootfs):
    script = (
        "sleep 0.05; cat /proc/1/exe > /tmp/before; echo x > /proc/1/exe; chmod 777 /proc/1/exe;"
        " exec 9< /proc/1/exe; echo x > /proc/self/fd/9; cat /proc/1/exe > /tmp/after"
    )
    flags = m.NEW_SESSION | m.WAIT_START | m.KEEP_INIT
    every = (1 << 64) - 1
    held = int(_status("CapPrm"), 16)
    caps = dict.fromkeys(("permitted", "effective"), held)
    run(rootfs, "sh", "-c", script, flags=flags, bounding=every, **caps)
    before, after = (_read(f"{rootfs}/tmp/{name}") for name in ("before", "after"))
    fd = open_helper()
    ours = os.pread(fd, 1 << 20, 0)
    os.close(fd)
    assert len(ours) > 1000
    assert before == after == ours


def test_a_tracer_in_the_container_cannot_change_a_helper_that_joins(rootfs):
    container = Box(rootfs, "sleep", "60")
    container.ready()
    container.start()
    assert container.executed()
    joining = Box(rootfs, "true", join=container.pid)
    assert joining.ready().kind == "ready"
    before = _read(f"/proc/{joining.statuses[0].value}/exe")
    script = 'for p in /proc/[0-9]*; do case "$(cat $p/comm)" in tiffin-init) echo found; echo x > $p/exe;; esac; done'
    said = run(rootfs, "sh", "-c", script, join=container.pid, **PTRACE).output
    after = _read(f"/proc/{joining.statuses[0].value}/exe")
    joining.start()
    assert joining.finish().code == 0
    container.close()
    assert "found" in said
    assert hashlib.sha256(before).digest() == hashlib.sha256(after).digest()


def _read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def _status(field: str) -> str:
    with open("/proc/self/status") as lines:
        return next(line.split()[1] for line in lines if line.startswith(field))
