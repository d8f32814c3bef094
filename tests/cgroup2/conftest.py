import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cgroup2.support import MOUNT, leftovers
from tiffin.runtime.cgroups import Cgroup, detect, open_cgroup, prune_parent


@pytest.fixture(autouse=True, scope="session")
def machine_with_cgroup_v2() -> Iterator[None]:
    found = detect()
    controllers = Path(found.unified, "cgroup.controllers")
    if found.version == 1 or not {"cpu", "memory", "pids"} <= set(controllers.read_text().split()):
        pytest.skip(
            "no cgroup v2 controllers here: tests/integration/test_cgroup2_vm.py runs this in a virtual machine"
        )
    assert found.unified == MOUNT
    before = leftovers()
    yield
    assert leftovers() == before


@pytest.fixture
def cgroup() -> Iterator[Cgroup]:
    """One that is named and not yet made."""
    parent = f"tiffin-test-{os.getpid()}"
    made = open_cgroup(f"{parent}/one")
    yield made
    made.delete()
    prune_parent(parent)
    assert not Path(MOUNT, parent).exists()
