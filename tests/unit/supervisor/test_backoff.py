"""Waiting before another run, by a clock that nobody sets."""

from pathlib import Path

import tiffin.supervisor
from tiffin.supervisor.backoff import Backoff


def test_the_wait_doubles_from_a_tenth_of_a_second_to_a_minute() -> None:
    backoff = Backoff()
    waits = [backoff.next(0.5) for _ in range(12)]
    assert waits[:4] == [0.1, 0.2, 0.4, 0.8]
    assert waits[9] == 51.2
    assert waits[10:] == [60.0, 60.0]


def test_a_run_of_ten_seconds_begins_anew() -> None:
    backoff = Backoff()
    assert [backoff.next(1), backoff.next(9.99), backoff.next(10.0), backoff.next(1)] == [0.1, 0.2, 0.1, 0.2]


def test_no_wait_of_a_supervisor_is_measured_with_the_clock_on_the_wall() -> None:
    """A clock that jumps must neither hold a restart, a health check or a kill back nor hurry it: time.time is for
    what is recorded (`time_ns`), never for a deadline. (A log line shows the time of day.)"""
    room = Path(tiffin.supervisor.__file__).parent
    for file in room.glob("*.py"):
        assert "time.time()" not in file.read_text(), file
