"""Durations, ports and signals."""

from __future__ import annotations

import pytest

from tiffin.dockerfile.durations import parse_duration
from tiffin.dockerfile.ports import expand_port
from tiffin.dockerfile.signals import is_signal


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", 0),
        ("30s", 30_000_000_000),
        ("1m30s", 90_000_000_000),
        ("1.5h", 5_400_000_000_000),
        (".5s", 500_000_000),
        ("1.s", 1_000_000_000),
        ("-2ms", -2_000_000),
        ("+1ns", 1),
        ("3\u00b5s", 3_000),
        ("3\u03bcs", 3_000),
        ("1s1s", 2_000_000_000),
    ],
)
def test_a_duration_is_read_as_go_does(text: str, expected: int) -> None:
    assert parse_duration(text) == expected


@pytest.mark.parametrize("text", ["", "-", "3", "s", ".s", "1d", "1 s", "1e3s", "9999999999h", "1s2"])
def test_what_go_refuses_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="duration"):
        parse_duration(text)


def test_ports_and_ranges_open_up() -> None:
    assert expand_port("80") == ["80/tcp"]
    assert expand_port("53/UDP") == ["53/udp"]
    assert expand_port("1-3/sctp") == ["1/sctp", "2/sctp", "3/sctp"]
    assert expand_port("0.0.0.0:8080:80/tcp") == ["80/tcp"]
    assert len(expand_port("0-65535")) == 65536


@pytest.mark.parametrize("text", ["", "x", "80-", "-80", "3-1", "65536", "1-65536", "80:", "80/x", "\u0663"])
def test_what_is_no_port_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"port|protocol"):
        expand_port(text)


@pytest.mark.parametrize(
    "text", ["9", "64", "TERM", "SIGTERM", "sigusr1", "RTMIN", "SIGRTMIN+15", "RTMAX-14"]
)
def test_linux_signals_are_known(text: str) -> None:
    assert is_signal(text)


@pytest.mark.parametrize("text", ["", "0", "65", "-9", "SIG", "NOPE", "RTMIN+16", "RTMAX-15", "\u0669", "9 "])
def test_other_words_are_no_signals(text: str) -> None:
    assert not is_signal(text)
