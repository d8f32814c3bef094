"""What builds have said, kept: of each the events, and of each step the whole output, in files.

    builds/<id>/events     a JSON list a line: time, kind, fields; of output only how long the piece is
                <n>.log    the output of step n, every byte as it came

A build holds the lock of its directory. The oldest go first once there are more than `KEPT`, or they hold more than
`KEPT_BYTES`; the newest is kept whatever it holds. One that goes is first moved to staging, where the collector finds
it if whoever removes it dies. What a command writes is what is kept: a secret that it prints is the Dockerfile's doing.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator

from tiffin.build import progress as events
from tiffin.build.progress import (
    Event,
    Fetching,
    Notice,
    Progress,
    Sending,
    StepFailed,
    StepLog,
    StepTransfer,
)
from tiffin.build.solving.solver import StepError
from tiffin.dockerfile.excerpt import excerpt
from tiffin.errors import Conflict, DockerfileError, NotFound
from tiffin.jsontext import dumps, loads
from tiffin.kernel.locks import is_locked
from tiffin.kernel.paths import remove_tree
from tiffin.state import Layout
from tiffin.typed import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from types import TracebackType

    from tiffin.build.request import BuildRequest
    from tiffin.dockerfile.stages import Dockerfile

KEPT = 50  # builds
KEPT_BYTES = 100_000_000
RUNNING, COMPLETED, FAILED, CANCELED = "Running", "Completed", "Error", "Canceled"

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_WRITE = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
_BEGIN, _END = "build", "end"


class Recorder:
    """Progress that writes down what it passes on. A context manager around one build; an error that leaves it is told
    where the log is, and what the Dockerfile has there. When the disk takes no more, the build goes on without it."""

    def __init__(self, layout: Layout, request: BuildRequest) -> None:
        self._layout = layout
        self._progress: Progress = request.progress
        self._source: tuple[str, bytes] | None = None
        self._dockerfile: Dockerfile | None = None
        self._files: dict[str, int] = {}
        self._lock = -1
        self._failed = 0  # its number in this build; for several platforms the solver's own begin anew
        self.id = f"{time.time_ns() // 10**6:011x}{os.urandom(3).hex()[1:]}"
        self._path = f"{_place(layout)}/{self.id}"
        try:
            os.makedirs(self._path, 0o700)
            self._lock = os.open(self._path, _DIRECTORY)
            fcntl.flock(self._lock, fcntl.LOCK_EX)
        except OSError as error:
            self._give_up(error)
        described = [request.target, _shown(request.context_dir), list(request.tags)]
        self._note(_BEGIN, described)

    def source(self, file: str, text: bytes) -> None:
        """What is about to be read."""
        self._source = file, text

    def parsed(self, dockerfile: Dockerfile) -> None:
        """What is built."""
        self._dockerfile = dockerfile

    def __enter__(self) -> Recorder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, DockerfileError):
            self._explain(error)
        status = COMPLETED if error is None else FAILED if isinstance(error, Exception) else CANCELED
        self._note(_END, [status, str(error or "")])
        grown = len(self._files) > 1  # by outputs of steps; of a build from the cache there are none
        for fd in self._files.values():
            os.close(fd)
        self._files.clear()
        if self._lock >= 0:
            drop_old(self._layout, sizes=grown)
            os.close(self._lock)

    def __call__(self, event: Event, /) -> None:
        self._progress(event)
        if isinstance(event, StepFailed):
            self._failed = event.step
        if isinstance(event, StepLog):
            self._append(f"{event.step}.log", event.data)
            self._note(StepLog.__name__, [event.step, event.stream, len(event.data)])
        elif not isinstance(event, Fetching | Sending | StepTransfer) or event.current < 0:
            self._note(type(event).__name__, list(event))

    def _note(self, kind: str, fields: list[Any]) -> None:
        line = dumps([time.time_ns(), kind, *fields], separators=(",", ":"))
        self._append("events", f"{line}\n".encode("ascii"))

    def _append(self, name: str, data: bytes) -> None:
        if self._lock < 0:
            return
        try:
            fd = self._files.get(name, -1)
            if fd < 0:
                fd = self._files[name] = os.open(name, _WRITE, 0o600, dir_fd=self._lock)
            view = memoryview(data)
            while view:
                view = view[os.write(fd, view) :]
        except OSError as error:
            self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        if self._lock >= 0:
            os.close(self._lock)
        self._lock = -1
        self._progress(Notice(f"the build's log is not kept: {self._path}: {error.strerror}"))

    def _explain(self, error: DockerfileError) -> None:
        if isinstance(error, StepError) and self._lock >= 0:
            error.build = self.id
            error.step = self._failed or error.step
            if f"{error.step}.log" in self._files:
                error.log_path = f"{self._path}/{error.step}.log"
        if self._source is not None and error.line and error.file == self._source[0]:
            explain(error, self._source[1], self._dockerfile)


def explain(error: DockerfileError, data: bytes, dockerfile: Dockerfile | None) -> None:
    """Give the error the lines around its place. `data` is the file's text, `dockerfile` what it says, if anything."""
    text = data.decode("utf-8", "replace").removeprefix("\ufeff")
    end = _end_line(dockerfile, error.line) if dockerfile is not None else error.line
    error.excerpt = _without_users("\n".join(excerpt(error.file, text, error.line, end)))


def _without_users(text: str) -> str:
    """A Dockerfile's lines as they may be in somebody's terminal, or in the log of whatever runs us."""
    if "://" not in text:
        return text
    from tiffin.registry.redact import redact

    return redact(text)


class BuildRecord(NamedTuple):
    """A build that is remembered. Times in nanoseconds since the epoch, `ended` 0 while it runs; `size` in bytes."""

    id: str
    name: str
    status: str
    error: str
    started: int
    ended: int
    size: int


def records(layout: Layout) -> list[BuildRecord]:
    """All that are kept, the newest first."""
    return [found for name in reversed(_names(layout)) if (found := _record(layout, name)) is not None]


def find(layout: Layout, reference: str = "") -> str:
    """The ID of the build that an ID, the beginning of one, or ^1 (the one before the newest) means; "" is the newest.
    Raises NotFound, Conflict for a beginning of several."""
    names = _names(layout)
    if reference in ("", "^") or (reference.startswith("^") and reference[1:].isdecimal()):
        back = int(reference[1:] or bool(reference))
        if back >= len(names):
            raise NotFound(
                "no build is remembered; the logs of the last builds are kept"
                if not names
                else f"only {len(names)} builds are remembered; see builder history"
            )
        return names[-1 - back]
    found = [name for name in names if name.startswith(reference)]
    if not found:
        raise NotFound(f"No such build: {reference}; see builder history")
    if len(found) > 1:
        raise Conflict(f"{reference} is the beginning of {len(found)} builds; give more of the ID")
    return found[0]


def replay(layout: Layout, build: str) -> Iterator[tuple[int, Event]]:
    """What the build said and when, in nanoseconds since the epoch; of one that runs, what it said so far."""
    directory = f"{_place(layout)}/{build}"
    logs: dict[int, Any] = {}
    try:
        for at, kind, fields in _lines(directory):
            if kind == StepLog.__name__:
                step, stream, length = fields
                if step not in logs:
                    logs[step] = open(f"{directory}/{step}.log", "rb")  # noqa: SIM115 - closed below
                yield at, StepLog(step, stream, logs[step].read(length))
            elif kind not in (_BEGIN, _END):
                yield at, _event(kind, fields)
    finally:
        for file in logs.values():
            file.close()


def step_log(layout: Layout, build: str, step: int) -> str:
    """The path of a step's output. Raises NotFound."""
    path = f"{_place(layout)}/{build}/{step}.log"
    if not os.path.exists(path):
        raise NotFound(
            f"step {step} of build {build} wrote nothing, or there is none; see builder logs {build}"
        )
    return path


def drop_old(layout: Layout, *, sizes: bool = True) -> None:
    """Bound what is kept, see the module. Without `sizes` only how many there are."""
    names = _names(layout)[::-1]
    total = 0
    for count, name in enumerate(names):
        total += _size(f"{_place(layout)}/{name}") if sizes else 0
        if count and (count >= KEPT or total > KEPT_BYTES) and not is_locked(f"{_place(layout)}/{name}"):
            _drop(layout, name)


def _drop(layout: Layout, name: str) -> None:
    try:
        fd = os.open(f"{_place(layout)}/{name}", _DIRECTORY)
    except FileNotFoundError:  # another build ended at the same time
        return
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        aside = f"{layout.staging}/old-build-{name}"
        os.rename(f"{_place(layout)}/{name}", aside)
        parent = os.open(layout.staging, _DIRECTORY)
        try:
            remove_tree(parent, os.path.basename(aside))
        finally:
            os.close(parent)
    except (BlockingIOError, FileNotFoundError):
        pass
    finally:
        os.close(fd)


def _place(layout: Layout) -> str:
    return f"{layout.root}/builds"


def _names(layout: Layout) -> list[str]:
    """IDs, the oldest first: they begin with the time."""
    try:
        return sorted(os.listdir(_place(layout)))
    except FileNotFoundError:
        return []


def _size(directory: str) -> int:
    try:
        with os.scandir(directory) as entries:
            return sum(entry.stat(follow_symlinks=False).st_size for entry in entries)
    except FileNotFoundError:
        return 0


def _record(layout: Layout, name: str) -> BuildRecord | None:
    directory = f"{_place(layout)}/{name}"
    lines = list(_lines(directory))
    if not lines or lines[0][1] != _BEGIN:
        return None
    started, _, (target, context, tags) = lines[0]
    ended, kind, fields = lines[-1]
    if kind == _END:
        status, error = fields
    else:
        running = is_locked(directory)
        status, error = (RUNNING, "") if running else (CANCELED, "the build was killed")
        ended = 0 if running else ended
    shown = ", ".join(tags) or (f"{context} ({target})" if target else context)
    return BuildRecord(name, shown, status, error, started, ended, _size(directory))


def _lines(directory: str) -> Iterator[tuple[int, str, list[Any]]]:
    """Up to the first that is not whole."""
    try:
        with open(f"{directory}/events", encoding="ascii") as file:
            for line in file:
                if not line.endswith("\n"):
                    return
                at, kind, *fields = loads(line)
                yield at, kind, fields
    except FileNotFoundError:
        return


def _event(kind: str, fields: list[Any]) -> Event:
    made: Event = getattr(events, kind)(*(tuple(each) if isinstance(each, list) else each for each in fields))
    return made


def _end_line(dockerfile: Dockerfile, line: int) -> int:
    """The last line of the instruction that begins at `line`."""
    every = [*dockerfile.global_args]
    found = [each.end_line for each in every if each.line == line]
    for stage in dockerfile.stages:
        found += [each.end_line for each in (stage.base, *stage.instructions) if each.line == line]
    return max(found, default=line)


def _shown(context: str) -> str:
    if "://" not in context:
        return context
    from tiffin.registry.redact import redact

    return redact(context)
