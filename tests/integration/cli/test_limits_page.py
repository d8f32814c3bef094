"""docs/limits.md does what it says."""

from pathlib import Path

import pytest

from tests.command import Tiffin
from tests.docs import run_page


@pytest.mark.root
def test_the_page_on_limits_runs_from_top_to_bottom(tiffin: Tiffin, tmp_path: Path) -> None:
    output = run_page("limits.md", tiffin, tmp_path)
    for expected in (
        "small",
        "ended: 137",
        '"OOMKilled": true',
        "33554432",
        "limited",
        "from box",
        '"Name":"worker"',
    ):
        assert expected in output
