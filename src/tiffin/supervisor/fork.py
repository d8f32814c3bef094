"""Forking a process that belongs to nobody: a supervisor, or the keeper of an exec.

Only from a single-threaded process. The child shares the parent's memory until it writes to it, so what it needs
is imported before. A SQLite connection must not be open across the fork when the child opens the same database:
SQLite keeps, per process, which locks it holds, and the child would believe in locks that only the parent has.
"""

import _signal  # type: ignore[import-not-found] # `signal` itself turns every number into a name first
import gc
import os

from tiffin.kernel.process import close_range
from tiffin.typed import Callable, Sequence

_NEVER_IGNORED = (
    *(_signal.SIGHUP, _signal.SIGINT, _signal.SIGQUIT, _signal.SIGTERM, _signal.SIGUSR1, _signal.SIGUSR2),
    *(_signal.SIGWINCH, _signal.SIGCHLD, _signal.SIGALRM),
)


def fork_orphan(task: Callable[[], None], keep: Sequence[int], *, reaped: bool = False) -> None:
    """Run `task` in a process of its own session that is not our child (with `reaped`, a child that somebody else
    reaps: SIGCHLD is ignored here, or we end before it matters). It keeps only the descriptors `keep`; 0 to 2 are
    /dev/null; signals are as at exec. It never returns into the caller's code, and says nothing: `task` reports
    through its descriptors."""
    child = os.fork()
    if child:
        if not reaped:
            os.waitpid(child, 0)
        return
    code = 1
    try:
        if not reaped and os.fork():
            os._exit(0)
        os.setsid()
        let_go(keep)
        task()
        code = 0
    finally:
        os._exit(code)


def let_go(keep: Sequence[int]) -> None:
    """In a child: keep only those descriptors, 0 to 2 are /dev/null, signals as at exec."""
    gc.freeze()
    gc.enable()
    _signal.set_wakeup_fd(-1)
    for number in range(1, _signal.NSIG):
        if number in _NEVER_IGNORED or callable(_signal.getsignal(number)):
            _signal.signal(number, _signal.SIG_DFL)
    _signal.pthread_sigmask(_signal.SIG_SETMASK, ())
    os.chdir("/")
    os.umask(0o022)
    first = 3
    for fd in sorted(set(keep)):
        if fd > first:
            close_range(first, fd - 1)
        first = fd + 1
    close_range(first)
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    for fd in range(3):
        os.dup2(null, fd)
    os.close(null)
