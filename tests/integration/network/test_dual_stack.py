"""Containers on networks with IPv6, beside IPv4 or alone, as packets see it."""

from __future__ import annotations

import socket
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from tests.integration.network.lab import (
    MACHINE,
    MACHINE6,
    OUTSIDE,
    OUTSIDE6,
    Lab,
    get_sysctl,
    inside,
    reaches,
    reaches_udp,
    refused,
    serve,
    set_sysctl,
)
from tiffin.errors import Conflict, InvalidArgument, Unsupported
from tiffin.kernel import netlink
from tiffin.network import Endpoint, Network, Networks, parse_publish
from tiffin.network.definitions import NetworkRequest, create, remove
from tiffin.network.firewall import Firewall
from tiffin.network.records import Join
from tiffin.network.tool import run_nft

if TYPE_CHECKING:
    from tiffin.network import Attachment
    from tiffin.state import Store

pytestmark = pytest.mark.root

BRIDGED = "bridge/bridge-nf-call-ip6tables"


class Stage:
    """The engine's networks, and what is attached to them until the test is over."""

    def __init__(self, networks: Networks, stack: ExitStack) -> None:
        self.networks, self.stack = networks, stack
        self.made: dict[str, Network] = {}

    def network(self, name: str, **wanted: object) -> Network:
        request = NetworkRequest(name, **{"ipv6": True, **wanted})  # type: ignore[arg-type]
        self.made[name] = create(self.networks.store, self.networks, request)
        return self.made[name]

    def join(self, network: str, **wanted: str) -> Join:
        return Join(self.made[network].id, network, **wanted)  # type: ignore[arg-type]

    def run(self, name: str, *joins: Join, publish: tuple[str, ...] = ()) -> Attachment:
        ports = [mapping for text in publish for mapping in parse_publish(text)]
        made = self.networks.attach(name, joins[0].name, ports, joins)
        self.stack.callback(made.close)
        self.stack.callback(self.networks.detach, name)
        return made

    def server(self, made: Attachment, port: int, kind: int = socket.SOCK_STREAM) -> socket.socket:
        return self.stack.enter_context(serve(made.netns_fd, "::", port, kind))


@pytest.fixture
def stage(networks: Networks, stack: ExitStack) -> Stage:
    return Stage(networks, stack)


def test_a_container_has_an_address_and_a_route_of_each_family(stage: Stage, place: Lab) -> None:
    network = stage.network("dual")
    made = stage.run("one", stage.join("dual"))
    assert network.subnet6.startswith("fd") and network.subnet6.endswith("::/64")
    assert made.gateway6 == network.gateway6 == network.subnet6.removesuffix("/64") + "1"
    assert made.address6 == network.subnet6.removesuffix("/64") + "2"
    with inside(made.netns_fd), netlink.Socket() as link:
        eth0 = link.link("eth0")
        assert eth0 is not None and eth0.mac == made.mac
        own = [(a.address, a.prefix) for a in link.addresses(socket.AF_INET6) if a.ifindex == eth0.ifindex]
        assert (made.address6, 64) in own
        assert all(address == made.address6 or address.startswith("fe80::") for address, _ in own)
        assert ("::", 0, eth0.ifindex) in [route[:3] for route in link.routes(socket.AF_INET6)]
        assert ("0.0.0.0", 0, eth0.ifindex) in [route[:3] for route in link.routes()]
        assert get_sysctl("ipv6/conf/eth0/accept_ra") == "0"
        assert get_sysctl("ipv6/conf/default/disable_ipv6") == "1", (
            "what else is plugged in has none of itself"
        )
    with netlink.Socket() as host:
        bridge = host.link(network.bridge)
        assert bridge is not None
        assert (bridge.ifindex, network.gateway6, 64) in host.addresses(socket.AF_INET6)
        ports = {link.ifindex for link in host.links() if link.master == bridge.ifindex}
        assert not [a for a in host.addresses(socket.AF_INET6) if a.ifindex in ports]
    assert get_sysctl(f"ipv6/conf/{network.bridge}/accept_ra") == "0"


def test_the_first_packet_arrives(stage: Stage, place: Lab) -> None:
    import time

    stage.network("dual")
    machine = stage.stack.enter_context(serve(place.machine, "::", 81))
    for number in range(5):
        made = stage.run(f"c{number}", stage.join("dual"))
        begun = time.monotonic()
        reaches(made.netns_fd, (made.gateway6, 81), machine)
        assert time.monotonic() - begun < 0.9, "a solicitation or SYN was lost and sent again after a second"


def test_containers_reach_each_other_the_machine_and_beyond(stage: Stage, place: Lab) -> None:
    stage.network("dual")
    one, two = stage.run("one", stage.join("dual")), stage.run("two", stage.join("dual"))
    assert reaches(one.netns_fd, (two.address6, 80), stage.server(two, 80)) == one.address6
    machine = stage.stack.enter_context(serve(place.machine, "::", 81))
    assert reaches(one.netns_fd, (MACHINE6, 81), machine) == one.address6
    outside = stage.stack.enter_context(serve(place.outside, "::", 82))
    assert reaches(one.netns_fd, (OUTSIDE6, 82), outside) == MACHINE6, "it leaves under the machine's address"
    assert reaches(place.machine, (one.address6, 80), stage.server(one, 80)) == one.gateway6


def test_networks_stay_apart_and_a_neighbour_outside(stage: Stage, place: Lab) -> None:
    stage.network("front")
    stage.network("back")
    stage.network("vault", internal=True)
    made = {name: stage.run(name, stage.join(name)) for name in ("front", "back", "vault")}
    webs = {name: stage.server(one, 80) for name, one in made.items()}
    friend = stage.run("friend", stage.join("vault"))
    outside = stage.stack.enter_context(serve(place.outside, "::", 82))

    def check() -> None:
        for source, one in made.items():
            for target, other in made.items():
                if source != target:
                    assert refused(one.netns_fd, (other.address6, 80)), (source, target)
        reaches(made["front"].netns_fd, (OUTSIDE6, 82), outside)
        assert refused(made["vault"].netns_fd, (OUTSIDE6, 82))
        reaches(friend.netns_fd, (made["vault"].address6, 80), webs["vault"])
        for one in made.values():
            assert refused(place.outside, (one.address6, 80))

    with inside(place.outside), netlink.Socket() as far:
        for network in stage.made.values():
            far.run(netlink.add_route(MACHINE6, network.subnet6.removesuffix("/64"), 64))
    check()
    assert made["vault"].gateway6 == ""
    table = Firewall(stage.networks.store.layout.engine).table
    run_nft("flush ruleset\n")  # of the lab's own namespace
    stage.networks.mend()  # or the resolver's process, which is told by the kernel
    check()
    run_nft(f"delete table ip6 {table}\n")  # that of one family alone is missed too
    stage.networks.mend()
    check()
    assert not stage.networks.mend(), "nothing is missing now"


@pytest.mark.parametrize("bridged", ["0", "1"])
def test_a_published_port_is_reached_from_everywhere(stage: Stage, place: Lab, bridged: str) -> None:
    _show_bridged_packets(bridged)
    stage.network("dual")
    one, two = (
        stage.run("one", stage.join("dual"), publish=("8080:80",)),
        stage.run("two", stage.join("dual")),
    )
    assert [(port.host_ip, port.host_port) for port in one.ports] == [("0.0.0.0", 8080), ("::", 8080)]
    web = stage.server(one, 80)
    assert reaches(place.outside, (MACHINE6, 8080), web) == OUTSIDE6, "the client's own address is seen"
    assert reaches(place.outside, (MACHINE, 8080), web) == f"::ffff:{OUTSIDE}"
    reaches(place.machine, (MACHINE6, 8080), web)
    reaches(place.machine, (one.gateway6, 8080), web)
    reaches(place.machine, ("127.0.0.1", 8080), web)
    reaches(two.netns_fd, (MACHINE6, 8080), web)
    reaches(two.netns_fd, (one.gateway6, 8080), web)
    reaches(one.netns_fd, (MACHINE6, 8080), web)
    reaches(one.netns_fd, (one.gateway6, 8080), web)
    if bridged == "0":
        assert reaches(place.machine, ("::1", 8080), web) == one.gateway6
    else:
        with inside(place.machine), socket.socket(socket.AF_INET6) as client:
            client.settimeout(5)
            with pytest.raises(ConnectionRefusedError):  # at once, so that a client goes on to 127.0.0.1
                client.connect(("::1", 8080))


def test_udp_is_published_too(stage: Stage, place: Lab) -> None:
    stage.network("dual")
    one = stage.run("one", stage.join("dual"), publish=("53:5353/udp",))
    dns = stage.server(one, 5353, socket.SOCK_DGRAM)
    assert reaches_udp(place.outside, (MACHINE6, 53), dns) == OUTSIDE6
    reaches_udp(one.netns_fd, (one.gateway6, 53), dns)


def test_a_udp_client_follows_the_port_to_its_next_container(stage: Stage, place: Lab) -> None:
    stage.network("dual")
    with inside(place.outside):
        client = stage.stack.enter_context(socket.socket(socket.AF_INET6, socket.SOCK_DGRAM))
    client.settimeout(5)
    client.connect((MACHINE6, 53))
    for name in ("one", "two"):
        made = stage.networks.attach(name, "dual", parse_publish("53:5353/udp"), (stage.join("dual"),))
        with stage.server(made, 5353, socket.SOCK_DGRAM) as dns:
            client.send(name.encode())
            assert dns.recv(64) == name.encode()
        stage.networks.detach(name)
        made.close()


def test_a_port_published_on_the_loopback_stays_on_the_machine(stage: Stage, place: Lab) -> None:
    _show_bridged_packets("0")
    stage.network("dual")
    one = stage.run("one", stage.join("dual"), publish=("[::1]:8080:80",))
    web = stage.server(one, 80)
    assert reaches(place.machine, ("::1", 8080), web) == one.gateway6
    assert refused(place.outside, (MACHINE6, 8080))
    assert refused(place.machine, (MACHINE6, 8080))


def test_where_the_loopback_cannot_be_reached_it_is_said(stage: Stage, place: Lab) -> None:
    _show_bridged_packets("1")
    stage.network("dual")
    with pytest.raises(Unsupported, match=r"cannot publish on \[::1\] while net\.bridge"):
        stage.run("one", stage.join("dual"), publish=("[::1]:8080:80",))
    assert stage.networks.endpoint("one") is None


def test_one_port_of_the_machines_addresses(stage: Stage, place: Lab) -> None:
    stage.network("dual")
    one = stage.run("one", stage.join("dual"), publish=(f"[{MACHINE6}]:8080:80", "[::]:9090:80"))
    web = stage.server(one, 80)
    assert reaches(place.outside, (MACHINE6, 8080), web) == OUTSIDE6
    assert reaches(place.outside, (MACHINE6, 9090), web) == OUTSIDE6
    for port in (8080, 9090):
        assert refused(place.outside, (MACHINE, port)), "not in IPv4"
    two = stage.run("two", stage.join("dual"), publish=("0.0.0.0:9090:80",))
    assert reaches(place.outside, (MACHINE, 9090), stage.server(two, 80)) == f"::ffff:{OUTSIDE}"


def test_a_port_that_is_taken_in_one_family_is_a_conflict(stage: Stage, place: Lab) -> None:
    stage.network("dual")
    stage.run("one", stage.join("dual"), publish=("[::]:8080:80",))
    with pytest.raises(Conflict, match=r"^Bind for \[::\]:8080 failed: port is already allocated$"):
        stage.run("two", stage.join("dual"), publish=("8080:80",))
    two = stage.run("two", stage.join("dual"), publish=("8080-8082:80", "81"))
    first, first6, second, second6 = two.ports
    assert (first.host_port, first6.host_port) == (8081, 8081), "one number for both"
    assert second.host_port == second6.host_port >= 1024
    with pytest.raises(InvalidArgument, match=r"Bind for \[2001:db8::9\]:80 failed: this machine does not"):
        stage.run("three", stage.join("dual"), publish=("[2001:db8::9]:80:80",))


def test_an_address_of_a_family_that_the_container_lacks_is_refused(stage: Stage, place: Lab) -> None:
    stage.network("four", ipv6=False)
    stage.network("six", ipv4=False)
    with pytest.raises(
        Unsupported, match=r"cannot publish on \[::\]: the container has no IPv6 on four; use a"
    ):
        stage.run("one", stage.join("four"), publish=("[::]:8080:80",))
    with pytest.raises(
        Unsupported, match=r"cannot publish on 127\.0\.0\.1: the container has no IPv4 on six"
    ):
        stage.run("one", stage.join("six"), publish=("127.0.0.1:8080:80",))
    one = stage.run("one", stage.join("four"), publish=("8080:80",))
    assert [port.host_ip for port in one.ports] == ["0.0.0.0"]
    reaches(place.outside, (MACHINE, 8080), stage.server(one, 80))


def test_a_network_of_ipv6_alone(stage: Stage, place: Lab) -> None:
    network = stage.network("six", ipv4=False)
    assert network.subnet == network.gateway == ""
    one = stage.run("one", stage.join("six"), publish=("8080:80",))
    two = stage.run("two", stage.join("six"))
    assert one.address == "" and one.mac != two.mac
    web = stage.server(one, 80)
    reaches(two.netns_fd, (one.address6, 80), web)
    assert reaches(place.outside, (MACHINE6, 8080), web) == OUTSIDE6
    with inside(one.netns_fd), netlink.Socket() as link:
        assert not [a for a in link.addresses() if not a.address.startswith("127.")]
    assert get_sysctl("ipv4/ip_forward") == "0", "what nobody needs is not touched"
    networks = stage.networks.known()
    assert [one.name for one in networks] == ["six"]


def test_each_family_takes_the_first_network_that_has_it(stage: Stage, place: Lab) -> None:
    stage.network("four", ipv6=False)
    stage.network("six", ipv4=False)
    one = stage.run("one", stage.join("four"), stage.join("six"), publish=("8080:80",))
    web = stage.server(one, 80)
    assert reaches(place.outside, (MACHINE6, 8080), web) == OUTSIDE6
    assert reaches(place.outside, (MACHINE, 8080), web) == f"::ffff:{OUTSIDE}"
    outside = stage.stack.enter_context(serve(place.outside, "::", 82))
    for target in (OUTSIDE, OUTSIDE6):
        reaches(one.netns_fd, (target, 82), outside)
    ports = {endpoint.interface: [port.host_ip for port in endpoint.ports] for endpoint in _endpoints(stage)}
    assert ports == {"eth0": ["0.0.0.0"], "eth1": ["::"]}


def test_routes_and_ports_follow_a_running_container(stage: Stage, place: Lab) -> None:
    for name in ("a", "b"):
        stage.network(name)
    one = stage.run("one", stage.join("a"), publish=("8080:80",))
    web = stage.server(one, 80)
    outside = stage.stack.enter_context(serve(place.outside, "::", 82))
    stage.networks.join("one", one.netns_fd, stage.join("b"))
    reaches(one.netns_fd, (OUTSIDE6, 82), outside)
    stage.networks.leave("one", one.netns_fd, stage.made["a"].id)
    for target in (MACHINE, MACHINE6):
        reaches(place.outside, (target, 8080), web)
    reaches(one.netns_fd, (OUTSIDE6, 82), outside)
    (endpoint,) = _endpoints(stage)
    assert endpoint.network == stage.made["b"].id and len(endpoint.ports) == 2
    stage.networks.leave("one", one.netns_fd, stage.made["b"].id)
    for target in (MACHINE, MACHINE6):
        assert refused(place.outside, (target, 8080)), "it waits for the next network"
    stage.networks.join("one", one.netns_fd, stage.join("a"))
    for target in (MACHINE, MACHINE6):
        reaches(place.outside, (target, 8080), web)


@pytest.mark.parametrize("network", ["four", "dual"])
def test_a_container_leaves_and_goes_though_somebody_flushed_the_rules(
    stage: Stage, place: Lab, network: str
) -> None:
    stage.network("four", ipv6=False)
    stage.network("dual")
    one = stage.run("one", stage.join(network), publish=("8080:80",))
    run_nft("flush ruleset\n")
    stage.networks.leave("one", one.netns_fd, stage.made[network].id)
    assert _endpoints(stage) == []
    stage.networks.join("one", one.netns_fd, stage.join(network))
    reaches(place.outside, (MACHINE, 8080), stage.server(one, 80))
    run_nft("flush ruleset\n")
    stage.networks.detach("one")
    assert _endpoints(stage) == []


def test_addresses_are_given_in_turn_and_on_request(stage: Stage) -> None:
    stage.network(
        "fixed",
        subnets=("10.77.9.0/24", "FD00:77:0::/64"),
        gateways=("fd00:77::9",),
        ip_ranges=("fd00:77::a0/126",),
        auxiliary=("printer=fd00:77::00a1", "other=10.77.9.2"),
    )
    network = stage.made["fixed"]
    assert (network.gateway, network.gateway6) == ("10.77.9.1", "fd00:77::9")
    got = [stage.run(f"c{n}", stage.join("fixed")) for n in range(3)]
    assert [one.address6 for one in got] == ["fd00:77::a0", "fd00:77::a2", "fd00:77::a3"]
    assert [one.address for one in got] == ["10.77.9.3", "10.77.9.4", "10.77.9.5"]
    with pytest.raises(
        Conflict, match=r"^no available IPv6 addresses on this network's address pools: fixed"
    ):
        stage.run("c3", stage.join("fixed"))
    stage.networks.detach("c1")
    assert stage.run("c4", stage.join("fixed")).address6 == "fd00:77::a2", "the one that is free again"
    chosen = stage.run("c5", stage.join("fixed", address6="fd00:77::5"))
    assert chosen.address6 == "fd00:77::5"
    for taken in ("fd00:77::5", "fd00:77::9", "fd00:77::a1", "fd00:77::"):
        with pytest.raises(Conflict, match=f"^Address already in use: {taken} in network fixed$"):
            stage.run("c6", stage.join("fixed", address6=taken))


def test_addresses_rest_before_they_are_used_again(stage: Stage) -> None:
    stage.network("dual")
    assert stage.run("one", stage.join("dual")).address6.endswith("::2")
    stage.networks.detach("one")
    assert stage.run("two", stage.join("dual")).address6.endswith("::3")


def test_networks_do_not_overlap(stage: Stage, place: Lab) -> None:
    first = stage.network("first")
    second = stage.network("second")
    assert first.subnet6 != second.subnet6 and first.subnet6[:14] == second.subnet6[:14]
    overlaps = r"^invalid pool request: Pool overlaps with other one on this address space: "
    with pytest.raises(InvalidArgument, match=f"{overlaps}.* of network first"):
        stage.network("third", subnets=(first.subnet6,))
    with pytest.raises(InvalidArgument, match=f"{overlaps}2001:db8::/48 with {MACHINE6}/64 of this machine"):
        stage.network("third", subnets=("2001:db8::/48",))
    remove(stage.networks.store, stage.networks, second)
    assert stage.network("third").subnet6 == second.subnet6


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"ipv4": False, "ipv6": False}, "IPv4 or IPv6 must be enabled"),
        ({"ipv6": False, "subnets": ("fd00:77::/64",)}, "no IPv6 for subnet fd00:77::/64; give --ipv6 too"),
        ({"ipv4": False, "subnets": ("10.77.9.0/24",)}, "no IPv4 for subnet 10.77.9.0/24; leave out"),
        ({"subnets": ("10.77.9.0/24", "10.78.9.0/24")}, "bridge driver doesn't support multiple subnets"),
        ({"gateways": ("fd00:77::1",)}, "no matching subnet for gateway fd00:77::1"),
        (
            {"subnets": ("fd00:77::/64",), "ip_ranges": ("fd00:78::/96",)},
            "no matching subnet for range fd00:78",
        ),
        (
            {"subnets": ("fd00:77::/64",), "ip_ranges": ("fd00::/16",)},
            "no matching subnet for range fd00::/16",
        ),
        ({"subnets": ("fd00:77::/64",), "auxiliary": ("a=10.77.9.1",)}, "no matching subnet for auxiliary"),
        ({"subnets": ("fd00:77::/64",), "gateways": ("fd00:77::",)}, "is the first or last address"),
        (
            {"subnets": ("fd00:77::/64",), "gateways": ("fd00:77::1", "fd00:77::2")},
            "--gateway is given twice",
        ),
        ({"options": ("com.docker.network.driver.mtu=1279",)}, "IPv6 needs 1280 or more"),
        ({"subnets": ("fd00:77::/127",)}, "invalid subnet"),
    ],
)
def test_contradictions_are_refused(stage: Stage, wanted: dict[str, object], message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        stage.network("wrong", **wanted)
    assert stage.networks.known() == []


def test_turning_on_forwarding_is_said_and_a_router_is_listened_to_as_before(
    stage: Stage, place: Lab
) -> None:
    set_sysctl("ipv6/conf/up0/accept_ra", "1")
    with netlink.Socket() as host:
        host.run(netlink.delete_default_route(socket.AF_INET6))
        route = netlink.add_route(OUTSIDE6)
        body = bytearray(route.body)
        body[5] = netlink.RTPROT_RA
        host.run(route._replace(body=bytes(body)))
    stage.network("dual")
    (_, notice) = stage.run("one", stage.join("dual")).notices
    assert notice.startswith("net.ipv6.conf.all.forwarding was 0 and is now 1")
    assert "net.ipv6.conf.up0.accept_ra is now 2" in notice
    assert get_sysctl("ipv6/conf/up0/accept_ra") == "2"
    with netlink.Socket() as host:
        assert [route for route in host.routes(socket.AF_INET6) if not route.prefix], "the route is kept"
    assert stage.run("two", stage.join("dual")).notices == ()


def test_joining_a_network_tells_of_forwarding_too(stage: Stage, place: Lab) -> None:
    stage.network("four", ipv6=False)
    stage.network("dual")
    one = stage.run("one", stage.join("four"))
    (notice,) = stage.networks.join("one", one.netns_fd, stage.join("dual"))
    assert notice.startswith("net.ipv6.conf.all.forwarding was 0 and is now 1")


def test_an_internal_network_forwards_nothing(stage: Stage, place: Lab) -> None:
    stage.network("vault", internal=True)
    assert stage.run("one", stage.join("vault")).notices == ()
    assert get_sysctl("ipv4/ip_forward") == get_sysctl("ipv6/conf/all/forwarding") == "0"


def test_the_table_of_ipv6_goes_with_its_last_network(stage: Stage, store: Store) -> None:
    network = stage.network("dual")
    table = Firewall(store.layout.engine).table
    made = stage.networks.attach("one", "dual", parse_publish("8080:80"), (stage.join("dual"),))
    assert netlink.nft_chain_exists(table, "publish", socket.AF_INET6)
    stage.networks.detach("one")
    made.close()
    remove(store, stage.networks, network)
    assert not netlink.nft_chain_exists(table, "publish", socket.AF_INET6)
    stage.networks.teardown()
    assert not netlink.nft_chain_exists(table, "publish")


def _endpoints(stage: Stage) -> list[Endpoint]:
    return stage.networks.endpoints("one")


def _show_bridged_packets(value: str) -> None:
    """Whether the kernel shows them to the firewall, which is for each namespace to say, where it can."""
    try:
        set_sysctl(BRIDGED, value)
    except FileNotFoundError:
        if value == "1":
            pytest.skip("this kernel does not have br_netfilter")
