"""docs/build-progress.md does what it says."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.command import fresh_engine
from tests.docs import run_page

pytestmark = pytest.mark.root


def test_the_page_runs_from_top_to_bottom(tmp_path: Path) -> None:
    with fresh_engine(tmp_path / "engine", busybox=False) as tiffin:
        output = run_page("build-progress.md", tiffin, tmp_path)
    for expected in (
        '{"vertexes":[{"digest":"sha256:',
        "BUILD ID",
        "Completed",
        "COPY --from=words /greeting / CACHED",
    ):
        assert expected in output
