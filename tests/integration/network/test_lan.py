"""macvlan: containers on the wire of a machine of namespaces (see lab), whose wire leads to one neighbour."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.network.lab import OUTSIDE, Lab, inside, reaches, refused, serve
from tiffin.errors import Conflict, InvalidArgument, NotFound, TiffinError, Unsupported
from tiffin.kernel import netlink, stacked
from tiffin.network import Attachment, Network, Networks, PortMapping
from tiffin.network.definitions import NetworkRequest, create, remove
from tiffin.network.records import Join

if TYPE_CHECKING:
    from tiffin.state import Store

pytestmark = pytest.mark.root

WIRE = ("192.0.2.0/24",)


@pytest.fixture(autouse=True)
def _kernel() -> None:
    if not stacked.is_known("macvlan"):
        pytest.skip("this kernel has no macvlan")


class Wire:
    """Networks on up0, the machine's interface to the neighbour, and containers on them."""

    def __init__(self, place: Lab, store: Store, networks: Networks, stack: ExitStack) -> None:
        self.place, self.store, self.networks, self.stack = place, store, networks, stack

    def network(self, name: str = "lan", *options: str, **more: Any) -> Network:
        more = {"subnets": WIRE, "gateways": (OUTSIDE,), "ip_ranges": ("192.0.2.64/26",)} | more
        options = options or ("parent=up0",)
        return create(self.store, self.networks, NetworkRequest(name, "macvlan", options=options, **more))

    def attach(
        self, name: str, *networks: Network, ports: tuple[PortMapping, ...] = (), **asked: Any
    ) -> Attachment:
        joins = [Join(one.id, one.name, **(asked if not n else {})) for n, one in enumerate(networks)]
        made = self.networks.attach(name, networks[0].name, ports, joins)
        self.stack.callback(made.close)
        self.stack.callback(self.networks.detach, name)
        return made

    def serve(self, made: Attachment, port: int = 80) -> Any:
        return self.stack.enter_context(serve(made.netns_fd, "0.0.0.0", port))


@pytest.fixture
def wire(place: Lab, store: Store, networks: Networks, stack: ExitStack) -> Wire:
    return Wire(place, store, networks, stack)


def links() -> set[str]:
    with netlink.Socket() as host:
        return {link.name for link in host.links()}


def test_containers_are_neighbours_on_the_wire(wire: Wire) -> None:
    before = links()
    lan = wire.network()
    one = wire.attach("one", lan)
    two = wire.attach("two", lan, address="192.0.2.9", mac="02:42:c0:00:02:99")
    assert (one.address, two.address, two.mac) == ("192.0.2.64", "192.0.2.9", "02:42:c0:00:02:99")
    web, far = wire.serve(two), wire.stack.enter_context(serve(wire.place.outside, OUTSIDE, 81))
    assert reaches(one.netns_fd, (two.address, 80), web) == one.address
    assert reaches(wire.place.outside, (two.address, 80), web) == OUTSIDE, (
        "reached from the wire, unpublished"
    )
    assert reaches(one.netns_fd, (OUTSIDE, 81), far) == one.address, "its own address is seen"
    assert refused(wire.place.machine, (two.address, 80)), (
        "the machine is not on the wire as its containers see it"
    )
    with inside(two.netns_fd), netlink.Socket() as its:
        eth0 = its.link("eth0")
        assert eth0 is not None and eth0.mac == "02:42:c0:00:02:99"
        assert any(not route.prefix for route in its.routes())
    for name in ("one", "two"):
        wire.networks.detach(name)
    remove(wire.store, wire.networks, lan)
    assert links() == before, "the parent is the user's own"


@pytest.mark.parametrize("mode", ["private", "vepa"])
def test_modes_that_keep_containers_apart(wire: Wire, mode: str) -> None:
    """In vepa mode they meet at a switch that sends frames back, which this neighbour does not."""
    lan = wire.network("lan", "parent=up0", f"macvlan_mode={mode}")
    one, two = wire.attach("one", lan), wire.attach("two", lan)
    web = wire.serve(two)
    assert reaches(wire.place.outside, (two.address, 80), web) == OUTSIDE
    assert refused(one.netns_fd, (two.address, 80))


def test_passthru_has_room_for_one(wire: Wire) -> None:
    lan = wire.network("lan", "parent=up0", "macvlan_mode=passthru")
    one = wire.attach("one", lan)
    assert reaches(wire.place.outside, (one.address, 80), wire.serve(one)) == OUTSIDE
    with pytest.raises(Conflict, match="room for one container"):
        wire.attach("two", lan)
    with pytest.raises(
        Conflict, match="network lan is already using parent interface up0; passthru wants it alone"
    ):
        wire.network("more", subnets=(), gateways=(), ip_ranges=())


def test_a_second_network_shares_the_parent_and_an_internal_one_has_no_way_out(wire: Wire) -> None:
    lan = wire.network()
    own = wire.network("own", subnets=("10.77.8.0/24",), gateways=(), ip_ranges=(), internal=True)
    made = wire.attach("one", own)
    assert made.gateway == ""
    with inside(made.netns_fd), netlink.Socket() as its:
        assert not [route for route in its.routes() if not route.prefix]
    both = wire.attach("two", lan, own)
    assert reaches(made.netns_fd, ("10.77.8.3", 80), wire.serve(both)) == made.address


def test_a_container_of_the_wire_and_of_a_bridge_publishes_through_the_bridge(wire: Wire) -> None:
    lan, front = wire.network(), create(wire.store, wire.networks, NetworkRequest("front"))
    ports = (PortMapping("", 8080, 80),)
    made = wire.attach("one", lan, front, ports=ports)
    web = wire.serve(made)
    assert [port.host_ip for port in made.ports] == ["0.0.0.0"]
    # Not at the machine's address on the wire: the container takes that for a neighbour, and answers past the bridge.
    assert reaches(wire.place.machine, ("127.0.0.1", 8080), web)
    alone = wire.attach("two", lan, ports=ports)
    assert alone.ports == () and any("whose driver is macvlan" in line for line in alone.notices)
    with inside(wire.place.machine), open("/proc/sys/net/ipv4/conf/up0/route_localnet") as file:
        assert file.read().strip() == "0", "of the parent nothing is changed"


def test_a_running_container_joins_the_wire_and_leaves_it(wire: Wire) -> None:
    front, lan = create(wire.store, wire.networks, NetworkRequest("front")), wire.network()
    made = wire.attach("one", front)
    web = wire.serve(made)
    wire.networks.join("one", made.netns_fd, Join(lan.id, "lan"))
    endpoint = wire.networks.endpoints("one")[-1]
    assert reaches(wire.place.outside, (endpoint.address, 80), web) == OUTSIDE
    wire.networks.leave("one", made.netns_fd, lan.id)
    with inside(made.netns_fd), netlink.Socket() as its:
        assert {link.name for link in its.links()} == {"lo", "eth0"}
    assert refused(wire.place.outside, (endpoint.address, 80))


def test_the_wire_has_ipv6(wire: Wire) -> None:
    lan = wire.network(subnets=(*WIRE, "fd00:77::/64"), gateways=(OUTSIDE, "fd00:77::1"), ipv6=True)
    one, two = wire.attach("one", lan), wire.attach("two", lan)
    with inside(two.netns_fd), netlink.Socket() as its:
        assert two.address6 in {one.address for one in its.addresses(10)}
    assert one.address6 != two.address6


def test_a_parent_that_has_gone_is_named_and_other_commands_go_on(wire: Wire) -> None:
    lan = wire.network()
    wire.attach("one", lan)
    with netlink.Socket() as host:
        host.run(netlink.delete_link("up0"))
    wire.networks.mend()
    with pytest.raises(NotFound, match="interface up0, the parent of network lan, is not there"):
        wire.attach("two", lan)


@pytest.mark.parametrize(
    ("options", "refusal", "what"),
    [
        (("parent=nope0",), NotFound, "-o parent interface was not found on the host: nope0"),
        (("parent=nope0.7",), NotFound, "-o parent interface was not found on the host: nope0"),
        (("parent=up0.4095",), InvalidArgument, "a VLAN is written INTERFACE.NUMBER, from 1 to 4094"),
        (("parent=lo",), InvalidArgument, "loopback interface is not a valid macvlan parent link"),
        (("parent=up0", "macvlan_mode=fast"), InvalidArgument, "requested macvlan mode 'fast' is not valid"),
        (("parents=up0",), InvalidArgument, "unknown option parents of the driver macvlan"),
    ],
)
def test_slips_are_refused(
    wire: Wire, options: tuple[str, ...], refusal: type[TiffinError], what: str
) -> None:
    with pytest.raises(refusal, match=what):
        wire.network("lan", *options)
    assert [one.name for one in wire.networks.known()] in ([], ["bridge"])


@pytest.mark.parametrize(("parent", "missing"), [("up0.50", "VLAN for up0.50"), ("", "dummy interface")])
def test_an_interface_of_its_own_comes_with_the_first_container_and_goes_with_the_network(
    wire: Wire, parent: str, missing: str
) -> None:
    before = links()
    options = (f"parent={parent}",) if parent else ("macvlan_mode=bridge",)
    lan = wire.network("lan", *options)
    if stacked.is_known("vlan" if parent else "dummy"):
        one, two = wire.attach("one", lan), wire.attach("two", lan)
        assert reaches(one.netns_fd, (two.address, 80), wire.serve(two)) == one.address
        assert links() - before == {lan.bridge}
    else:
        with pytest.raises(Unsupported, match=f"this kernel has no {missing}"):
            wire.attach("one", lan)
    for name in ("one", "two"):
        wire.networks.detach(name)
    remove(wire.store, wire.networks, lan)
    assert links() == before


def test_ipvlan_is_refused_in_one_line_where_the_kernel_lacks_it(wire: Wire) -> None:
    request = NetworkRequest("lan", "ipvlan", subnets=WIRE, options=("parent=up0", "ipvlan_mode=l3"))
    if stacked.is_known("ipvlan"):
        lan = create(wire.store, wire.networks, request)
        one, two = wire.attach("one", lan), wire.attach("two", lan)
        assert reaches(one.netns_fd, (two.address, 80), wire.serve(two)) == one.address
        return
    with pytest.raises(
        Unsupported, match=r"^this kernel has no ipvlan interfaces \(module ipvlan, CONFIG_IPVLAN\)$"
    ):
        create(wire.store, wire.networks, request)
