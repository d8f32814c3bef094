"""What docs/build-outputs.md and docs/build-cache.md show runs, and does what they say."""

from pathlib import Path

import pytest

from tests.command import Tiffin
from tests.docs import run_page

pytestmark = pytest.mark.root


def test_the_page_of_outputs_runs(tiffin: Tiffin, tmp_path: Path) -> None:
    said = run_page("build-outputs.md", tiffin, tmp_path)
    assert said.count("built\n") == 2 and "for arm64" in said and '"containerimage.digest"' in said


def test_the_page_of_the_cache_runs(tiffin: Tiffin, tmp_path: Path) -> None:
    said = run_page("build-cache.md", tiffin, tmp_path)
    assert "ran because file src/a changed: " in said
    assert "ran because build argument VERSION changed" in said
    assert ".dockerignore:1: *.log" in said
    assert 'RUN echo "$VERSION" > /version CACHED' in said
    assert "exec.cachemount" in said and "Deleted build cache objects:" in said
