"""docs/images.md does what it says."""

import shutil
from pathlib import Path

import pytest

from tests.command import fresh_engine
from tests.docs import run_page
from tests.images import busybox_tar

pytestmark = pytest.mark.root


def test_the_page_runs_from_top_to_bottom(tmp_path: Path) -> None:
    shutil.copy(busybox_tar(), tmp_path / "rootfs.tar")
    with fresh_engine(tmp_path / "engine", busybox=False) as tiffin:
        output = run_page("images.md", tiffin, tmp_path)
    for expected in (
        "└─ web:1",
        "registry.example/team/web:2",
        "[sh] live 3",
        'job: me "\\"true\\""',
        "created",
        "C.UTF-8",
        "WARNING! This will remove all images without a container:",
        "untagged: web:1",
        "Total reclaimed space: ",
    ):
        assert expected in output
