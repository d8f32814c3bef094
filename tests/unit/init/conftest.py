"""The helper's sources are not in a wheel: these tests read the checkout's, also when tiffin is installed."""

from pathlib import Path

import pytest

from tiffin.init import compile as build

SOURCES = Path(__file__).resolve().parents[3] / "src" / "tiffin" / "init"


@pytest.fixture(autouse=True)
def checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "HERE", str(SOURCES))
