"""docs/dockerfile.md does what it says."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.command import fresh_engine
from tests.docs import run_page

pytestmark = pytest.mark.root


def test_the_page_runs_from_top_to_bottom(tmp_path: Path) -> None:
    with fresh_engine(tmp_path / "engine", busybox=False) as tiffin:
        output = run_page("dockerfile.md", tiffin, tmp_path)
    for expected in (
        "Check complete, no warnings found.",
        '"TITLE=goodbye, world"] /www',
        '{"file":"v1_22_3-rc1","number":"1.22.3-rc1","plain":"v1.22.3","series":"v1.22"}',
        "wrong:2: unknown instruction: COPPY (did you mean COPY?)",
    ):
        assert expected in output
