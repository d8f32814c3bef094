"""What a process with nothing else to do is forked for: to supervise a container, or to keep an exec.

A job is a plain value, so that it can be handed to a launcher. Descriptors travel beside it: the channel (our end
of the caller's socket pair) first, for a start then the container's lock.
"""

from tiffin import jsontext as json
from tiffin.typed import Any, NamedTuple


class StartJob(NamedTuple):
    """Start a container and supervise it. `wants`: bits of frames.Want for the caller's channel; `rows` and
    `columns`: the caller's terminal, 0 when unknown."""

    root: str
    run: str
    container: str
    wants: int = 0
    rows: int = 0
    columns: int = 0


class ExecJob(NamedTuple):
    """Run a further command in a container. `process` is the OCI runtime-spec's process object; `pid` and
    `pid_start` name the container's first process, `cgroup` its cgroup's path; `seccomp` is the document's, None for
    no filter."""

    root: str
    run: str
    container: str
    cgroup: str
    pid: int
    pid_start: int
    process: dict[str, Any]
    seccomp: dict[str, Any] | None
    open_stdin: bool
    wants: int = 0


Job = StartJob | ExecJob


def encode(job: Job) -> bytes:
    """For the launcher's socket."""
    return json.dumps([type(job).__name__, *job], separators=(",", ":")).encode()


def decode(message: bytes) -> Job:
    """The job that `encode` was given."""
    name, *fields = json.loads(message)
    return StartJob(*fields) if name == "StartJob" else ExecJob(*fields)
