"""The documentation does what it says: every shell block of the guide runs, and the reference is what the code has."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.command import Tiffin, fresh_engine
from tests.docs import run_page
from tests.images import busybox_tar
from tests.registries import docker_registry
from tests.volume_plugin import running

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


@pytest.mark.root
def test_the_readmes_program_builds_and_runs(tmp_path: Path) -> None:
    readme = (DOCS.parent / "README.md").read_text()
    program = re.findall(r"^```python\n(.*?)^```$", readme, re.MULTILINE | re.DOTALL)[0]
    assert len(program.splitlines()) <= 10
    with fresh_engine(tmp_path / "engine", busybox=False) as tiffin:
        tiffin.ok("import", busybox_tar(), "base")
        environment = {**os.environ, "TIFFIN_ROOT": str(tiffin.root), "TIFFIN_RUN": str(tiffin.run_directory)}
        done = subprocess.run(
            [sys.executable, "-c", program],
            cwd=DOCS.parent,
            capture_output=True,
            text=True,
            timeout=120,
            env=environment,
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith("0 <!doctype html>")
        assert "Hello from tiffin" in done.stdout


def test_the_quick_start_is_exactly_two_commands() -> None:
    readme = (DOCS.parent / "README.md").read_text()
    block = readme.partition("## Quick start")[2].partition("```sh\n")[2].partition("```")[0]
    assert block == "./quickstart\n./test\n"


@pytest.mark.root
@pytest.mark.registry
def test_the_page_on_pushing_runs_from_top_to_bottom(tmp_path: Path) -> None:
    with docker_registry(tmp_path) as registry, fresh_engine(tmp_path / "engine") as tiffin:
        tiffin.ok("tag", "busybox", "web")
        told = run_page("pushing.md", tiffin, tmp_path, replace=("localhost:5000", registry.host))
    for expected in (
        ": Pushed",
        "Layer already exists",
        "Mounted from team/web",
        "Created manifest list",
        "Removed: ",
    ):
        assert expected in told


@pytest.mark.root
def test_the_page_on_the_disk_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with fresh_engine(tmp_path / "engine") as tiffin:
        monkeypatch.setenv("TIFFIN_ROOT", str(tiffin.root))
        said = run_page("disk.md", tiffin, tmp_path)
    for expected in (
        "nothing was removed",
        "Volumes space usage:",
        "nothing is damaged\n",
        "etc/passwd has 8 bytes",
        "1 damaged\ndamaged\n",
        "unpacked again",
        "root:x:0:0",
    ):
        assert expected in said, said


@pytest.mark.root
def test_the_page_on_volumes_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "config.toml").write_text(
        f'[volumes]\nplugin-sockets = ["{tmp_path}/s"]\nplugin-specs = []\n'
    )
    monkeypatch.setenv("TIFFIN_CONFIG", str(tmp_path / "config.toml"))
    with (
        running(tmp_path / "kept", tmp_path / "s" / "keeper.sock"),
        fresh_engine(tmp_path / "engine") as tiffin,
    ):
        said = run_page("volumes.md", tiffin, tmp_path)
    for expected in (
        "there",
        "keeper    remote",
        "kept",
        "volume is in use",
        "in use, so it stays",
        "1000 mine/file",
        "Deleted Volumes:\ndata\n",
    ):
        assert expected in said, said
    assert said.endswith("\ncopy\n"), "the label spared it"


@pytest.mark.registry
def test_the_page_on_pulling_runs_from_top_to_bottom(tmp_path: Path) -> None:
    with docker_registry(tmp_path) as registry, fresh_engine(tmp_path / "engine") as tiffin:
        _put_images(tiffin, registry.host, tmp_path)
        told = run_page("pulling.md", tiffin, tmp_path, replace=("localhost:5000", registry.host))
        program = re.findall(
            r"^```python\n(.*?)^```$", (DOCS / "pulling.md").read_text(), re.MULTILINE | re.DOTALL
        )[0]
        environment = {**os.environ, "TIFFIN_ROOT": str(tiffin.root), "TIFFIN_RUN": str(tiffin.run_directory)}
        command = [sys.executable, "-c", program.replace("localhost:5000", registry.host)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment)
    for expected in (
        "exactly this one",
        "pulled first",
        "here by now",
        "asked for anew",
        "linux/arm64",
        "this machine's",
    ):
        assert expected in told
    assert done.returncode == 0, done.stderr
    assert "Image is up to date" in done.stdout


def _put_images(tiffin: Tiffin, host: str, tmp_path: Path) -> None:
    """team/web:1 and :latest, and team/many for two platforms, put into the registry and forgotten here."""
    one, many = f"{host}/team/web", f"{host}/team/many"
    tiffin.ok("import", "--platform", "linux/arm64", busybox_tar(), f"{many}-arm64")
    for name in (f"{one}:1", f"{one}:latest", f"{many}-amd64"):
        tiffin.ok("tag", "busybox", name)
    for name in (f"{one}:1", f"{one}:latest", f"{many}-amd64", f"{many}-arm64"):
        tiffin.ok("push", "-q", name)
    tiffin.ok("manifest", "create", many, f"{many}-amd64", f"{many}-arm64")
    tiffin.ok("manifest", "push", many)
    for image in set(tiffin.ok("images", "-q").split()):
        tiffin.ok("rmi", "-f", image)


@pytest.mark.root
def test_the_page_on_copying_runs_from_top_to_bottom(tmp_path: Path) -> None:
    with fresh_engine(tmp_path / "engine") as tiffin:
        told = run_page("copying.md", tiffin, tmp_path)
    for expected in (
        "soup of the day",
        "/pages/css/main.css",
        "/pages/old/css/main.css",
        "pages/index.html",
        "css",
    ):
        assert expected in told
