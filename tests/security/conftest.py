from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.building import based, bench
from tests.integration.init.harness import make_rootfs
from tests.webserver import web, work
from tiffin.init import compile as build

HELPER_SOURCES = Path(__file__).resolve().parents[2] / "src" / "tiffin" / "init"  # a wheel has none

__all__ = ["based", "bench", "probe_rootfs", "rootfs", "web", "work"]


@pytest.fixture(scope="module")
def rootfs(tmp_path_factory: pytest.TempPathFactory) -> str:
    return make_rootfs(tmp_path_factory.mktemp("rootfs"))


@pytest.fixture(scope="session")
def probe_rootfs(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A busybox root with /bin/probe (probe.c) and a set-user-id copy of it."""
    root: Path = tmp_path_factory.mktemp("probe") / "root"
    make_rootfs(root)
    compiler = build.host_compiler(os.uname().machine)
    if compiler is None:
        pytest.skip("needs a C compiler for the probe")
    source = os.path.join(os.path.dirname(__file__), "probe.c")
    for name, mode in (("probe", 0o755), ("setuid-probe", 0o4755)):
        output = str(root / "bin" / name)
        subprocess.run([*compiler, *build.FLAGS, "-I", str(HELPER_SOURCES), "-o", output, source], check=True)
        os.chmod(output, mode)
    return str(root)
