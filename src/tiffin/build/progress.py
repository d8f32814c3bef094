"""What a build tells whoever watches it: events, as plain values, through one callback.

    StepStarted(3, ...)  StepLog(3, ...)*  then one of  StepDone(3)  StepFailed(3)
    StepTransfer(3, ...)*                  while a step downloads
    StepShell(3)                           before StepFailed, where a shell in the failed step was asked for
    StepCached(3)                          a step whose result was there already
    StepWaiting(3)                         before StepCached or StepStarted: another build executes the same step
    Notice(text)                           a warning, once
    Fetching(image, ...)*                  a base image that is not here comes from its registry, before all steps

Steps that run at the same time interleave; `step` tells them apart. Events of one step keep their order.
"""

from __future__ import annotations

from tiffin.typed import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from tiffin.oci.platform import Platform


class StepStarted(NamedTuple):
    """`name` is as people read it: "[build 2/3] RUN make". `step` is unique in the build, from 1. `digest` says which
    node of the graph it is, the same in every build; `inputs` are those of the steps that it builds on or takes from.
    """

    step: int
    name: str
    digest: str = ""
    inputs: tuple[str, ...] = ()


class StepCached(NamedTuple):
    """Nothing was executed: the result was in the cache. Fields as of StepStarted."""

    step: int
    name: str
    digest: str = ""
    inputs: tuple[str, ...] = ()


class StepWaiting(NamedTuple):
    """Another build executes the very same step, and its result is waited for; if it fails there, the step is executed
    here. Fields as of StepStarted."""

    step: int
    name: str
    digest: str = ""
    inputs: tuple[str, ...] = ()


class StepLog(NamedTuple):
    """Output of a RUN. `data` is any piece, not a line, exactly as the program wrote it: untrusted bytes."""

    step: int
    stream: int  # 1 or 2
    data: bytes


class StepTransfer(NamedTuple):
    """How much of what a step downloads has come. Bytes; `total` is -1 while unknown."""

    step: int
    name: str
    current: int
    total: int


class StepShell(NamedTuple):
    """The command of a step failed with `status`, and a shell in its state waits at the request's `shell_fd`; see
    tiffin.build.running.shell. No other step runs any more. Whoever is told this sees it through before it returns."""

    step: int
    status: int


class StepDone(NamedTuple):
    step: int
    seconds: float


class StepFailed(NamedTuple):
    step: int
    seconds: float
    error: str


class StepReason(NamedTuple):
    """Why a step was executed, with `explain`; lines, each a reason. Comes before its StepDone or StepFailed."""

    step: int
    reasons: tuple[str, ...]


class Notice(NamedTuple):
    """A warning of the builder."""

    text: str


class Fetching(NamedTuple):
    """A step in fetching `image`, as images.transfer.TransferEvent has it. Called from any thread, one at a time."""

    image: str
    status: str
    id: str
    current: int
    total: int


class Sending(NamedTuple):
    """A step in sending the result, or the cache, to where `name` is. As Fetching otherwise; comes after all steps."""

    name: str
    status: str
    id: str
    current: int
    total: int


Event = (
    StepStarted
    | StepCached
    | StepWaiting
    | StepLog
    | StepTransfer
    | StepShell
    | StepReason
    | StepDone
    | StepFailed
    | Notice
    | Fetching
    | Sending
)


class Progress(Protocol):
    """Is called in the process that called `build`, and in its thread but for Fetching and Sending; must not raise."""

    def __call__(self, event: Event, /) -> None: ...


class ForPlatform:
    """Progress of a build for one of several platforms: steps are numbered from after `before`, and their names say
    which platform."""

    def __init__(self, progress: Progress, platform: Platform, before: int) -> None:
        self._progress = progress
        self._platform = platform
        self._before = before

    def __call__(self, event: Event, /) -> None:
        if isinstance(event, StepStarted | StepCached | StepWaiting):
            name = event.name
            name = f"[{self._platform} {name[1:]}" if name.startswith("[") else f"[{self._platform}] {name}"
            event = event._replace(name=name)
        if not isinstance(event, Notice | Fetching | Sending):
            event = event._replace(step=event.step + self._before)
        self._progress(event)


def silent(event: Event, /) -> None:
    """Progress for nobody."""
