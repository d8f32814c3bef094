"""A container's health check: a command run in it, again and again, whose exit code says how it is.

    starting ──0──▶ healthy ◀──0── unhealthy
        └──retries failures in a row──────▲      (those within the start period do not count)

The supervisor forks a process for each probe, which joins the container, takes the output and ends the command when
its time is over. A supervisor never waits for it: the probe's end is one more event of its loop. Intervals are
measured with the monotonic clock; the times in the log are the wall's.

Only a supervisor whose container has a check loads this module.
"""

from __future__ import annotations

import os
import select
import time

from tiffin import jsontext as json
from tiffin.containers.environment import process_env
from tiffin.containers.security import parse_security_options
from tiffin.containers.states import State
from tiffin.containers.store import Containers
from tiffin.errors import TiffinError
from tiffin.runtime import defaults
from tiffin.runtime.exec import ExecProcess, ExecRequest, exec_process
from tiffin.runtime.spec import ContainerOptions, process
from tiffin.state import sqlite as sqlite3
from tiffin.supervisor.fork import let_go
from tiffin.supervisor.logs.files import timestamp
from tiffin.typed import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from typing import NoReturn

    from tiffin.containers.record import ContainerRecord
    from tiffin.runtime.external import External
    from tiffin.state import Store

STARTING, HEALTHY, UNHEALTHY = "starting", "healthy", "unhealthy"
KEPT = 5  # results in the log
OUTPUT = 4096  # bytes of one result's output
_INTERVAL, _TIMEOUT, _START_INTERVAL, _RETRIES = 30.0, 30.0, 5.0, 3
_SHELL = ("/bin/sh", "-c")
_GRACE = 5.0  # seconds beyond its timeout after which a probe that has not reported is given up
_MESSAGE = 64 * 1024
_NOT_RUN = -1
_SIGKILL = 9
_SECOND = 1_000_000_000


class Check(NamedTuple):
    """What to run, and when. Seconds."""

    argv: tuple[str, ...]
    interval: float
    timeout: float
    start_period: float
    start_interval: float
    retries: int


def check_of(record: ContainerRecord) -> Check | None:
    """The record's check, None when there is none or it is switched off (NONE, or a form that nobody knows)."""
    config = record.healthcheck or {}
    form, *words = config.get("Test") or ("NONE",)
    if not words or form not in ("CMD", "CMD-SHELL"):
        return None
    argv = tuple(words) if form == "CMD" else (*(record.shell or _SHELL), words[0])

    def seconds(name: str, default: float) -> float:
        return float(config.get(name) or 0) / _SECOND or default

    return Check(
        argv,
        seconds("Interval", _INTERVAL),
        seconds("Timeout", _TIMEOUT),
        seconds("StartPeriod", 0.0),
        seconds("StartInterval", _START_INTERVAL),
        int(config.get("Retries") or _RETRIES),
    )


class Result(NamedTuple):
    """One probe. Times in ns since the epoch."""

    start: int
    end: int
    exit_code: int
    output: str

    def document(self) -> dict[str, Any]:
        """As Docker's inspect shows it."""
        return {
            "Start": timestamp(self.start), "End": timestamp(self.end), "ExitCode": self.exit_code,
            "Output": self.output,
        }  # fmt: skip


class Verdict:
    """What the results come to: `status`, and `streak`, the failures in a row. Pure."""

    def __init__(self, check: Check) -> None:
        self._check = check
        self.status = STARTING
        self.streak = 0

    def take(self, exit_code: int, since_start: float) -> None:
        """A probe that began `since_start` seconds after the container ended so."""
        if exit_code == 0:
            self.status, self.streak = HEALTHY, 0
        elif self.status != STARTING or since_start >= self._check.start_period:
            self.streak += 1
            if self.streak >= self._check.retries:
                self.status = UNHEALTHY

    def interval(self, since_start: float) -> float:
        """Seconds until the next probe."""
        early = self.status == STARTING and since_start < self._check.start_period
        return self._check.start_interval if early else self._check.interval


class Health:
    """The checks of one run of a container: a `session.Companion`. `close` it when the run has ended."""

    def __init__(
        self, store: Store, record: ContainerRecord, check: Check, pid: int, pid_start: int, helper: int
    ) -> None:
        """`helper`: a descriptor of the static helper, not ours to close."""
        self._store = store
        self._record = record
        self._check = check
        self._verdict = Verdict(check)
        self._request = _request(store, record, check, pid, pid_start)._replace(helper_fd=helper)
        self._started = time.monotonic()
        self._due = self._started + self._verdict.interval(0.0)
        self._probe: _Probe | None = None

    def descriptors(self) -> tuple[int, ...]:
        return (self._probe.fd,) if self._probe else ()

    def deadline(self) -> float:
        return self._probe.deadline if self._probe else self._due

    def turn(self) -> None:
        """Begin the probe that is due, or take the end of the one that runs."""
        if self._probe is None:
            if time.monotonic() >= self._due:
                self._begin()
            return
        result = self._probe.result()
        if result is not None:
            began, self._probe = self._probe.began - self._started, None
            self._take(result, began)

    def close(self) -> None:
        """End what runs. Idempotent."""
        if self._probe is not None:
            self._probe.end()
            self._probe = None

    def _begin(self) -> None:
        if not self._runs():  # frozen: nothing in it would answer
            self._wait()
            return
        try:
            self._probe = _Probe(self._request, self._check.timeout)
        except OSError as error:  # no descriptor left
            now = time.time_ns()
            failed = Result(now, now, _NOT_RUN, f"cannot check: {error.strerror}")
            self._take(failed, time.monotonic() - self._started)

    def _runs(self) -> bool:
        """What the row says; when the disk fails, that nobody froze it."""
        try:
            row = Containers(self._store).get(self._record.id)
        except (OSError, sqlite3.Error):
            return True
        return row is not None and row.status == State.RUNNING

    def _wait(self) -> None:
        now = time.monotonic()
        self._due = now + self._verdict.interval(now - self._started)

    def _take(self, result: Result, began: float) -> None:
        if self._runs():
            self._verdict.take(result.exit_code, began)
            verdict = self._verdict
            try:
                Containers(self._store).checked(
                    self._record.id, verdict.status, verdict.streak, result.document(), KEPT
                )
            except (TiffinError, OSError, sqlite3.Error):
                pass  # a full disk, and the next result says it again; or somebody forced the row away
        self._wait()


def _request(store: Store, record: ContainerRecord, check: Check, pid: int, pid_start: int) -> ExecRequest:
    security = parse_security_options(record.security_opts)
    granted = defaults.choose_capabilities(record.cap_add, record.cap_drop, privileged=record.privileged)
    options = ContainerOptions(
        argv=check.argv,
        env=process_env(record),
        cwd=record.cwd,
        user=record.user,
        groups=record.group_add,
        capabilities=granted.granted,
        privileged=record.privileged,
        no_new_privileges=security.no_new_privileges,
        rlimits=record.ulimits,
        oom_score_adj=record.oom_score_adj,
    )
    unfiltered = record.privileged or security.seccomp == "unconfined"
    return ExecRequest(
        pid=pid,
        pid_start=pid_start,
        cgroup=record.cgroup(store.layout.cgroup),
        process=process(options),
        seccomp=None if unfiltered else {"profile": security.seccomp},
        seccomp_cache=store.layout.cache,
        external=_external(store, record) if record.runtime else None,
    )


def _external(store: Store, record: ContainerRecord) -> External | None:
    from tiffin.runtime import external

    return external.of_container(store.layout.container(record.id), record.id)


class _Probe:
    """A process of ours that runs the command once and reports a Result on `fd`."""

    def __init__(self, request: ExecRequest, timeout: float) -> None:
        self.began = time.monotonic()
        self.deadline = self.began + timeout + _GRACE
        self._start = time.time_ns()
        self._report = b""
        self._pid = 0
        self.fd, theirs = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            self._pid = os.fork()
        except OSError as error:
            self._report = _encode(self._start, _NOT_RUN, f"cannot fork: {error.strerror}")
        if self._pid == 0 and not self._report:
            _run(request, timeout, theirs, self._start)
        os.close(theirs)

    def result(self) -> Result | None:
        """None while it runs. Ended afterwards."""
        if time.monotonic() >= self.deadline:
            return self._give_up()
        try:
            while data := os.read(self.fd, _MESSAGE):
                self._report += data
        except BlockingIOError:
            return None
        self._reap()
        try:
            return Result(*json.loads(self._report))
        except (ValueError, TypeError):
            return Result(self._start, time.time_ns(), _NOT_RUN, "the process of the health check was killed")

    def _give_up(self) -> Result:
        self._kill()
        return Result(self._start, time.time_ns(), _NOT_RUN, "the health check did not end")

    def end(self) -> None:
        """Let it end, as its command has with the container; kill it when it does not."""
        poller = select.poll()
        poller.register(self.fd, select.POLLIN)
        until = time.monotonic() + _GRACE
        while self._pid and poller.poll(max(0.0, until - time.monotonic()) * 1000):
            if self.result() is not None:
                return
        self._kill()

    def _kill(self) -> None:
        if self._pid:
            os.kill(self._pid, _SIGKILL)
        self._reap()

    def _reap(self) -> None:
        if self._pid:
            os.waitpid(self._pid, 0)
            self._pid = 0
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


def _encode(start: int, code: int, output: str) -> bytes:
    return json.dumps([start, time.time_ns(), code, output]).encode()


def _run(request: ExecRequest, timeout: float, report: int, start: int) -> NoReturn:
    """In the child: never returns."""
    try:
        let_go([report, request.helper_fd])
        code, output = _command(request, timeout)
        os.set_blocking(report, True)
        os.write(report, _encode(start, code, output))
    except BaseException as error:  # noqa: BLE001 - whatever it is, the parent must learn of it
        os.write(report, _encode(start, _NOT_RUN, str(error) or type(error).__name__))
    finally:
        os._exit(0)


def _command(request: ExecRequest, timeout: float) -> tuple[int, str]:
    """(exit code, output) of the command."""
    until = time.monotonic() + timeout
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    ours, theirs = os.pipe2(os.O_CLOEXEC)
    os.set_blocking(ours, False)
    command = exec_process(request._replace(stdio=(null, theirs, theirs)))
    os.close(theirs)
    output = _Output(ours)
    if _await(command, output, until):
        code = command.wait()
        output.take()
        return code, output.text()
    command.signal(_SIGKILL)
    command.wait()
    output.take()
    said = f"Health check exceeded timeout ({_go_duration(timeout)})"
    return _NOT_RUN, f"{said}: {text}" if (text := output.text()) else said


def _await(command: ExecProcess, output: _Output, until: float) -> bool:
    """Whether the command ended in time; its output is taken meanwhile, so that it is not held up."""
    while (left := until - time.monotonic()) > 0:
        poller = select.poll()
        poller.register(command.pidfd, select.POLLIN)
        if output.open:
            poller.register(output.fd, select.POLLIN)
        ready = [fd for fd, _ in poller.poll(left * 1000 + 1)]
        if output.fd in ready:
            output.take()
        if command.pidfd in ready:
            return True
    return False


class _Output:
    """The first OUTPUT bytes of what is read from `fd`; the rest is read and dropped."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.open = True
        self._kept = b""
        self._cut = False

    def take(self) -> None:
        """What there is now. No more than a chunk a time, or who writes without end would keep us here."""
        try:
            data = os.read(self.fd, _MESSAGE)
        except BlockingIOError:
            return
        self.open = bool(data)
        room = OUTPUT - len(self._kept)
        self._cut = self._cut or len(data) > room
        self._kept += data[:room]

    def text(self) -> str:
        """What is no UTF-8 comes as U+FFFD."""
        return self._kept.decode("utf-8", "replace") + ("..." if self._cut else "")


def _go_duration(seconds: float) -> str:
    """As Go prints durations: 30s, 1m30s, 500ms."""
    if seconds < 1:
        return f"{seconds * 1000:g}ms"
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(int(minutes), 60)
    return f"{f'{hours}h' if hours else ''}{f'{minutes}m' if hours or minutes else ''}{round(rest, 9):g}s"
