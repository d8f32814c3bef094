"""An upgrade while containers run: tiffin is installed anew, or is not there at all for a while. Containers go on,
and the new version ends, reads and enters what the old one started."""

import importlib.util
import json
import os
import re
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.images import busybox_tar
from tests.integration.engine.conftest import await_that
from tests.integration.init.test_wheel import build_package
from tiffin import Engine
from tiffin._version import __version__

pytestmark = [
    pytest.mark.root,
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("build") is None, reason="needs the package `build`"),
    pytest.mark.skipif(importlib.util.find_spec("hatchling") is None, reason="needs hatchling"),
]
NEWER = "99.0"


def make_newer(wheel: Path, directory: Path) -> Path:
    """The same wheel with another version number."""
    done = subprocess.run(
        [
            sys.executable, "-c",
            "import sys, zipfile\n"
            "old, new, before, after = sys.argv[1:]\n"
            "with zipfile.ZipFile(old) as source, zipfile.ZipFile(new, 'w') as made:\n"
            "    for info in source.infolist():\n"
            "        data = source.read(info)\n"
            "        if info.filename.endswith(('_version.py', 'METADATA', 'RECORD')):\n"
            "            data = data.replace(before.encode(), after.encode())\n"
            "        if info.filename.endswith('RECORD'):\n"
            "            data = b''.join(line.split(b',')[0] + b',,\\n' for line in data.splitlines())\n"
            "        info.filename = info.filename.replace(before, after)\n"
            "        made.writestr(info, data)\n",
            str(wheel), str(directory / wheel.name.replace(__version__, NEWER)), __version__, NEWER,
        ],
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return directory / wheel.name.replace(__version__, NEWER)


class Installed:
    """tiffin in a virtual environment of its own, and an engine used by that alone."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.python = directory / "venv" / "bin" / "python"
        self.root, self.run_directory = directory / "root", directory / "run"
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", directory / "venv"], check=True)
        (packages,) = (directory / "venv" / "lib").glob("python*/site-packages")
        self.package = packages / "tiffin"
        # What tiffin needs, without the tiffin that may be installed beside it.
        for needed in Path(sysconfig.get_path("purelib")).iterdir():
            if not needed.name.startswith("tiffin") and not (packages / needed.name).exists():
                (packages / needed.name).symlink_to(needed)

    def pip(self, *words: str | Path) -> None:
        command = [
            sys.executable,
            "-m",
            "pip",
            "--python",
            self.python,
            "-q",
            "--no-input",
            "--no-cache-dir",
            *words,
        ]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=120, env={**os.environ, "PIP_NO_INDEX": "1"}
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def __call__(self, *words: str | Path) -> str:
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        done = subprocess.run(
            [self.python.with_name("tiffin"), "--root", self.root, "--run", self.run_directory, *words],
            capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL, env=environment,
        )  # fmt: skip
        assert done.returncode == 0, f"{words}: {done.stderr}"
        return done.stdout.strip()

    def inspect(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self("inspect", name))[0]
        return found


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    directory = tmp_path_factory.mktemp("wheels")
    wheel = build_package(directory, "--wheel")
    return wheel, make_newer(wheel, directory)


@pytest.fixture
def installed(tmp_path: Path, wheels: tuple[Path, Path]) -> Iterator[Installed]:
    tiffin = Installed(tmp_path)
    tiffin.pip("install", "--no-deps", wheels[0])
    tiffin("import", busybox_tar(), "busybox")
    try:
        yield tiffin
    finally:
        if not (tiffin.package / "cli" / "main.py").exists():
            tiffin.pip("install", "--no-deps", "--force-reinstall", wheels[1])
        if ids := tiffin("ps", "-aq").split():
            tiffin("rm", "-f", "-v", *ids)
        with Engine(str(tiffin.root), str(tiffin.run_directory)) as engine:
            engine.teardown()


def start_all(tiffin: Installed) -> None:
    """A container of every kind that has more than a process."""
    ticking = "trap 'echo end; exit 4' TERM; while :; do echo tick; sleep 0.1; done"
    tiffin(
        "run", "-d", "--name", "ticking", "-v", "data:/data", "-v", "/scratch", "busybox", "sh", "-c", ticking
    )
    tiffin("run", "-d", "--name", "failing", "--restart", "always", "busybox", "sh", "-c", "echo run; exit 1")
    tiffin(
        "run", "-d", "--name", "checked", "--health-cmd", "cat /proc/uptime", "--health-interval", "100ms",
        "--network", "none", "busybox", "sleep", "1000",
    )  # fmt: skip
    tiffin(
        "run", "-d", "--name", "passing", "--rm", "-v", "/scratch", "busybox", "sh", "-c", "sleep 3; exit 0"
    )


def test_containers_go_on_over_an_upgrade_and_the_new_version_commands_them(
    installed: Installed, wheels: tuple[Path, Path]
) -> None:
    tiffin = installed
    start_all(tiffin)
    before = {name: tiffin.inspect(name)["State"]["Pid"] for name in ("ticking", "checked")}
    assert __version__ in tiffin("--version")
    tiffin.pip("install", "--no-deps", "--force-reinstall", wheels[1])
    assert NEWER in tiffin("--version")
    assert {name: tiffin.inspect(name)["State"]["Pid"] for name in before} == before
    lines = tiffin("logs", "ticking").count("tick")
    await_that(lambda: tiffin("logs", "ticking").count("tick") > lines)
    assert tiffin("exec", "ticking", "echo", "inside") == "inside"
    checked = tiffin.inspect("checked")["State"]["Health"]["Log"][-1]["End"]
    await_that(lambda: tiffin.inspect("checked")["State"]["Health"]["Log"][-1]["End"] != checked)
    tiffin("restart", "-t", "0", "checked")
    await_that(lambda: tiffin.inspect("checked")["State"]["Health"]["Status"] == "healthy")
    restarts = tiffin.inspect("failing")["RestartCount"]
    await_that(lambda: tiffin.inspect("failing")["RestartCount"] > restarts, seconds=70)
    tiffin("pause", "ticking")
    tiffin("unpause", "ticking")
    tiffin("stop", "ticking", "failing")
    assert tiffin.inspect("ticking")["State"]["ExitCode"] == 4
    assert tiffin("logs", "--tail", "1", "ticking") == "end"
    tiffin("start", "ticking")
    tiffin("rm", "-f", "ticking", "failing", "checked")
    await_that(lambda: not tiffin("ps", "-aq"), seconds=20)


def test_a_supervisor_needs_none_of_its_files_any_more(
    installed: Installed, wheels: tuple[Path, Path]
) -> None:
    """Between an uninstall and the next install: runs end and are recorded, other runs begin, checks are done."""
    tiffin = installed
    start_all(tiffin)
    ticking = tiffin.inspect("ticking")["State"]["Pid"]
    failing = tiffin.inspect("failing")["RestartCount"]
    checked = tiffin.inspect("checked")["State"]["Health"]["Log"]
    tiffin.pip("uninstall", "-y", "tiffin")
    assert not (tiffin.package / "supervisor").exists()
    os.kill(ticking, 15)
    await_that(lambda: not re.search(rf"^{ticking} ", _running(), re.MULTILINE))
    time.sleep(3.5)  # the one with --rm ends by itself, the others have some runs and checks
    tiffin.pip("install", "--no-deps", wheels[1])
    state = tiffin.inspect("ticking")["State"]
    assert (state["Status"], state["ExitCode"], state["Error"]) == ("exited", 4, "")
    assert tiffin.inspect("failing")["RestartCount"] > failing
    results = tiffin.inspect("checked")["State"]["Health"]["Log"]
    assert results[0]["Start"] > (checked[-1]["Start"] if checked else "")
    assert {result["ExitCode"] for result in results} == {0}, results
    assert "passing" not in tiffin("ps", "-a", "--format", "{{.Names}}")
    assert not list((tiffin.root / "volumes").glob("*/_data/nothing"))


def _running() -> str:
    return subprocess.run(["ps", "-eo", "pid="], capture_output=True, text=True, check=True).stdout
