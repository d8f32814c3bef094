"""T50: networks stay apart, also after somebody flushed the rules that keep them so; and a container that is on an
internal network only gets no name server but ours, which asks nobody."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from tests.integration.network.lab import OUTSIDE, lab, reaches, refused, serve
from tiffin.network import Networks
from tiffin.network.definitions import NetworkRequest, create
from tiffin.network.dnswire import A, encode_name, parse_query
from tiffin.network.firewall import Firewall, run_nft
from tiffin.network.records import Join
from tiffin.network.resolver import lookup, read_view
from tiffin.state import Store, locate, open_store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.integration.network.lab import Lab

pytestmark = pytest.mark.root


class Scene:
    """A container on each of two networks, and one on an internal network, each with a server."""

    def __init__(self, place: Lab, store: Store, stack: ExitStack) -> None:
        self.place, self.store = place, store
        self.networks = Networks(store)
        self.made, self.webs = {}, {}
        for name in ("front", "back", "vault"):
            network = create(store, self.networks, NetworkRequest(name, internal=name == "vault"))
            made = self.networks.attach(name, name, (), (Join(network.id, name),))
            stack.callback(made.close)
            stack.callback(self.networks.detach, name)
            self.made[name] = made
            self.webs[name] = stack.enter_context(serve(made.netns_fd, made.address, 80))

    def check(self) -> None:
        """Nobody reaches another network; all but the internal one reach the world."""
        for source, made in self.made.items():
            for target, other in self.made.items():
                if source != target:
                    assert refused(made.netns_fd, (other.address, 80)), (source, target)
        with serve(self.place.outside, OUTSIDE, 82) as outside:
            reaches(self.made["front"].netns_fd, (OUTSIDE, 82), outside)
            assert refused(self.made["vault"].netns_fd, (OUTSIDE, 82))
        assert refused(self.place.outside, (self.made["vault"].address, 80))


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


def test_a_name_is_told_to_nobody_of_another_network(scene: Scene) -> None:
    view = read_view(scene.store)
    question = parse_query(bytes([0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0]) + encode_name("front") + b"\0\1\0\1")
    assert question.kind == A
    assert lookup(view, "front", question) == [(A, bytes(map(int, scene.made["front"].address.split("."))))]
    assert lookup(view, "back", question) is None
    assert "front" in view.servers and "vault" not in view.servers, "of that one nothing is asked elsewhere"
