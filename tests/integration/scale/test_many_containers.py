"""Many containers from one image at once: all run, are told apart, find each other, and leave nothing behind."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.images import busybox_tar
from tests.integration.engine.conftest import Ground

pytestmark = [pytest.mark.root, pytest.mark.slow]

MANY, ON_A_BRIDGE = 500, 200
IMAGE = "busybox"


@pytest.fixture
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    ground = Ground(tmp_path_factory.mktemp("many"))
    with busybox_tar().open("rb") as tar:
        ground.engine.images.import_(tar, IMAGE)
    yield ground
    ground.remove_all()
    ground.engine.teardown()
    ground.engine.close()


def start_time(ground: Ground, **options: object) -> float:
    """The quickest of a few starts, since the machine does other things too; those stay."""
    best = 1e9
    for _ in range(6):
        container = ground.create("sleep", "1000", **options)
        before = time.monotonic()
        ground.containers.start(container)
        best = min(best, time.monotonic() - before)
    return best


def test_five_hundred_run_at_once_and_the_next_starts_as_quickly_as_the_first(ground: Ground) -> None:
    ground.start("sleep", "1000")  # loads the launcher
    first = start_time(ground)
    while len(ground.containers.list()) < MANY - 6:
        for _ in range(50):
            ground.start("sleep", "1000")
    last = start_time(ground)
    running = ground.containers.list()
    assert len(running) >= MANY
    assert len({summary.id for summary in running}) == len(running)
    assert all(summary.state == "running" for summary in running)
    one = running[MANY // 2].id
    assert ground.exec(one, "hostname")[1].strip().decode() == one[:12]
    # Room for the noise of a shared machine; what grows with the number of containers would be a multiple.
    assert last < 2 * first + 0.02
    ground.remove_all()
    ground.assert_clean()


def test_two_hundred_share_a_bridge_with_addresses_of_their_own_and_reach_each_other(ground: Ground) -> None:
    serve = "hostname > /tmp/name; exec httpd -f -p 80 -h /tmp"
    made = [ground.start("sh", "-c", serve, network="bridge", name=f"n{at}") for at in range(ON_A_BRIDGE)]
    addresses = [
        str(ground.containers.inspect(container)["NetworkSettings"]["IPAddress"]) for container in made
    ]
    assert len(set(addresses)) == ON_A_BRIDGE
    for at in (0, ON_A_BRIDGE - 1):
        other = ON_A_BRIDGE // 2
        asked = b"GET /name HTTP/1.0\r\n\r\n"
        code, out, errors = ground.exec(made[at], "nc", "-w", "10", addresses[other], "80", stdin=asked)
        assert code == 0, errors
        assert out.decode().endswith(f"{made[other][:12]}\n")
        assert addresses[at] in ground.exec(made[at], "cat", "/etc/hosts")[1].decode()
    ground.remove_all()
    ground.assert_clean()
    bridge = Path(f"/sys/class/net/tfn{ground.engine.layout.engine}/brif")
    assert not bridge.is_dir() or not list(bridge.iterdir())
