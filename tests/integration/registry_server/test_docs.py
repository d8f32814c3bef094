"""docs/registry-server.md does what it says."""

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
from tests.integration.peers import need

PAGE = Path(__file__).parents[3] / "docs" / "registry-server.md"


@pytest.mark.root
@pytest.mark.registry
@pytest.mark.peer
def test_the_page_runs_from_top_to_bottom(tmp_path: Path) -> None:
    need("skopeo")
    blocks = re.findall(r"^```sh\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert len(blocks) == 4
    shutil.copy(busybox_tar(), tmp_path / "rootfs.tar")
    with fresh_engine(tmp_path / "engine", busybox=False) as tiffin:
        # exec, so that the background job is the server and not a shell that waits for it
        run = f'tiffin() {{ {shlex.join(tiffin.argv())} "$@"; }}\nserve() {{ exec {shlex.join(tiffin.argv())} "$@"; }}'
        script = "\n".join(blocks).replace("tiffin registry serve", "serve registry serve")
        environment = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": os.pathsep.join(map(os.path.abspath, filter(None, sys.path))),
        }
        done = subprocess.run(
            ["bash", "-c", f"set -e\n{run}\n{script}"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=120,
            stdin=subprocess.DEVNULL,
            env=environment,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert "it was pushed" in done.stdout
        assert done.stdout.count('"Digest": "sha256:') == 2
        assert list((tiffin.root / "staging").iterdir()) == []
