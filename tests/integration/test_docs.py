"""The documentation does what it says: every shell block of the guide runs, and the reference is what the code has."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.command import fresh_engine
from tests.images import busybox_tar

DOCS = Path(__file__).parent.parent.parent / "docs"


@pytest.mark.root
def test_the_guide_runs_from_top_to_bottom(tmp_path: Path) -> None:
    blocks = re.findall(r"^```sh\n(.*?)^```$", (DOCS / "guide.md").read_text(), re.MULTILINE | re.DOTALL)
    assert len(blocks) >= 8
    shutil.copy(busybox_tar(), tmp_path / "rootfs.tar")
    with fresh_engine(tmp_path / "engine", busybox=False) as tiffin:
        script = f'set -e\ntiffin() {{ {shlex.join(tiffin.argv())} "$@"; }}\n' + "\n".join(blocks)
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=120,
            stdin=subprocess.DEVNULL,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        for expected in ("hello world", "C /www", "changed", "kept", "Dockerfile"):
            assert expected in done.stdout


def test_the_reference_is_what_the_code_says() -> None:
    root = DOCS.parent
    done = subprocess.run(
        [sys.executable, "tools/reference.py", "--check"], cwd=root, capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, ["src", os.environ.get("PYTHONPATH", "")]))},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
