"""Two hundred containers on one network of a user's, with both families: each start as quick as the first, every name
found, addresses given again correctly, nothing left."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from tests.images import busybox_tar
from tests.integration.engine.conftest import Ground, await_that
from tests.integration.network.lab import lab
from tiffin.kernel import netlink
from tiffin.network.definitions import NetworkRequest

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.root, pytest.mark.slow]

MANY, SAMPLE = 200, 10


@pytest.fixture
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    with lab():
        ground = Ground(tmp_path_factory.mktemp("many"))
        with busybox_tar().open("rb") as tar:
            ground.engine.images.import_(tar, "busybox")
        yield ground
        ground.remove_all()
        ground.engine.teardown()
        ground.engine.close()


def start(ground: Ground, name: str) -> float:
    """The seconds that it took."""
    container = ground.create("sleep", "1000", network="many", name=name)
    before = time.monotonic()
    ground.containers.start(container)
    return time.monotonic() - before


def places(ground: Ground) -> dict[str, tuple[str, str]]:
    """The addresses of each container."""
    members = ground.engine.networks.inspect("many")["Containers"].values()
    return {
        member["Name"]: (
            member["IPv4Address"].partition("/")[0],
            member["IPv6Address"].partition("/")[0],
        )
        for member in members
    }


def resolved(ground: Ground, names: list[str]) -> dict[str, set[str]]:
    """What a container is told about each of these names."""
    script = 'for name in "$@"; do echo "= $name"; nslookup "$name" | sed 1,3d; done'
    code, out, errors = ground.exec("first", "sh", "-c", script, "sh", *names)
    assert code == 0 or out, errors
    found: dict[str, set[str]] = {}
    for line in out.decode().splitlines():
        word, _, value = line.partition(" ")
        if word == "=":
            found[current := value] = set()
        elif line.startswith("Address"):
            found[current].add(line.split()[-1])
    return found


def test_two_hundred_on_a_network(ground: Ground) -> None:
    ground.engine.networks.create(NetworkRequest("many", ipv6=True))
    start(ground, "first")
    begun = min(start(ground, f"n{at}") for at in range(SAMPLE))
    for at in range(SAMPLE, MANY - SAMPLE):
        start(ground, f"n{at}")
    ended = min(start(ground, f"n{at}") for at in range(MANY - SAMPLE, MANY))
    # Room for the noise of a shared machine; what grows with the number of containers would be a multiple.
    assert ended < 2 * begun + 0.03

    before = places(ground)
    assert len(before) == MANY + 1
    for family in (0, 1):
        assert len({place[family] for place in before.values()}) == MANY + 1
    names = [f"n{at}" for at in range(MANY)]
    assert resolved(ground, names) == {name: set(before[name]) for name in names}

    gone = names[::10]
    for name in gone:
        ground.containers.remove(name, force=True)
    assert resolved(ground, gone[:SAMPLE]) == {name: set() for name in gone[:SAMPLE]}
    for name in gone:
        start(ground, f"again-{name}")
    after = places(ground)
    for family in (0, 1):
        given = [place[family] for place in after.values()]
        assert len(set(given)) == MANY + 1, "an address was given twice"
    assert {name: after[name] for name in names[1::10]} == {name: before[name] for name in names[1::10]}
    assert resolved(ground, ["again-n0", "n1"]) == {
        "again-n0": set(after["again-n0"]),
        "n1": set(after["n1"]),
    }

    ground.remove_all()
    ground.assert_clean()
    with netlink.Socket() as host:
        await_that(lambda: not [link.name for link in host.links() if link.name.startswith("tv")])
    ground.engine.networks.remove("many")
    with netlink.Socket() as host:
        assert not [link.name for link in host.links() if link.name.startswith("tn-")]


def test_an_address_is_given_again_only_when_it_is_free(ground: Ground) -> None:
    """A range of fourteen, and containers that come and go for longer than it lasts."""
    request = NetworkRequest(
        "many",
        ipv6=True,
        subnets=("10.77.5.0/28", "fd00:77:5::/64"),
        ip_ranges=("fd00:77:5::10/124",),
    )
    ground.engine.networks.create(request)
    for round_ in range(4):
        for at in range(5):
            start(ground, f"c{round_}-{at}")
            if round_:
                ground.containers.remove(f"c{round_ - 1}-{at}", force=True)
            given = [place for pair in places(ground).values() for place in pair]
            assert len(set(given)) == len(given)
            assert not {"10.77.5.0", "10.77.5.1", "10.77.5.15"} & set(given)
