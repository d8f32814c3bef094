"""Processes, and the plumbing under every call; no root needed."""

from __future__ import annotations

import errno
import os
import select
import signal
import subprocess
import sys
import time

import pytest

from tiffin.kernel import libc, process


def in_child(action) -> int:
    """Run `action` in a forked child; its exit code."""
    pid = os.fork()
    if not pid:
        code = 99
        try:
            code = action() or 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@pytest.fixture
def sleeper():
    child = subprocess.Popen(["sleep", "60"])
    yield child
    child.kill()
    child.wait()


def test_the_start_time_tells_processes_apart_and_ends_with_them(sleeper):
    started = process.process_start_time(sleeper.pid)
    assert started > process.process_start_time(1) >= 0
    assert started >= process.process_start_time(os.getpid())
    sleeper.kill()
    assert process.process_start_time(sleeper.pid) == started  # a zombie is not gone
    sleeper.wait()
    assert process.process_start_time(sleeper.pid) == 0


def test_the_start_time_is_read_past_any_name(tmp_path):
    program = tmp_path / "a) R 1 (2"
    program.symlink_to("/bin/sleep")
    child = subprocess.Popen([str(program), "60"])
    try:
        assert process.process_start_time(child.pid) >= process.process_start_time(os.getpid())
    finally:
        child.kill()
        child.wait()


def test_a_pidfd_signals_and_tells_of_the_end(sleeper):
    pidfd = process.pidfd_open(sleeper.pid)
    assert not os.get_inheritable(pidfd)
    assert select.select([pidfd], [], [], 0)[0] == []
    process.pidfd_send_signal(pidfd, signal.SIGTERM)
    assert select.select([pidfd], [], [], 10)[0] == [pidfd]
    assert sleeper.wait() == -signal.SIGTERM
    with pytest.raises(ProcessLookupError):
        process.pidfd_send_signal(pidfd, signal.SIGTERM)
    os.close(pidfd)


def test_there_is_no_pidfd_of_nobody():
    with pytest.raises(ProcessLookupError):
        process.pidfd_open(2**22 + 1)


def test_prctl_settings_take(tmp_path):
    def action() -> int:
        process.set_dumpable(False)
        process.set_child_subreaper()
        process.set_pdeathsig(signal.SIGUSR1)
        return 0 if process.prctl(3) == 0 else 1  # PR_GET_DUMPABLE

    assert in_child(action) == 0


def test_close_range_closes_and_marks():
    def action() -> int:
        fds = [os.dup2(0, fd) for fd in (100, 101, 102)]
        process.close_range(100, 100)
        process.close_range(101, 102, process.CLOSE_RANGE_CLOEXEC)
        closed = not os.path.exists(f"/proc/self/fd/{fds[0]}")
        return 0 if closed and not any(map(os.get_inheritable, fds[1:])) else 1

    assert in_child(action) == 0


def test_a_sealed_memfd_is_final():
    fd = os.memfd_create("sealed", os.MFD_ALLOW_SEALING | os.MFD_CLOEXEC)
    os.write(fd, b"final")
    process.seal(fd)
    for attempt in (lambda: os.write(fd, b"x"), lambda: os.ftruncate(fd, 0), lambda: os.ftruncate(fd, 99)):
        with pytest.raises(PermissionError):
            attempt()
    os.close(fd)


def test_capabilities_are_numbered_as_the_kernel_numbers_them():
    known = {
        "CAP_CHOWN": 0,
        "CAP_NET_RAW": 13,
        "CAP_SYS_ADMIN": 21,
        "CAP_SETFCAP": 31,
        "CAP_CHECKPOINT_RESTORE": 40,
    }
    assert {name: process.CAPABILITIES[name] for name in known} == known
    assert len(process.CAPABILITIES) == 41


def test_the_bounding_set_is_within_what_the_kernel_knows():
    with open("/proc/sys/kernel/cap_last_cap") as file:
        last = int(file.read())
    assert 0 <= process.bounding_set() < 1 << last + 1


def test_this_thread_is_counted():
    assert process.thread_count() >= 1


def test_a_call_is_started_again_after_a_signal():
    caught: list[int] = []
    reader, writer = os.pipe()

    def ring(number: int, _frame: object) -> None:
        caught.append(number)
        if len(caught) == 3:
            os.write(writer, b"x")
        else:
            signal.setitimer(signal.ITIMER_REAL, 0.02)

    before = signal.signal(signal.SIGALRM, ring)
    signal.siginterrupt(signal.SIGALRM, True)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.02)
        buffer = bytearray(1)
        sys_read = {"x86_64": 0, "aarch64": 63}[os.uname().machine]
        assert libc.call(sys_read, reader, buffer, 1) == 1
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        os.close(reader)
        os.close(writer)
    assert (bytes(buffer), len(caught)) == (b"x", 3)


def test_an_unknown_call_is_the_kernels_to_refuse():
    with pytest.raises(OSError) as caught:
        libc.call(-1)
    assert caught.value.errno == errno.ENOSYS


def test_importing_the_room_does_not_load_ctypes():
    rooms = "libc, mounts, namespaces, paths, process"
    code = f"import sys\nfrom tiffin.kernel import {rooms}\nassert 'ctypes' not in sys.modules, 'loaded'"
    subprocess.run(
        [sys.executable, "-c", code], check=True, env={**os.environ, "PYTHONPATH": ":".join(sys.path)}
    )


def test_the_clock_of_start_times_runs(sleeper):
    ticks = os.sysconf("SC_CLK_TCK")
    age = time.clock_gettime(time.CLOCK_BOOTTIME) - process.process_start_time(sleeper.pid) / ticks
    assert -1 < age < 60
