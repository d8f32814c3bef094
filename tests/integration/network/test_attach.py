"""Containers on the default bridge, as packets see it."""

from __future__ import annotations

import os
import socket
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from tests.integration.network.lab import MACHINE, OUTSIDE, Lab, inside, reaches, reaches_udp, refused, serve
from tiffin.errors import Conflict, InvalidArgument, NotFound
from tiffin.kernel import netlink
from tiffin.network import Networks, PortMapping, parse_publish
from tiffin.network.firewall import Firewall
from tiffin.network.tool import run_nft
from tiffin.state import Store, locate, open_store

if TYPE_CHECKING:
    from contextlib import ExitStack
    from pathlib import Path

    from tiffin.network import Attachment, Network

pytestmark = pytest.mark.root


def attach(networks: Networks, stack: ExitStack, name: str, *publish: str) -> Attachment:
    ports = [mapping for text in publish for mapping in parse_publish(text)]
    attachment = networks.attach(name, "bridge", ports)
    stack.callback(attachment.close)
    return attachment


def settled(networks: Networks) -> Network:
    """The default network, once it has had a container."""
    networks.attach("first").close()
    networks.detach("first")
    (network,) = networks.known()
    return network


def server(
    stack: ExitStack, attachment: Attachment, port: int, kind: int = socket.SOCK_STREAM
) -> socket.socket:
    return stack.enter_context(serve(attachment.netns_fd, "0.0.0.0", port, kind))


def test_a_container_has_an_address_a_route_and_no_ipv6(networks: Networks, stack: ExitStack) -> None:
    made = attach(networks, stack, "one")
    with inside(made.netns_fd), netlink.Socket() as link:
        lo, eth0 = link.link("lo"), link.link("eth0")
        assert lo is not None and lo.up
        assert eth0 is not None and eth0.up and eth0.mac == made.mac
        assert [(a.address, a.prefix) for a in link.addresses() if a.ifindex == eth0.ifindex] == [
            (made.address, 16)
        ]
        assert ("0.0.0.0", 0, eth0.ifindex) in [route[:3] for route in link.routes()]
        with open("/proc/net/if_inet6") as file:
            assert [line.split()[-1] for line in file] in ([], ["lo"])


def test_the_first_packet_arrives(networks: Networks, place: Lab, stack: ExitStack) -> None:
    machine = stack.enter_context(serve(place.machine, "0.0.0.0", 81))
    for number in range(20):
        made = networks.attach(f"c{number}")
        begun = time.monotonic()
        reaches(made.netns_fd, (made.gateway, 81), machine)
        assert time.monotonic() - begun < 0.9, "ARP or SYN was lost and sent again after a second"
        networks.detach(f"c{number}")
        made.close()


def test_containers_reach_each_other_the_machine_and_beyond(
    networks: Networks, place: Lab, stack: ExitStack
) -> None:
    one, two = attach(networks, stack, "one"), attach(networks, stack, "two")
    assert reaches(one.netns_fd, (two.address, 80), server(stack, two, 80)) == one.address
    machine = stack.enter_context(serve(place.machine, "0.0.0.0", 81))
    assert reaches(one.netns_fd, (MACHINE, 81), machine) == one.address
    assert reaches(one.netns_fd, (one.gateway, 81), machine) == one.address
    outside = stack.enter_context(serve(place.outside, "0.0.0.0", 82))
    assert reaches(one.netns_fd, (OUTSIDE, 82), outside) == MACHINE


def test_the_machine_reaches_a_container_by_its_address(
    networks: Networks, place: Lab, stack: ExitStack
) -> None:
    one = attach(networks, stack, "one")
    assert reaches(place.machine, (one.address, 80), server(stack, one, 80)) == one.gateway


def test_a_published_port_is_reached_from_everywhere(
    networks: Networks, place: Lab, stack: ExitStack
) -> None:
    one, two = attach(networks, stack, "one", "8080:80"), attach(networks, stack, "two")
    web = server(stack, one, 80)
    assert reaches(place.machine, ("127.0.0.1", 8080), web) == one.gateway
    assert reaches(place.machine, ("127.9.9.9", 8080), web) == one.gateway
    assert reaches(place.machine, (MACHINE, 8080), web) in (MACHINE, one.gateway)
    assert reaches(place.outside, (MACHINE, 8080), web) == OUTSIDE
    reaches(two.netns_fd, (MACHINE, 8080), web)
    reaches(two.netns_fd, (one.gateway, 8080), web)
    reaches(one.netns_fd, (MACHINE, 8080), web)


def test_udp_is_published_too(networks: Networks, place: Lab, stack: ExitStack) -> None:
    one, two = attach(networks, stack, "one", "53:5353/udp"), attach(networks, stack, "two")
    dns = server(stack, one, 5353, socket.SOCK_DGRAM)
    for source, address in (
        (place.machine, "127.0.0.1"),
        (place.machine, MACHINE),
        (place.outside, MACHINE),
        (two.netns_fd, one.gateway),
        (one.netns_fd, one.gateway),
    ):
        reaches_udp(source, (address, 53), dns)


def test_a_udp_client_follows_the_port_to_its_next_container(
    networks: Networks, place: Lab, stack: ExitStack
) -> None:
    settled(networks)
    with inside(place.outside):
        client = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    client.connect((MACHINE, 53))
    client.send(b"before anybody listens")
    for name in ("one", "two"):
        made = attach(networks, stack, name, "53:5353/udp")
        dns = server(stack, made, 5353, socket.SOCK_DGRAM)
        with suppress(ConnectionRefusedError):  # what the machine answered to the datagram before
            client.send(name.encode())
        client.send(name.encode())
        assert dns.recv(64) == name.encode()
        networks.detach(name)
        for fd in made.reserved:  # as when its supervisor ends
            os.dup2(place.machine, fd, inheritable=False)


def test_a_port_published_on_the_loopback_stays_on_the_machine(
    networks: Networks, place: Lab, stack: ExitStack
) -> None:
    one = attach(networks, stack, "one", "127.0.0.1:8080:80")
    assert reaches(place.machine, ("127.0.0.1", 8080), server(stack, one, 80)) == one.gateway
    assert refused(place.outside, (MACHINE, 8080))
    assert refused(place.machine, (MACHINE, 8080))


def test_one_host_port_on_two_addresses_leads_to_two_containers(
    networks: Networks, place: Lab, stack: ExitStack
) -> None:
    one = attach(networks, stack, "one", "127.0.0.1:8080:80")
    two = attach(networks, stack, "two", f"{MACHINE}:8080:80")
    reaches(place.machine, ("127.0.0.1", 8080), server(stack, one, 80))
    assert reaches(place.outside, (MACHINE, 8080), server(stack, two, 80)) == OUTSIDE


def test_a_port_without_a_number_gets_a_free_one(networks: Networks, place: Lab, stack: ExitStack) -> None:
    one = attach(networks, stack, "one", "80")
    (mapping,) = one.ports
    assert mapping.host_port >= 1024
    assert reaches(place.outside, (MACHINE, mapping.host_port), server(stack, one, 80)) == OUTSIDE
    endpoint = networks.endpoint("one")
    assert endpoint is not None and endpoint.ports == one.ports


def test_ranges_of_ports(networks: Networks, place: Lab, stack: ExitStack) -> None:
    one = attach(networks, stack, "one", "8000-8002:80-82")
    for n in range(3):
        reaches(place.outside, (MACHINE, 8000 + n), server(stack, one, 80 + n))
    two = attach(networks, stack, "two", "8002-8004:80")
    assert [mapping.host_port for mapping in two.ports] == [8003]


def test_a_taken_port_is_a_conflict_and_leaves_nothing(
    networks: Networks, place: Lab, store: Store, stack: ExitStack
) -> None:
    attach(networks, stack, "one", "8080:80")
    with pytest.raises(Conflict, match=r"^Bind for 0\.0\.0\.0:8080 failed: port is already allocated$"):
        networks.attach("two", "bridge", parse_publish("9090:80") + parse_publish("8080:80"))
    with pytest.raises(Conflict, match=r"127\.0\.0\.1:8080 failed"):
        networks.attach("two", "bridge", parse_publish("127.0.0.1:8080:80"))
    stack.enter_context(serve(place.machine, "0.0.0.0", 9091))
    with pytest.raises(Conflict, match=r"^Bind for 0\.0\.0\.0:9091 failed: port is already allocated$"):
        networks.attach("two", "bridge", parse_publish("9091:80"))
    assert networks.endpoint("two") is None
    assert [row[0] for row in store.db.execute("SELECT host_port FROM published_ports")] == [8080]
    three = attach(networks, stack, "three", "9090:80")
    assert three.ports == (PortMapping("0.0.0.0", 9090, 80),)


def test_others_cannot_bind_a_published_port(networks: Networks, place: Lab, stack: ExitStack) -> None:
    attach(networks, stack, "one", "8080:80", "8081:80/udp")
    with pytest.raises(OSError, match="in use"):
        serve(place.machine, "0.0.0.0", 8080)
    with pytest.raises(OSError, match="in use"):
        serve(place.machine, "127.0.0.1", 8081, socket.SOCK_DGRAM)


def test_an_address_that_the_machine_lacks_is_refused(networks: Networks) -> None:
    with pytest.raises(InvalidArgument, match=r"Bind for 203\.0\.113\.9:80 failed: this machine does not"):
        networks.attach("one", "bridge", parse_publish("203.0.113.9:80:80"))
    assert networks.endpoint("one") is None


def test_unknown_networks_are_refused_and_none_and_host_get_no_namespace(networks: Networks) -> None:
    with pytest.raises(NotFound, match="network web not found"):
        networks.attach("one", "web")
    for name in ("none", "host"):
        attachment = networks.attach("one", name, parse_publish("80:80"))
        assert attachment.netns_fd == -1 and attachment.address == ""
        assert attachment.notices == (f"published ports are ignored with --network {name}",)
    assert networks.known() == []


def test_turning_on_forwarding_is_said_once(networks: Networks, stack: ExitStack) -> None:
    assert attach(networks, stack, "one").notices == (
        "net.ipv4.ip_forward was 0 and is now 1, so that containers reach the network",
    )
    assert attach(networks, stack, "two").notices == ()


def test_detach_withdraws_the_ports_and_is_idempotent(
    networks: Networks, place: Lab, store: Store, stack: ExitStack
) -> None:
    one = attach(networks, stack, "one", "8080:80", "127.0.0.1:81:81")
    server(stack, one, 80)
    networks.detach("one")
    networks.detach("one")
    networks.detach("never")
    assert refused(place.outside, (MACHINE, 8080)), "the reservation does not answer"
    assert "elements" not in _ruleset(store)
    assert networks.endpoint("one") is None
    assert store.db.execute("SELECT count(*) FROM published_ports").fetchone() == (0,)


def test_a_new_container_takes_the_port_that_a_dead_one_left(
    networks: Networks, place: Lab, stack: ExitStack
) -> None:
    dead = networks.attach("dead", "bridge", parse_publish("8080:80"))
    dead.close()
    one = attach(networks, stack, "one", "8080:80")
    web = server(stack, one, 80)
    assert reaches(place.outside, (MACHINE, 8080), web) == OUTSIDE
    networks.detach("dead")
    assert reaches(place.outside, (MACHINE, 8080), web) == OUTSIDE


def test_addresses_rest_before_they_are_used_again(networks: Networks, stack: ExitStack) -> None:
    first = attach(networks, stack, "one")
    networks.detach("one")
    second = attach(networks, stack, "two")
    assert first.address.endswith(".0.2") and second.address.endswith(".0.3")


def test_attaching_again_replaces_what_was_left(networks: Networks, place: Lab, stack: ExitStack) -> None:
    networks.attach("one", "bridge", parse_publish("8080:80")).close()
    again = attach(networks, stack, "one", "8080:80")
    assert reaches(place.outside, (MACHINE, 8080), server(stack, again, 80)) == OUTSIDE


def test_reconcile_takes_down_the_dead_and_spares_the_living(
    networks: Networks, store: Store, stack: ExitStack
) -> None:
    attach(networks, stack, "listed", "8080:80")
    attach(networks, stack, "build-step")
    networks.attach("dead", "bridge", parse_publish("9090:80")).close()
    _wait_until_gone(store, "dead")
    assert networks.reconcile({"listed"}) == ["dead"]
    assert networks.endpoint("dead") is None and networks.endpoint("build-step") is not None
    assert "9090" not in _ruleset(store) and "8080" in _ruleset(store)


def test_a_flushed_table_comes_back_with_its_ports(
    networks: Networks, place: Lab, store: Store, stack: ExitStack
) -> None:
    one = attach(networks, stack, "one", "8080:80")
    web = server(stack, one, 80)
    table = Firewall(store.layout.engine).table
    run_nft(f"delete table ip {table}\n")
    networks.reconcile({"one"})
    assert reaches(place.outside, (MACHINE, 8080), web) == OUTSIDE
    run_nft(f"delete table ip {table}\n")
    attach(networks, stack, "two")
    assert reaches(place.outside, (MACHINE, 8080), web) == OUTSIDE


def test_a_table_of_another_version_is_replaced_whole(
    networks: Networks, place: Lab, store: Store, stack: ExitStack
) -> None:
    one = attach(networks, stack, "one", "8080:80")
    table = Firewall(store.layout.engine).table
    (rules,) = [line.split()[1] for line in _ruleset(store).splitlines() if "chain rules_" in line]
    run_nft(f"delete chain ip {table} {rules}\nadd chain ip {table} rules_00000000\n")
    attach(networks, stack, "two")
    assert "rules_00000000" not in _ruleset(store) and rules in _ruleset(store)
    assert reaches(place.outside, (MACHINE, 8080), server(stack, one, 80)) == OUTSIDE


def test_an_interrupted_bridge_is_finished(networks: Networks, store: Store, stack: ExitStack) -> None:
    network = settled(networks)
    with netlink.Socket() as host:
        host.run(netlink.delete_link(network.bridge))
        host.run(netlink.add_bridge(network.bridge, mac="02:42:00:00:00:01", mtu=1500))
    assert attach(networks, stack, "one").gateway == network.gateway


def test_a_subnet_that_the_machine_routes_elsewhere_by_now_is_left(
    networks: Networks, place: Lab, stack: ExitStack
) -> None:
    before = settled(networks)
    with netlink.Socket() as host:
        host.run(netlink.delete_link(before.bridge))
        host.run(netlink.add_route(OUTSIDE, before.subnet.partition("/")[0], 16))
    after = settled(networks)
    assert after.subnet != before.subnet
    assert networks.known() == [after]


def test_two_engines_stand_side_by_side(
    networks: Networks, place: Lab, tmp_path: Path, stack: ExitStack
) -> None:
    store = stack.enter_context(_opened(tmp_path / "other"))
    others = Networks(store)
    one, two = attach(networks, stack, "one", "8080:80"), attach(others, stack, "one", "9090:80")
    assert one.gateway != two.gateway
    assert reaches(place.outside, (MACHINE, 8080), server(stack, one, 80)) == OUTSIDE
    web = server(stack, two, 80)
    assert reaches(place.outside, (MACHINE, 9090), web) == OUTSIDE
    reaches(one.netns_fd, (MACHINE, 9090), web)
    assert refused(one.netns_fd, (two.address, 80))
    with pytest.raises(Conflict, match="port is already allocated"):
        others.attach("two", "bridge", parse_publish("8080:80"))
    networks.detach("one")
    networks.teardown()
    assert reaches(place.outside, (MACHINE, 9090), web) == OUTSIDE


def test_teardown_leaves_nothing(networks: Networks, store: Store, stack: ExitStack) -> None:
    one = networks.attach("one", "bridge", parse_publish("8080:80"))
    with pytest.raises(Conflict, match="network bridge is in use by one"):
        networks.teardown()
    one.close()
    networks.detach("one")
    _wait_until_gone(store, "one")
    networks.teardown()
    networks.teardown()
    with netlink.Socket() as host:
        assert {link.name for link in host.links()} - {"lo", "up0"} <= _other_links()
    assert not Firewall(store.layout.engine).exists()
    assert networks.known() == []


def test_descriptors_are_returned(networks: Networks) -> None:
    networks.attach("one", "bridge", parse_publish("8080:80")).close()
    before = set(os.listdir("/proc/self/fd"))
    networks.attach("one", "bridge", parse_publish("8080:80")).close()
    with pytest.raises(InvalidArgument):
        networks.attach("one", "bridge", parse_publish("8080:80") + parse_publish("203.0.113.9:80:80"))
    assert set(os.listdir("/proc/self/fd")) == before


def _ruleset(store: Store) -> str:
    import subprocess

    command = ["nft", "list", "table", "ip", f"tiffin_{store.layout.engine}"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def _other_links() -> set[str]:
    """Fallback devices that some kernels put in every namespace."""
    return {"sit0", "tunl0", "gre0", "gretap0", "erspan0", "ip6tnl0", "ip6gre0", "ip_vti0", "ip6_vti0"}


def _wait_until_gone(store: Store, container: str) -> None:
    """Until the interfaces of a closed namespace are gone: the kernel takes its time."""
    end = time.monotonic() + 10
    row = store.db.execute("SELECT veth FROM endpoints WHERE container = ?", (container,)).fetchone()
    with netlink.Socket() as host:
        while any(link.name == row[0] if row else link.name.startswith("tv") for link in host.links()):
            assert time.monotonic() < end
            time.sleep(0.01)


def _opened(path: Path):
    from contextlib import closing

    return closing(open_store(locate(str(path / "root"), str(path / "run"))))
