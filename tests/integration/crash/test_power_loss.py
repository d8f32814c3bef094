"""What is on the disk before what: a power loss must not find a name without what it names.

    blob       written ─ fsync ─ rename into place ─ fsync of the directory ┐
    layer      unpacked ─ syncfs ─ rename into place ─ fsync of `layers`    ├─ commit (fdatasync of its log)
    config, manifest     as blobs                                           ┘   ─ index.json ─ told to the user

Read from the calls that the kernel got, by strace.
"""

import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.command import Tiffin
from tests.integration.crash.ground import Ground, Server, make_archive

pytestmark = [pytest.mark.root, pytest.mark.skipif(not shutil.which("strace"), reason="needs strace")]
_TRACED = "rename,renameat,renameat2,link,linkat,fsync,fdatasync,syncfs,write"


@pytest.fixture
def ground(tmp_path: Path) -> Iterator[Ground]:
    found = Ground(Tiffin(tmp_path / "engine"))
    try:
        found.engine.images.list()
        yield found
    finally:
        found.close()


def calls(ground: Ground, log: Path, words: Sequence[str | Path]) -> list[tuple[str, str]]:
    """The calls of a command as (name, arguments), each where it had returned."""
    command = ["strace", "-f", "-y", "-qq", "-s", "200", "-o", str(log), "-e", f"trace={_TRACED}"]
    subprocess.run([*command, *ground.tiffin.argv(*words)], check=True, capture_output=True, timeout=60)
    begun: dict[str, str] = {}
    found = []
    for line in log.read_text(errors="replace").splitlines():
        pid, _, rest = line.partition(" ")
        rest = rest.strip()
        if rest.endswith("<unfinished ...>"):
            begun[pid] = rest.removesuffix("<unfinished ...>")
            continue
        if resumed := re.match(r"<\.\.\. \w+ resumed>(.*)", rest):
            rest = begun.pop(pid, "") + resumed[1]
        if match := re.match(r"(\w+)\((.*)\)\s+= \d+", rest):
            found.append((match[1], match[2]))
    return found


def position(found: Sequence[tuple[str, str]], name: str, text: str, before: int) -> int:
    """Where the last call `name` with `text` in its arguments came, of those before another; -1 for none."""
    return max((at for at in range(before) if found[at][0] == name and text in found[at][1]), default=-1)


def check_order(ground: Ground, found: Sequence[tuple[str, str]], told: str) -> tuple[int, int]:
    """How many blobs and layers got their places, each in the right order, and all before the name."""
    root = str(ground.root)
    blobs, layers = [], []
    for at, (name, arguments) in enumerate(found):
        if not name.startswith(("rename", "link")):
            continue
        paths = re.findall(r'"([^"]*)"', arguments)
        if f"{root}/oci/blobs/sha256/" in paths[-1]:
            assert position(found, "fsync", paths[0], at) >= 0, f"{arguments} before an fsync"
            blobs.append(at)
        elif paths[-1].startswith(f"{root}/layers/") and not paths[-1].endswith("mount-points"):
            assert position(found, "syncfs", paths[0], at) >= 0, f"{arguments} before a syncfs"
            layers.append(at)
    synced = [
        position(found, "fsync", f"<{root}/{name}>", len(found)) for name in ("oci/blobs/sha256", "layers")
    ]
    assert blobs[-1] < synced[0]
    assert layers[-1] < synced[1]
    index = max(at for at, call in enumerate(found) if call[0] == "rename" and "/oci/index.json" in call[1])
    commit = position(found, "fdatasync", "tiffin.db-wal", index)
    assert max(synced) < commit, "the name was committed before what it names was on the disk"
    assert commit < position(found, "fsync", "/oci/.index.json", index) < index
    success = min(at for at, call in enumerate(found) if call[0] == "write" and told in call[1])
    assert commit < success, "success was reported before it was on the disk"
    assert position(found, "syncfs", "", success) >= 0
    return len(blobs), len(layers)


def test_load(ground: Ground, tmp_path: Path) -> None:
    archive = make_archive(tmp_path / "x.tar", "docker.io/library/x:1", 1)
    found = calls(ground, tmp_path / "log", ["load", "-i", archive])
    assert check_order(ground, found, "Loaded image: ") == (4 + 2, 4)


def test_pull_reports_success_only_after_syncfs(ground: Ground, tmp_path: Path) -> None:
    server = Server(tmp_path / "server")
    try:
        server.tiffin.ok("load", "-i", make_archive(tmp_path / "x.tar", "docker.io/library/x:1", 1))
        found = calls(ground, tmp_path / "log", ["pull", "-q", f"{server.address}/x:1"])
        assert check_order(ground, found, f"{server.address}/x:1") == (4 + 2, 4)
    finally:
        server.close()
