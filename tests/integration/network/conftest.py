from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from tests.integration.network.lab import Lab, lab
from tiffin.network import Networks
from tiffin.state import Store, locate, open_store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def place() -> Iterator[Lab]:
    with lab() as made:
        yield made


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = open_store(locate(str(tmp_path / "root"), str(tmp_path / "run")))
    yield opened
    opened.close()


@pytest.fixture
def networks(place: Lab, store: Store) -> Networks:
    return Networks(store)


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as made:
        yield made
