"""Wheels out of a clean copy of the checkout, for this machine and for the other."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tiffin.init import compile as build

REPOSITORY = Path(__file__).resolve().parents[3]
HOST = os.uname().machine
OTHER = {"x86_64": "aarch64", "aarch64": "x86_64"}[HOST]
MACHINES = {"x86_64": 62, "aarch64": 183}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("build") is None, reason="needs the package `build`"),
    pytest.mark.skipif(importlib.util.find_spec("hatchling") is None, reason="needs hatchling"),
]


def build_package(tmp_path: Path, kind: str, **env: str) -> Path:
    source = tmp_path / "source"
    shutil.copytree(
        REPOSITORY / "src", source / "src", ignore=shutil.ignore_patterns("__pycache__", "tiffin-init-*")
    )
    for name in ("pyproject.toml", "README.md", "LICENSE", ".gitignore"):
        shutil.copy(REPOSITORY / name, source)
    command = [
        sys.executable,
        "-m",
        "build",
        "--no-isolation",
        kind,
        "-o",
        str(tmp_path / "dist"),
        str(source),
    ]
    done = subprocess.run(command, env={**os.environ, **env}, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert not list(
        (source / "src/tiffin/init").glob("tiffin-init-*")
    )  # a build leaves nothing in the checkout
    (made,) = (tmp_path / "dist").iterdir()
    return made


@pytest.mark.parametrize(
    "arch",
    [
        pytest.param(HOST, marks=pytest.mark.skipif(build.host_compiler(HOST) is None, reason="needs cc")),
        pytest.param(OTHER, marks=pytest.mark.skipif(not build._has_ziglang(), reason="needs ziglang")),
    ],
)
def test_a_wheel_holds_the_helper_of_its_architecture_and_no_sources(tmp_path, arch):
    wheel = build_package(tmp_path, "--wheel", TIFFIN_TARGET_ARCH=arch)
    assert f"-py3-none-manylinux_2_17_{arch}." in wheel.name
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if name.startswith("tiffin/init/")]
        helpers = [name for name in names if "tiffin-init" in name]
        assert helpers == [f"tiffin/init/tiffin-init-{arch}"]
        assert int.from_bytes(archive.read(helpers[0])[18:20], "little") == MACHINES[arch]
        assert not [name for name in names if name.endswith((".c", ".h")) or "hatch_hook" in name]


def test_an_sdist_holds_the_sources_and_no_helper(tmp_path):
    sdist = build_package(tmp_path, "--sdist")
    said = subprocess.run(["tar", "tzf", str(sdist)], check=True, capture_output=True, text=True).stdout
    names = {name.rpartition("/")[2] for name in said.splitlines() if "/tiffin/init/" in name}
    assert {*build.SOURCES, *build.HEADERS, "compile.py", "hatch_hook.py"} <= names
    assert not [name for name in names if name.startswith("tiffin-init-")]
