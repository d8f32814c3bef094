"""Two networks, six containers, the machine and two hosts on its wires: who reaches whom, by address and by name, in
IPv4 and IPv6; before and after joining, leaving and the loss of the rules. On a machine of namespaces (see lab)."""

from __future__ import annotations

import os
import select
import socket
import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, NamedTuple

import pytest

from tests.integration.network.lab import (
    MACHINE,
    MACHINE6,
    OUTSIDE,
    OUTSIDE6,
    REFUSAL,
    Lab,
    family_of,
    inside,
    new_namespace,
    serve,
)
from tests.integration.network.nameserver import ask
from tiffin.containers.record import ContainerRecord
from tiffin.containers.store import Containers
from tiffin.kernel import netlink
from tiffin.network import Attachment, Networks, parse_publish
from tiffin.network import dnswire as wire
from tiffin.network.definitions import NetworkRequest, create
from tiffin.network.firewall import Firewall
from tiffin.network.records import Endpoint, Join
from tiffin.network.resolving import await_served
from tiffin.network.tool import run_nft

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tiffin.state import Store

pytestmark = pytest.mark.root

PATIENCE = 30.0
HOMES = {"f1": "front", "f2": "front", "f3": "front", "b1": "back", "b2": "back", "b3": "back"}
PUBLISHED = {"f1": 8001, "b1": 8002}
SECOND, SECOND6 = "198.51.100.1", "2001:db8:2::1"  # the other host; the machine has .2 there
UPLINK, UPLINK6 = "198.51.100.2", "2001:db8:2::2"


Target = tuple[str, str]  # a container, an address
Targets = dict[Target, tuple[str, int]]
Tried = tuple[str, Target]


class Container(NamedTuple):
    id: str
    attachment: Attachment
    server: socket.socket

    @property
    def addresses(self) -> list[str]:
        return [one for one in (self.attachment.address, self.attachment.address6) if one]


class Topology:
    """The six, each with a server on port 80 at all its addresses."""

    def __init__(self, place: Lab, second: int, store: Store, stack: ExitStack, families: str) -> None:
        self.store, self.networks = store, Networks(store)
        self.hosts = {"outside": place.outside, "second": second}
        self.place, self.families = place, families
        self.made = {
            name: create(
                store, self.networks, NetworkRequest(name, ipv4=families != "ipv6", ipv6=families != "ipv4")
            )
            for name in ("front", "back")
        }
        self.containers = {name: self._container(name, home, stack) for name, home in HOMES.items()}

    def _container(self, name: str, home: str, stack: ExitStack) -> Container:
        # Nobody answers at the machine's own port 53, which is said at once: names of others have no delay.
        record = ContainerRecord(
            id=os.urandom(32).hex(),
            name=name,
            image="i",
            image_name="i",
            created=1,
            argv=("x",),
            dns=("127.0.0.1",),
        )
        Containers(self.store).insert(record)
        ports = parse_publish(f"{PUBLISHED[name]}:80") if name in PUBLISHED else []
        made = self.networks.attach(record.id, home, ports, [Join(self.made[home].id, home, aliases=(home,))])
        await_served(self.store.layout, made.reserved[-1])
        stack.callback(made.close)
        stack.callback(self.networks.detach, record.id)
        server = stack.enter_context(serve(made.netns_fd, "0.0.0.0" if self.families == "ipv4" else "::", 80))
        server.listen(128)
        return Container(record.id, made, server)

    def check(self) -> None:
        """Everyone reaches those of his own networks, and nobody else; whoever is a host, what is published."""
        where = {name: self.networks.endpoints(one.id) for name, one in self.containers.items()}
        self._check_addresses(where)
        self._check_names(where)
        self._check_hosts()

    def _check_addresses(self, where: dict[str, list[Endpoint]]) -> None:
        targets = {
            (name, address): (address, 80) for name, its in where.items() for address in addresses(its)
        }
        sources = {name: one.attachment.netns_fd for name, one in self.containers.items()}
        expected = {
            (source, (name, address))
            for source in sources
            for name, address in targets
            if source == name or address in addresses(shared(where[name], where[source]))
        }
        with connections(sources, dict.fromkeys(sources, targets), expected) as made:
            assert made == expected
        for name, one in self.containers.items():
            seen = accepted(one.server)
            assert len(seen) == len([1 for _, target in expected if target[0] == name])
            assert set(seen) <= {address for its in where.values() for address in addresses(its)}, (
                "true addresses"
            )

    def _check_names(self, where: dict[str, list[Endpoint]]) -> None:
        for source in ("f1", "f2", "b1"):
            namespace = self.containers[source].attachment.netns_fd

            def told(name: str, namespace: int = namespace) -> set[str]:
                return {one for kind in (wire.A, wire.AAAA) for one in ask(namespace, name, kind).addresses}

            for name, its in where.items():
                assert told(name) == set(addresses(shared(its, where[source]))), (source, name)
            for home in ("front", "back"):
                its = [one for others in where.values() for one in others if home in one.aliases]
                assert told(home.upper()) == set(addresses(shared(its, where[source]))), (source, home)

    def _check_hosts(self) -> None:
        """From the machine and from hosts on its wires: the published ports, and nothing but those."""
        own = {"outside": (MACHINE, MACHINE6), "second": (UPLINK, UPLINK6), "machine": (MACHINE, MACHINE6)}
        kept = {"ipv4": slice(0, 1), "ipv6": slice(1, 2), "dual": slice(0, 2)}[self.families]
        sources = {**self.hosts, "machine": self.place.machine}
        within = {
            (name, address): (address, 80)
            for name, one in self.containers.items()
            for address in one.addresses
        }
        ports = {
            source: {
                (name, address): (address, port) for name, port in PUBLISHED.items() for address in its[kept]
            }
            for source, its in own.items()
        }
        expected = {(source, target) for source, its in ports.items() for target in its}
        expected |= {("machine", target) for target in within}
        with connections(
            sources, {source: {**its, **within} for source, its in ports.items()}, expected
        ) as made:
            assert made == expected
        for name, one in self.containers.items():
            seen = set(accepted(one.server))
            hosts = {*(OUTSIDE, OUTSIDE6)[kept], *(SECOND, SECOND6)[kept]} if name in PUBLISHED else set()
            assert seen & {OUTSIDE, OUTSIDE6, SECOND, SECOND6} == hosts, (
                "hosts are seen under their own addresses"
            )


def addresses(endpoints: Iterable[Endpoint]) -> list[str]:
    return [address for one in endpoints for address in (one.address, one.address6) if address]


def shared(endpoints: Iterable[Endpoint], others: Iterable[Endpoint]) -> list[Endpoint]:
    """Those on networks that the others are on too."""
    networks = {one.network for one in others}
    return [one for one in endpoints if one.network in networks]


@contextmanager
def connections(
    sources: dict[str, int], targets: dict[str, Targets], expected: set[Tried]
) -> Iterator[set[Tried]]:
    """Those that come about of each source's targets, all being tried at once: the expected ones have their time, and
    so has what must not come about."""
    with ExitStack() as stack:
        tried: dict[int, Tried] = {}
        poller = select.poll()
        for source, namespace in sources.items():
            for target, place in targets[source].items():
                with inside(namespace):
                    one = stack.enter_context(socket.socket(family_of(place[0]), socket.SOCK_STREAM))
                one.setblocking(False)
                one.connect_ex(place)
                tried[one.fileno()] = (source, target)
                poller.register(one.fileno(), select.POLLOUT)
        made: set[Tried] = set()
        end, last = time.monotonic() + PATIENCE, 0.0
        while time.monotonic() < (last or end):
            for fd, events in poller.poll(50):
                poller.unregister(fd)
                if not events & (select.POLLERR | select.POLLHUP):
                    made.add(tried[fd])
            if not last and expected <= made:
                last = time.monotonic() + REFUSAL
        yield made


def accepted(server: socket.socket) -> list[str]:
    """The addresses of those who have connected."""
    server.setblocking(False)
    seen: list[str] = []
    while True:
        try:
            connection, peer = server.accept()
        except BlockingIOError:
            return seen
        connection.close()
        seen.append(str(peer[0]).removeprefix("::ffff:"))


@pytest.fixture
def second(place: Lab) -> Iterator[int]:
    """Another host, on another wire of the machine, that routes everything through it."""
    with new_namespace() as host, netlink.Socket() as machine:
        machine.run(netlink.add_veth("up1", peer="eth0", peer_netns=host), netlink.set_link("up1", up=True))
        up1 = machine.link("up1")
        assert up1 is not None
        machine.run(
            netlink.add_address(up1.ifindex, UPLINK, 24), netlink.add_address(up1.ifindex, UPLINK6, 64)
        )
        with inside(host), netlink.Socket() as far:
            eth0 = far.link("eth0")
            assert eth0 is not None
            far.run(
                netlink.set_link("eth0", up=True),
                netlink.add_address(eth0.ifindex, SECOND, 24),
                netlink.add_address(eth0.ifindex, SECOND6, 64),
                netlink.add_route(UPLINK),
                netlink.add_route(UPLINK6),
            )
        with inside(place.outside), netlink.Socket() as far:
            far.run(netlink.add_route(MACHINE), netlink.add_route(MACHINE6))
        yield host


@pytest.mark.parametrize("families", ["ipv4", "ipv6", "dual"])
def test_each_reaches_exactly_those_it_should(place: Lab, second: int, store: Store, families: str) -> None:
    with ExitStack() as stack:
        topology = Topology(place, second, store, stack, families)
        networks, f1 = topology.networks, topology.containers["f1"]
        topology.check()
        networks.join(f1.id, f1.attachment.netns_fd, Join(topology.made["back"].id, "back"))
        topology.check()
        table = Firewall(store.layout.engine).table
        run_nft(f"table ip6 {table} {{ }}\ndelete table ip {table}\ndelete table ip6 {table}\n")
        networks.mend()
        topology.check()
        networks.leave(f1.id, f1.attachment.netns_fd, topology.made["back"].id)
        topology.check()
