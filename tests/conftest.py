"""Fixtures for whoever types commands: an engine per module (shared, quick), or one per test."""

import os
from collections.abc import Iterator
from importlib.util import find_spec

import pytest

from tests.command import Tiffin, fresh_engine

if find_spec("hypothesis"):  # the virtual machine of tests/vm has no property tests
    from hypothesis import HealthCheck, settings

    # What a loaded machine is slow at is no fault of the code's.
    settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.load_profile("patient")


@pytest.fixture(autouse=True)
def working_directory() -> Iterator[None]:
    """No test leaves the process elsewhere: others find their files from here."""
    before = os.getcwd()
    yield
    assert os.getcwd() == before


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tiffin]:
    """An engine with a busybox image for the tests of one module; each removes what it made."""
    with fresh_engine(tmp_path_factory.mktemp("engine")) as tiffin:
        yield tiffin


@pytest.fixture
def tiffin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tiffin]:
    """An engine with a busybox image for one test."""
    with fresh_engine(tmp_path_factory.mktemp("engine")) as engine:
        yield engine
