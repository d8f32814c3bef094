import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.suites.bundle import OURS, Runtime


@pytest.fixture
def runtime(tmp_path: Path) -> Iterator[Runtime]:
    if os.geteuid() != 0:
        pytest.skip("containers need root")
    tmp_path.chmod(0o711)  # the roots of user namespaces pass
    with Runtime(OURS, tmp_path) as made:
        yield made
