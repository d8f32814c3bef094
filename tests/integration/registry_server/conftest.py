from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.command import Tiffin, fresh_engine
from tests.registry_server import Served, serving


@pytest.fixture
def served(tiffin: Tiffin) -> Iterator[Served]:
    """The registry of the test's own engine `tiffin`, which has the image busybox."""
    with serving(tiffin) as server:
        yield server


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One registry for the tests of a module, each with repositories of its own; it has the image busybox."""
    with fresh_engine(tmp_path_factory.mktemp("engine")) as engine, serving(engine) as server:
        yield server


@pytest.fixture
def other(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tiffin]:
    """A second engine, with no image."""
    with fresh_engine(tmp_path_factory.mktemp("other"), busybox=False) as engine:
        yield engine


def staged(tiffin: Tiffin) -> list[Path]:
    """What lies in an engine's staging, at every depth."""
    return list((tiffin.root / "staging").rglob("*"))
