from __future__ import annotations

import pytest

from tests.integration.init.harness import make_rootfs


@pytest.fixture(scope="module")
def rootfs(tmp_path_factory: pytest.TempPathFactory) -> str:
    return make_rootfs(tmp_path_factory.mktemp("rootfs"))
