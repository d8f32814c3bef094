"""Processes: pidfds, what prctl(2) changes, descriptors in bulk, capabilities. Errors are OSError."""

from __future__ import annotations

import os
from errno import ESRCH

from tiffin.kernel.libc import (
    SYS_CLONE,
    SYS_CLOSE_RANGE,
    SYS_PIDFD_GETFD,
    SYS_PIDFD_OPEN,
    SYS_PIDFD_SEND_SIGNAL,
    SYS_PRCTL,
    call,
)

CLOSE_RANGE_UNSHARE = 2
CLOSE_RANGE_CLOEXEC = 4

PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_SET_KEEPCAPS = 8
PR_SET_NAME = 15
PR_CAPBSET_READ = 23
PR_SET_CHILD_SUBREAPER = 36

_SIGCHLD = 17
_F_ADD_SEALS = 1033
_ALL_SEALS = 0x1 | 0x2 | 0x4 | 0x8  # SEAL, SHRINK, GROW, WRITE

_CAPABILITY_NAMES = (
    "CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE "
    "NET_BIND_SERVICE NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT "
    "SYS_PTRACE SYS_PACCT SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE "
    "AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE MAC_ADMIN SYSLOG WAKE_ALARM "
    "BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE"
)
# "CAP_CHOWN" -> 0, ... in the kernel's numbering (linux/capability.h)
CAPABILITIES: dict[str, int] = {f"CAP_{name}": bit for bit, name in enumerate(_CAPABILITY_NAMES.split())}


def fork_into(flags: int) -> int:
    """fork(2) with CLONE_* flags: the child's pid, 0 in the child. Only for a process with one thread.

    The C library learns nothing of it, which is fine for a child that runs on with Python and then executes: nothing
    is locked where there is one thread, and pids are not cached.
    """
    return call(SYS_CLONE, flags | _SIGCHLD, 0, 0, 0, 0)


def pidfd_open(pid: int) -> int:
    """A descriptor of the process, close-on-exec; readable when it ends. ESRCH when there is none."""
    return call(SYS_PIDFD_OPEN, pid, 0)


def pidfd_send_signal(pidfd: int, signal: int) -> None:
    """Signal that very process, never a later one of the same number. ESRCH when it has ended."""
    call(SYS_PIDFD_SEND_SIGNAL, pidfd, signal, 0, 0)


def pidfd_getfd(pidfd: int, fd: int) -> int:
    """A copy, close-on-exec, of another process's descriptor; needs the right to trace it."""
    return call(SYS_PIDFD_GETFD, pidfd, fd, 0)


def prctl(option: int, value: int = 0) -> int:
    """prctl(2) with one argument, the others 0."""
    return call(SYS_PRCTL, option, value, 0, 0, 0)


def set_dumpable(dumpable: bool) -> None:
    """Whether others of our user may trace us and open our /proc entries, as a joined container's could."""
    prctl(PR_SET_DUMPABLE, int(dumpable))


def set_pdeathsig(signal: int) -> None:
    """Be sent `signal` when the thread that forked us ends (0: never). It may have ended before this call."""
    prctl(PR_SET_PDEATHSIG, signal)


def set_child_subreaper(subreaper: bool = True) -> None:
    """Become the parent of orphaned descendants."""
    prctl(PR_SET_CHILD_SUBREAPER, int(subreaper))


def close_range(first: int, last: int = 0xFFFFFFFF, flags: int = 0) -> None:
    """Close, or with CLOSE_RANGE_CLOEXEC mark close-on-exec, the descriptors `first` to `last` inclusive."""
    call(SYS_CLOSE_RANGE, first, last, flags)


def seal(fd: int) -> None:
    """Make a memfd (MFD_ALLOW_SEALING) immutable, for good. EBUSY while it is mapped writable."""
    import fcntl

    fcntl.fcntl(fd, _F_ADD_SEALS, _ALL_SEALS)


def process_start_time(pid: int) -> int:
    """Clock ticks from boot to the process's start (proc(5), /proc/pid/stat field 22); 0 when it is gone.

    A zombie is not gone. With the pid it names a process for as long as the machine runs.
    """
    try:
        fd = os.open(f"/proc/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return 0
    try:
        stat = os.read(fd, 4096)
    except OSError as error:
        if error.errno == ESRCH:
            return 0
        raise
    finally:
        os.close(fd)
    # The command name (field 2) is in parentheses and may hold any byte, so count from the last of them.
    return int(stat[stat.rindex(b")") + 2 :].split()[19])


def boot_id() -> str:
    """Changes at every boot, so that what was written down says whether its pids mean anything."""
    with open("/proc/sys/kernel/random/boot_id", encoding="utf-8") as file:
        return file.read().strip()


def thread_count() -> int:
    """How many threads this process has; forking a container needs 1."""
    return len(os.listdir("/proc/self/task"))


def bounding_set() -> int:
    """The capability bounding set as a mask (bit numbers as in CAPABILITIES)."""
    with open("/proc/thread-self/status", encoding="utf-8", errors="replace") as lines:
        for line in lines:
            if line.startswith("CapBnd:"):
                return int(line[7:], 16)
    raise ValueError("/proc/thread-self/status has no CapBnd")
