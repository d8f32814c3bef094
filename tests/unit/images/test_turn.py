"""One at a time, and what the one before has found out."""

import os
import threading
from pathlib import Path

from tiffin.images.turn import Turn, take_turn

DIGEST, DIFF_ID = "sha256:" + "a" * 64, "sha256:" + "b" * 64


def take(staging: Path, told: list[str] | None = None, stop: threading.Event | None = None) -> Turn | None:
    events = told if told is not None else []
    return take_turn(str(staging), DIGEST, lambda: events.append("waiting"), stop or threading.Event())


def second(
    staging: Path, found: list[Turn | None], told: list[str], stop: threading.Event
) -> threading.Thread:
    """Somebody else who wants the same."""
    thread = threading.Thread(target=lambda: found.append(take(staging, told, stop)))
    thread.start()
    return thread


def wait_until(told: list[str]) -> None:
    deadline = threading.Event()
    for _ in range(2000):
        if told:
            return
        deadline.wait(0.005)
    raise AssertionError("nobody waits")


def test_a_turn_that_nobody_has_is_taken_at_once(tmp_path: Path) -> None:
    told: list[str] = []
    turn = take(tmp_path, told)
    assert turn is not None
    assert (turn.proven, told) == ("", [])
    turn.close()
    turn.close()
    assert os.listdir(tmp_path) == []


def test_who_waits_learns_what_the_one_before_has_proven(tmp_path: Path) -> None:
    found: list[Turn | None] = []
    told: list[str] = []
    first = take(tmp_path)
    assert first is not None
    thread = second(tmp_path, found, told, threading.Event())
    wait_until(told)
    first.prove(DIFF_ID)
    first.close()
    thread.join(10)
    (turn,) = found
    assert turn is not None
    assert (turn.proven, told) == (DIFF_ID, ["waiting"])
    turn.close()
    assert os.listdir(tmp_path) == []


def test_after_one_who_failed_the_next_begins_anew_and_alone(tmp_path: Path) -> None:
    found: list[Turn | None] = []
    told: list[str] = []
    first = take(tmp_path)
    assert first is not None
    thread = second(tmp_path, found, told, threading.Event())
    wait_until(told)
    first.close()
    thread.join(10)
    (turn,) = found
    assert turn is not None
    assert turn.proven == ""
    stop = threading.Event()
    more: list[str] = []
    third: list[Turn | None] = []
    waiting = second(tmp_path, third, more, stop)
    wait_until(more)
    stop.set()
    waiting.join(10)
    assert third == [None]
    turn.close()
