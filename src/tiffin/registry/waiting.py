"""How long to wait before asking a registry again, and whether to."""

from __future__ import annotations

import threading

from tiffin.errors import TransferError
from tiffin.registry.response import BrokenOff, Response, Unreachable
from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    T = TypeVar("T")

LONGEST = 60.0  # seconds: a registry that asks for more gets an error instead of a wait
_FIRST = 0.25
_TRANSIENT = frozenset({408, 429, 500, 502, 503, 504})
_UNREACHABLE_TRIES = 3
_STALLED_TRIES = 2
_ANSWER_TRIES = 4


class Waiting:
    """The clock of transfers; tests give `clock` and `pause` of their own."""

    def __init__(
        self,
        clock: Callable[[], float] | None = None,
        pause: Callable[[float], None] | None = None,
        chance: Callable[[], float] | None = None,
    ) -> None:
        import random
        import time

        self.clock = clock or time.monotonic
        self.wall = time.time
        self.chance = chance or random.random
        self._closed = threading.Event()
        self._pause = pause

    def sleep(self, seconds: float) -> None:
        """Wait, up to a quarter longer so that many clients do not come back at once. Raises TransferError as soon
        as `close` is called."""
        seconds *= 1 + self.chance() / 4
        if self._pause is not None:
            self._pause(seconds)
        else:
            self._closed.wait(seconds)
        self.check()

    def check(self) -> None:
        """Raises TransferError once closed."""
        if self._closed.is_set():
            raise TransferError("the transfer was broken off from here")

    def close(self) -> None:
        """End all waits. Idempotent."""
        self._closed.set()


def is_transient(status: int) -> bool:
    """Whether the same request may well succeed later."""
    return status in _TRANSIENT


def backoff(attempt: int) -> float:
    """Seconds to wait after the `attempt`-th failure, from 1."""
    return min(_FIRST * 2.0 ** (attempt - 1), 8.0)


def pause_before(attempt: int, what: TransferError | Response) -> float | None:
    """Seconds to wait after the `attempt`-th try ended with `what`; None when another is of no use."""
    if isinstance(what, Unreachable):
        return backoff(attempt) if what.worth_retrying and attempt < _UNREACHABLE_TRIES else None
    if isinstance(what, BrokenOff):
        return backoff(attempt) if attempt < _STALLED_TRIES or not what.stalled else None
    if isinstance(what, TransferError):
        return None
    stated = retry_after(what.header("retry-after"))
    if stated is not None:
        return max(stated, backoff(attempt)) if stated <= LONGEST else None
    if what.status in (429, 500) and attempt >= _UNREACHABLE_TRIES:
        return None  # a quota used up or a fault that stays; waiting seconds changes neither
    return backoff(attempt)


def again(work: Callable[[], T], waiting: Waiting) -> T:
    """The result of `work`, which makes a request and reads its answer; done again where the answer broke off."""
    attempt = 0
    while True:
        attempt += 1
        try:
            return work()
        except BrokenOff as error:
            wait = pause_before(attempt, error)
            if not error.in_body or wait is None or attempt >= _ANSWER_TRIES:
                raise
            waiting.sleep(wait)


def retry_after(header: str) -> float | None:
    """The seconds of a Retry-After header, either form (RFC 9110, section 10.2.3); None when it says nothing."""
    header = header.strip()
    if header.isascii() and header.isdigit() and len(header) < 10:
        return float(header)
    if not header or len(header) > 64:
        return None
    import time
    from email.utils import parsedate_to_datetime

    try:
        return max(0.0, parsedate_to_datetime(header).timestamp() - time.time())
    except (ValueError, TypeError, OverflowError):
        return None
