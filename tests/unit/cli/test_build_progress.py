"""What a build shows of fetching its base images."""

import io

from tiffin.build.progress import Event, Fetching
from tiffin.cli.build_progress import LiveProgress, PlainProgress

NAME = "r.io/base:1"


def fetching(status: str, layer: str = "", current: int = -1, total: int = -1) -> Event:
    return Fetching(NAME, status, layer, current, total)


def test_without_a_terminal_each_step_is_a_line_and_bytes_are_none() -> None:
    out = io.StringIO()
    show = PlainProgress(out)
    show(fetching("Pulling from base", "1"))
    show(fetching("Downloading", "abc", 5, 10))
    show(fetching("Pull\x1b complete", "abc"))
    show(fetching("Status: done"))
    assert out.getvalue().splitlines() == [
        "r.io/base:1: 1: Pulling from base",
        "r.io/base:1: abc: Pull\\x1b complete",
        "r.io/base:1: Status: done",
    ]


def test_on_a_terminal_all_layers_are_one_line_until_they_are_here() -> None:
    show = LiveProgress()
    show(fetching("Downloading", "abc", 500_000, 1_000_000))
    show(fetching("Downloading", "def", 1_000_000, 2_000_000))
    assert str(show._render()).split() == ["fetching", NAME, "1.5MB/3MB"]
    show(fetching("Status: done"))
    assert str(show._render()) == ""
