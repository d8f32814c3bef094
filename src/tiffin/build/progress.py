"""What a build tells whoever watches it: events, as plain values, through one callback.

    StepStarted(3, ...)  StepLog(3, ...)*  then one of  StepDone(3)  StepFailed(3)
    StepCached(3)                          a step whose result was there already
    Notice(text)                           a warning, once
    Fetching(image, ...)*                  a base image that is not here comes from its registry, before all steps

Steps that run at the same time interleave; `step` tells them apart. Events of one step keep their order.
"""

from __future__ import annotations

from tiffin.typed import NamedTuple, Protocol


class StepStarted(NamedTuple):
    """`name` is as people read it: "[build 2/3] RUN make". `step` is unique in the build, from 1."""

    step: int
    name: str


class StepCached(NamedTuple):
    """Nothing was executed: the result was in the cache."""

    step: int
    name: str


class StepLog(NamedTuple):
    """Output of a RUN. `data` is any piece, not a line, exactly as the program wrote it: untrusted bytes."""

    step: int
    stream: int  # 1 or 2
    data: bytes


class StepDone(NamedTuple):
    step: int
    seconds: float


class StepFailed(NamedTuple):
    step: int
    seconds: float
    error: str


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


Event = StepStarted | StepCached | StepLog | StepDone | StepFailed | Notice | Fetching


class Progress(Protocol):
    """Is called in the process that called `build`, and in its thread but for Fetching; must not raise."""

    def __call__(self, event: Event, /) -> None: ...


def silent(event: Event, /) -> None:
    """Progress for nobody."""
