"""What results of checks come to, and what a check is."""

import pytest

from tests.unit.containers.test_records import RECORD
from tiffin.supervisor.health import Check, Verdict, _go_duration, check_of

CHECK = Check(("true",), interval=30, timeout=30, start_period=0, start_interval=5, retries=3)
SECOND = 1_000_000_000


def test_it_is_unhealthy_after_so_many_failures_in_a_row_and_healthy_after_one_success() -> None:
    verdict = Verdict(CHECK)
    seen = []
    for code in (1, 1, 0, 1, 1, 1, -1, 0, 1):
        verdict.take(code, 100)
        seen.append((verdict.status, verdict.streak))
    assert seen == [
        ("starting", 1), ("starting", 2), ("healthy", 0), ("healthy", 1), ("healthy", 2), ("unhealthy", 3),
        ("unhealthy", 4), ("healthy", 0), ("healthy", 1),
    ]  # fmt: skip


def test_failures_within_the_start_period_do_not_count_until_there_was_a_success() -> None:
    verdict = Verdict(CHECK._replace(start_period=10.0, retries=1))
    verdict.take(1, 9.9)
    assert (verdict.status, verdict.streak) == ("starting", 0)
    verdict.take(0, 9.95)
    verdict.take(1, 9.99)
    assert (verdict.status, verdict.streak) == ("unhealthy", 1)
    late = Verdict(CHECK._replace(start_period=10.0, retries=1))
    late.take(1, 10.0)
    assert late.status == "unhealthy"


def test_checks_come_at_the_start_interval_while_it_starts_within_its_period() -> None:
    verdict = Verdict(CHECK._replace(start_period=10.0))
    assert verdict.interval(0) == 5
    assert verdict.interval(10) == 30
    verdict.take(0, 1)
    assert verdict.interval(2) == 30
    assert Verdict(CHECK).interval(0) == 30


def test_a_check_is_read_from_the_image_s_form() -> None:
    shell = RECORD._replace(
        healthcheck={"Test": ["CMD-SHELL", "a && b"], "Interval": 2 * SECOND, "Retries": 7}
    )
    assert check_of(shell) == Check(("/bin/sh", "-c", "a && b"), 2, 30, 0, 5, 7)
    assert check_of(shell._replace(shell=("/bin/ash", "-ec"))) == Check(
        ("/bin/ash", "-ec", "a && b"), 2, 30, 0, 5, 7
    )
    words = RECORD._replace(healthcheck={"Test": ["CMD", "a", "b"], "Timeout": SECOND // 2})
    assert check_of(words) == Check(("a", "b"), 30, 0.5, 0, 5, 3)


@pytest.mark.parametrize("test", [["NONE"], [], None, ["CMD"], ["WHATEVER", "x"]])
def test_what_is_no_check_is_none(test: list[str] | None) -> None:
    assert check_of(RECORD._replace(healthcheck={"Test": test})) is None
    assert check_of(RECORD) is None


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (30, "30s"),
        (60, "1m0s"),
        (90.5, "1m30.5s"),
        (0.5, "500ms"),
        (0.001, "1ms"),
        (3600, "1h0m0s"),
        (2, "2s"),
    ],
)
def test_durations_are_written_as_go_does(seconds: float, text: str) -> None:
    assert _go_duration(seconds) == text
