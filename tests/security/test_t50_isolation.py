"""T50: networks stay apart, also after somebody flushed the rules that keep them so; and a container that is on an
internal network only gets no name server but ours, which asks nobody."""

from __future__ import annotations

import socket
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from tests.integration.network.lab import (
    MACHINE,
    MACHINE6,
    OUTSIDE,
    OUTSIDE6,
    inside,
    lab,
    reaches,
    refused,
    serve,
)
from tiffin.network import Networks, parse_publish
from tiffin.network.definitions import NetworkRequest, create
from tiffin.network.dnswire import AAAA, A, encode_name, parse_query
from tiffin.network.firewall import Firewall
from tiffin.network.records import Join
from tiffin.network.resolver import lookup, read_view
from tiffin.network.tool import run_nft
from tiffin.state import Store, locate, open_store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.integration.network.lab import Lab

pytestmark = pytest.mark.root

QUERY = bytes([0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0]) + encode_name("front") + b"\0\1\0\1"


class Scene:
    """A container on each of two networks, and one on an internal network, each with a server."""

    def __init__(self, place: Lab, store: Store, stack: ExitStack) -> None:
        self.place, self.store = place, store
        self.networks = Networks(store)
        self.made, self.webs = {}, {}
        for name in ("front", "back", "vault"):
            network = create(store, self.networks, NetworkRequest(name, internal=name == "vault", ipv6=True))
            ports = parse_publish("8080:80") if name == "front" else ()
            made = self.networks.attach(name, name, ports, (Join(network.id, name),))
            stack.callback(made.close)
            stack.callback(self.networks.detach, name)
            self.made[name] = made
            self.webs[name] = stack.enter_context(serve(made.netns_fd, "::", 80))

    def check(self) -> None:
        """Nobody reaches another network; all but the internal one reach the world."""
        for source, made in self.made.items():
            for target, other in self.made.items():
                if source != target:
                    for address in (other.address, other.address6):
                        assert refused(made.netns_fd, (address, 80)), (source, target)
        with serve(self.place.outside, "::", 82) as outside:
            for address in (OUTSIDE, OUTSIDE6):
                reaches(self.made["front"].netns_fd, (address, 82), outside)
                assert refused(self.made["vault"].netns_fd, (address, 82))
        for address in (self.made["vault"].address, self.made["vault"].address6):
            assert refused(self.place.outside, (address, 80))
        for address in (MACHINE, MACHINE6):
            reaches(self.place.outside, (address, 8080), self.webs["front"])


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    with ExitStack() as stack:
        place = stack.enter_context(lab())
        store = open_store(locate(str(tmp_path / "root"), str(tmp_path / "run")))
        stack.callback(store.close)
        yield Scene(place, store, stack)


def test_networks_stay_apart_when_the_rules_are_flushed(scene: Scene) -> None:
    scene.check()
    table = Firewall(scene.store.layout.engine).table
    run_nft(f"delete table ip {table}\n")
    scene.networks.mend()
    scene.check()
    assert not scene.networks.mend(), "nothing is missing now"


@pytest.mark.parametrize("lost", ["flush ruleset", "delete table ip {table}", "delete table ip6 {table}"])
def test_they_are_apart_again_within_five_seconds_though_nobody_runs_a_command(
    scene: Scene, lost: str
) -> None:
    """The resolver's process is told by the kernel that rules went."""
    firewall = Firewall(scene.store.layout.engine)
    with inside(scene.made["front"].netns_fd), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(30)
        client.sendto(QUERY, ("127.0.0.11", 53))
        assert client.recv(512)[:2] == QUERY[:2], "the process is there"
    run_nft(lost.format(table=firewall.table) + "\n")
    until = time.monotonic() + 5
    while not firewall.in_place(scene.networks.known()):
        assert time.monotonic() < until
        time.sleep(0.01)
    scene.check()


def test_a_name_is_told_to_nobody_of_another_network(scene: Scene) -> None:
    view = read_view(scene.store)
    question = parse_query(QUERY)
    assert question.kind == A
    assert lookup(view, "front", question._replace(kind=AAAA)) == [
        (AAAA, socket.inet_pton(socket.AF_INET6, scene.made["front"].address6))
    ]
    assert lookup(view, "front", question) == [(A, bytes(map(int, scene.made["front"].address.split("."))))]
    assert lookup(view, "back", question) is None
    assert "front" in view.servers and "vault" not in view.servers, "of that one nothing is asked elsewhere"
