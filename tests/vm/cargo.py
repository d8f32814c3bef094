"""The disk that carries the code under test into the guest: tiffin as it is installed here, tests, and pytest.

The few compiled modules are of this Python: it must be the version of the Debian that the guest is made of, as
/usr/bin/python3 is.
"""

import importlib.metadata
import os
import re
import sys
from pathlib import Path

import tiffin
from tests.images import busybox_tar
from tests.vm.machine import run
from tiffin.init import open_helper

PROJECT = Path(__file__).parent.parent.parent
DISTRIBUTIONS = ("pytest", "pytest-timeout", "isal", "zstandard", "rich")


def cargo_disk(directory: Path, arguments: list[str]) -> Path:
    """An ext4 image in the existing, empty `directory`; `arguments` are pytest's."""
    tree, disk = directory / "cargo", directory / "cargo.ext4"
    package = Path(str(tiffin.__file__)).parent
    os.close(open_helper())  # in a source checkout: compiles what the package then holds
    _copy(package, tree / "src/tiffin")
    _copy(PROJECT / "tests", tree / "tests")
    _copy(PROJECT / "pyproject.toml", tree / "pyproject.toml")
    _copy(busybox_tar(), tree / ".cache/test-images/busybox.tar")
    for name in sorted(_with_requirements(DISTRIBUTIONS)):
        _copy_distribution(name, tree / "site")
    (tree / "arguments").write_text("\n".join(arguments))
    # Compiling is what Python in an emulated machine is slowest at.
    compiler = ["-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash"]
    run([sys.executable, *compiler, tree / "src", tree / "site"])
    run(["mke2fs", "-q", "-t", "ext4", "-O", "^has_journal", "-d", tree, disk, "256M"])
    return disk


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    run(["cp", "-r", source, target])


def _with_requirements(names: tuple[str, ...]) -> set[str]:
    """The distributions and what they need, as installed here; what is not installed is not needed here."""
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        try:
            distribution = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        if distribution.name in found:
            continue
        found.add(distribution.name)
        needed = [text for text in distribution.requires or () if "extra ==" not in text]
        waiting += [match[0] for text in needed if (match := re.match(r"[\w.-]+", text))]
    return found


def _copy_distribution(name: str, site: Path) -> None:
    """Its modules and its metadata (pytest finds its plugins by that), without commands and compiled files."""
    for file in importlib.metadata.distribution(name).files or ():
        if file.parts[0] != ".." and file.suffix != ".pyc":
            target = site / file
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(Path(str(file.locate())).read_bytes())
