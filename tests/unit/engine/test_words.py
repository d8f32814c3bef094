"""Small rules of the engine: merging, signals, detach keys, durations, limits."""

from typing import Any

import pytest

from tiffin.containers.environment import merge_env
from tiffin.containers.record import Resources
from tiffin.engine import limits
from tiffin.engine.create import merge_command
from tiffin.engine.detach import DetachWatch, parse_keys
from tiffin.engine.options import CreateOptions
from tiffin.engine.signals import parse_signal
from tiffin.engine.times import human_duration
from tiffin.errors import InvalidArgument

IMAGE = {"Entrypoint": ["/entry"], "Cmd": ["default"]}


@pytest.mark.parametrize(
    ("settings", "entrypoint", "command", "expected"),
    [
        (IMAGE, None, (), (("/entry",), ("default",))),
        (IMAGE, None, ("mine",), (("/entry",), ("mine",))),
        (IMAGE, ("/own",), (), (("/own",), None)),
        (IMAGE, ("/own",), ("mine",), (("/own",), ("mine",))),
        (IMAGE, (), ("mine",), (None, ("mine",))),
        (IMAGE, ("",), (), (None, None)),
        ({"Cmd": ["default"]}, None, (), (None, ("default",))),
        ({}, None, (), (None, None)),
    ],
)
def test_entrypoint_and_command(
    settings: dict[str, Any], entrypoint: tuple[str, ...] | None, command: tuple[str, ...], expected: object
) -> None:
    assert merge_command(CreateOptions("i", command, entrypoint=entrypoint), settings) == expected


def test_the_callers_environment_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HERE", "yes")
    monkeypatch.delenv("NOWHERE", raising=False)
    given = ("B=2", "HERE", "NOWHERE", "B=3", "EMPTY=")
    assert merge_env(given, ("A=1", "B=1")) == ("B=3", "HERE=yes", "EMPTY=", "A=1")
    for bad in ("=x", "A\0=1"):
        with pytest.raises(InvalidArgument):
            merge_env((bad,), ())


def test_signals() -> None:
    for text in ("KILL", "SIGKILL", "kill", "9", "sigkill"):
        assert parse_signal(text) == 9
    assert parse_signal("RTMIN+1") == 35
    for bad in ("", "0", "65", "SIG", "NOPE", "SIG_DFL", "RTMIN-1", "RTMIN+x", "-9"):
        with pytest.raises(InvalidArgument, match="Invalid signal"):
            parse_signal(bad)


def test_detach_keys() -> None:
    assert parse_keys("ctrl-p,ctrl-q") == b"\x10\x11"
    assert parse_keys("a,ctrl-@,ctrl-_") == b"a\x00\x1f"
    assert parse_keys("DEL,ctrl-[") == b"\x7f\x1b"
    assert parse_keys("") == b""
    for bad in ("ctrl-", "ctrl-A", "ab", "ctrl-p,"):
        with pytest.raises(InvalidArgument):
            parse_keys(bad)


def test_what_was_held_back_is_not_lost_when_typing_ends() -> None:
    watch = DetachWatch(b"\x10\x11")
    assert watch.feed(b"a\x10") == (b"a", False)
    assert watch.end() == b"\x10"
    assert watch.end() == b""


@pytest.mark.parametrize(
    ("typed", "passed", "detached"),
    [
        ([b"abc"], b"abc", False),
        ([b"a\x10\x11b"], b"a", True),
        ([b"a\x10", b"\x11"], b"a", True),
        ([b"\x10", b"x"], b"\x10x", False),
        ([b"\x10", b"\x10", b"\x11"], b"\x10", True),
    ],
)
def test_the_detach_sequence_is_found_however_it_arrives(
    typed: list[bytes], passed: bytes, detached: bool
) -> None:
    watch = DetachWatch(b"\x10\x11")
    results = [watch.feed(data) for data in typed]
    assert b"".join(data for data, _ in results) == passed
    assert results[-1][1] is detached


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.5, "Less than a second"),
        (1, "1 second"),
        (59, "59 seconds"),
        (60, "About a minute"),
        (3599, "59 minutes"),
        (3600, "About an hour"),
        (7200, "2 hours"),
        (47 * 3600, "47 hours"),
        (49 * 3600, "2 days"),
        (20 * 86400, "2 weeks"),
        (90 * 86400, "3 months"),
        (800 * 86400, "2 years"),
    ],
)
def test_durations_read_as_dockers(seconds: float, text: str) -> None:
    assert human_duration(int(seconds * 1e9)) == text


def test_limits_that_docker_refuses() -> None:
    for bad in (
        Resources(nano_cpus=1),
        Resources(nano_cpus=10**15),
        Resources(memory=1000),
        Resources(memory_swap=1 << 30),
        Resources(memory=1 << 30, memory_swap=1 << 20),
        Resources(nano_cpus=10**9, cpu_quota=1),
        Resources(pids_limit=-2),
    ):
        with pytest.raises(InvalidArgument):
            limits.check(bad)
    assert limits.check(Resources(memory=64 << 20, memory_swap=-1, pids_limit=-1))
