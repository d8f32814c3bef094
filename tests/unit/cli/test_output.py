"""Sizes, ages and tables as Docker prints them; control characters made harmless (T42)."""

import pytest

from tiffin.cli.commands.logs import moment
from tiffin.cli.container_options import size as parse_size
from tiffin.cli.output import age, escape, size
from tiffin.errors import InvalidArgument


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0B"), (999, "999B"), (1000, "1kB"), (1239, "1.24kB"), (4_860_000, "4.86MB"),
     (123_400_000, "123MB"), (2_500_000_000, "2.5GB")],
)  # fmt: skip
def test_sizes(count: int, text: str) -> None:
    assert size(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "Less than a second"), (1, "1 second"), (59, "59 seconds"), (60, "About a minute"), (130, "2 minutes"),
     (3600, "About an hour"), (7200, "2 hours"),
     (86400 * 3, "3 days"), (86400 * 15, "2 weeks"), (86400 * 90, "3 months"),
     (86400 * 800, "2 years")],
)  # fmt: skip
def test_ages(seconds: float, text: str) -> None:
    assert age(seconds) == text


def test_what_drives_a_terminal_is_shown_not_sent() -> None:
    assert escape("a\x1b[31mb\x9b\u202e") == "a\\x1b[31mb\\x9b\\u202e"
    assert escape("ä 漢") == "ä 漢"


@pytest.mark.parametrize(
    ("text", "count"),
    [("100", 100), ("1k", 1024), ("1.5g", 1610612736), ("64MiB", 67108864), ("2gb", 2 << 30)],
)
def test_option_sizes_are_binary(text: str, count: int) -> None:
    assert parse_size(text, "-m") == count


@pytest.mark.parametrize("text", ["", "m", "1x", "-1", "1 2"])
def test_a_size_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgument, match="--memory"):
        parse_size(text, "--memory")


def test_moments() -> None:
    assert moment("", "--since") == 0
    assert moment("1700000000.5", "--since") == 1_700_000_000_500_000_000
    assert moment("2023-11-14T22:13:20Z", "--since") == 1_700_000_000 * 10**9
    with pytest.raises(InvalidArgument, match="--since"):
        moment("yesterday", "--since")
