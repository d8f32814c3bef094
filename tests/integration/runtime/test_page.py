import os
import sys
from pathlib import Path

import pytest

from tests.command import fresh_engine
from tests.docs import run_page
from tests.images import busybox_tar

pytestmark = pytest.mark.root


def test_the_page_on_the_runtime_runs_from_top_to_bottom(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "bin/tiffin-runtime"
    program.parent.mkdir()
    where = os.pathsep.join(p for p in sys.path if p)
    command = f'{sys.executable} -m tiffin.cli.oci.main --root {tmp_path}/state "$@"'
    program.write_text(f"#!/bin/sh\nPYTHONPATH={where} exec {command}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}:/usr/sbin")
    (tmp_path / "rootfs.tar").symlink_to(busybox_tar())
    with fresh_engine(tmp_path / "engine") as tiffin:
        output = run_page("runtime.md", tiffin, tmp_path)
    assert '"status": "created"' in output and "tiffin\n" in output and "\n1000\n" in output
    assert not list((tmp_path / "state").glob("[!.]*"))
