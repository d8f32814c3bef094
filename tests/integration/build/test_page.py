"""What docs/building.md shows."""

from pathlib import Path

import pytest

from tests.command import fresh_engine
from tests.docs import run_page


@pytest.mark.root
def test_the_page_on_building_runs_from_top_to_bottom(tmp_path: Path) -> None:
    with fresh_engine(tmp_path / "engine") as tiffin:
        said = run_page("building.md", tiffin, tmp_path)
    for expected in ("\n2\n", "made by the tool\nhello from a stage\n", "\nlogo\n"):
        assert expected in said
