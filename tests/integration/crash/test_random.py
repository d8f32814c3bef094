"""Two hundred kills at random moments, forty of each command that moves images; and some of those that make them.

The moments are drawn from fixed seeds over the time that the undisturbed command takes here, so that they fall on other
instructions on other machines, and on most of the command's length on each.
"""

import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.command import Tiffin
from tests.images import busybox_tar
from tests.integration.crash.ground import Ground, Server, base_tar, make_archive

pytestmark = [pytest.mark.root, pytest.mark.slow]
KILLS = 40
SOME = 10


@pytest.fixture
def ground(tmp_path: Path) -> Iterator[Ground]:
    found = Ground(Tiffin(tmp_path / "engine"))
    try:
        yield found
    finally:
        found.close()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    found = Server(tmp_path / "server")
    try:
        yield found
    finally:
        found.close()


def kills(
    ground: Ground,
    seed: int,
    prepare: Callable[[int], None],
    words: Callable[[int], list[str | Path]],
    count: int = KILLS,
) -> None:
    """Kill the command `words(turn)` after `prepare(turn)`, again and again, and check after each."""
    prepare(0)
    whole = ground.duration(words(0))
    ground.check()
    dice = random.Random(seed)
    killed = 0
    for turn in range(1, count + 1):
        prepare(turn)
        killed += ground.kill(words(turn), dice.uniform(0, whole)) < 0
        ground.check()
    assert killed > count / 4


def test_load(ground: Ground, tmp_path: Path) -> None:
    archives = [make_archive(tmp_path / f"{n}.tar", f"docker.io/library/x:{n}", n) for n in range(2)]

    def prepare(turn: int) -> None:
        if turn % 2 == 0:
            ground.forget()

    kills(ground, 1, prepare, lambda turn: ["load", "-i", archives[turn % 2]])


def test_pull(ground: Ground, server: Server, tmp_path: Path) -> None:
    archives = [make_archive(tmp_path / f"{n}.tar", f"docker.io/library/x:{n}", n) for n in range(2)]
    for archive in archives:
        server.tiffin.ok("load", "-i", archive)

    def prepare(turn: int) -> None:
        if turn % 2 == 0:
            ground.forget()

    kills(ground, 2, prepare, lambda turn: ["pull", f"{server.address}/x:{turn % 2}"])


def test_push(ground: Ground, server: Server, tmp_path: Path) -> None:
    def prepare(turn: int) -> None:
        ground.forget()
        name = f"{server.address}/x:{turn}"
        ground.load(make_archive(tmp_path / "x.tar", name, turn))

    kills(ground, 3, prepare, lambda turn: ["push", f"{server.address}/x:{turn}"])
    server.close()
    other = Ground(server.tiffin)
    try:
        assert any(name.endswith("/x:0") for name in other.names())
        other.check()
    finally:
        other.close()


def test_prune(ground: Ground, tmp_path: Path) -> None:
    archives = [make_archive(tmp_path / f"{n}.tar", f"docker.io/library/x:{n}", n) for n in range(3)]

    def prepare(turn: int) -> None:
        for archive in archives[: 1 + turn % 3]:
            ground.load(archive)

    kills(ground, 4, prepare, lambda _: ["image", "prune", "-af"])


def test_rmi(ground: Ground, tmp_path: Path) -> None:
    archives = [make_archive(tmp_path / f"{n}.tar", f"docker.io/library/x:{n}", n) for n in range(2)]

    def prepare(turn: int) -> None:
        for archive in archives:
            ground.load(archive)

    kills(ground, 5, prepare, lambda turn: ["rmi", f"x:{turn % 2}", f"x:{1 - turn % 2}"])


def base(ground: Ground) -> None:
    with open(busybox_tar(), "rb") as file:
        ground.engine.images.import_(file, "base")


def test_tag(ground: Ground) -> None:
    base(ground)
    kills(ground, 6, lambda _: None, lambda turn: ["tag", "base", f"x:{turn}"], SOME)


def test_import(ground: Ground, tmp_path: Path) -> None:
    (tmp_path / "base.tar").write_bytes(base_tar())
    kills(
        ground,
        7,
        lambda _: ground.forget(),
        lambda turn: ["import", tmp_path / "base.tar", f"x:{turn}"],
        SOME,
    )


def test_commit(ground: Ground) -> None:
    base(ground)
    ground.tiffin.ok("run", "--name", "changed", "base", "sh", "-c", "mkdir /d; cp /bin/busybox /d")
    kills(ground, 8, lambda _: ground.forget(), lambda turn: ["commit", "changed", f"x:{turn}"], SOME)
    ground.tiffin.ok("rm", "changed")


def test_build(ground: Ground, tmp_path: Path) -> None:
    base(ground)
    context = tmp_path / "context"
    context.mkdir()

    def prepare(turn: int) -> None:
        (context / "f").write_text(str(turn))
        (context / "Dockerfile").write_text("FROM base\nCOPY f /f\nRUN cp /bin/busybox /again\nRUN rm /f\n")
        ground.forget()

    kills(ground, 9, prepare, lambda turn: ["build", "-q", "-t", f"x:{turn}", context], SOME)
