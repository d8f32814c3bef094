"""Killed on entering each call that makes something durable or takes it away, one after the other, until the command
lives to its end. The kernel's own count, by strace, so that no step between two of them is missed."""

import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from tests.command import Tiffin
from tests.integration.crash.ground import Ground, Server, make_archive

pytestmark = [
    pytest.mark.root,
    pytest.mark.slow,
    pytest.mark.skipif(not shutil.which("strace"), reason="needs strace"),
]

MOST = 200


@pytest.fixture
def ground(tmp_path: Path) -> Iterator[Ground]:
    found = Ground(Tiffin(tmp_path / "engine"))
    try:
        yield found
    finally:
        found.close()


def strace(ground: Ground, call: str, count: int, words: Sequence[str | Path]) -> int:
    """Run a command that is killed when one of its threads enters its `count`-th `call`; its exit code. (Not with
    --seccomp-bpf: strace 6.1 then injects nothing.)"""
    command = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={call}"]
    command += ["-e", f"inject={call}:signal=SIGKILL:when={count}", *ground.tiffin.argv(*words)]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
    assert done.returncode in (0, -9), done.stderr
    return done.returncode


def step_through(ground: Ground, call: str, prepare: Callable[[], None], words: list[str | Path]) -> int:
    """Kill at the first such call, the second, ...; how many kills it took until none was left."""
    for count in range(1, MOST):
        prepare()
        code = strace(ground, call, count, words)
        ground.check()
        if code == 0:
            return count - 1
    raise AssertionError(f"killed {MOST} times and not done")


@pytest.mark.parametrize(
    ("call", "least"), [("mkdir", 1), ("rename", 1), ("fsync", 2), ("fdatasync", 3), ("syncfs", 1)]
)
def test_load(ground: Ground, tmp_path: Path, call: str, least: int) -> None:
    archive = make_archive(tmp_path / "x.tar", "docker.io/library/x:1", 1, layers=2, files=5)
    ground.engine.images.list()  # the store is there: making it is not what is tested
    kills = step_through(ground, call, ground.forget, ["load", "-i", archive])
    assert ground.names() == {"docker.io/library/x:1"}
    assert kills >= least


@pytest.mark.parametrize(
    ("call", "least"), [("unlink", 4), ("unlinkat", 10), ("rename", 3), ("fsync", 1), ("fdatasync", 3)]
)
def test_rmi(ground: Ground, tmp_path: Path, call: str, least: int) -> None:
    archive = make_archive(tmp_path / "x.tar", "docker.io/library/x:1", 1, layers=2, files=5)
    kills = step_through(ground, call, lambda: ground.load(archive), ["rmi", "x:1"])
    assert ground.names() == set()
    assert kills >= least


@pytest.mark.parametrize(("call", "least"), [("rename", 1), ("fsync", 2), ("fdatasync", 3), ("syncfs", 1)])
def test_pull(ground: Ground, tmp_path: Path, call: str, least: int) -> None:
    server = Server(tmp_path / "server")
    try:
        archive = make_archive(tmp_path / "x.tar", "docker.io/library/x:1", 1, layers=2, files=5)
        server.tiffin.ok("load", "-i", archive)
        ground.engine.images.list()
        kills = step_through(ground, call, ground.forget, ["pull", f"{server.address}/x:1"])
        assert ground.names() >= {f"{server.address}/x:1"}
        assert kills >= least
    finally:
        server.close()
