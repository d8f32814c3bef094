"""T48: a machine on the same wire reaches neither a port published on 127.0.0.1 nor one not published, and a
container does not reach the machine's loopback, although its bridge lets loopback addresses through."""

from __future__ import annotations

import os
import socket
import struct
import time
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING

import pytest

from tests.integration.network.lab import (
    MACHINE,
    OUTSIDE,
    REFUSAL,
    Lab,
    inside,
    lab,
    reaches,
    refused,
    serve,
    set_sysctl,
)
from tiffin.kernel import netlink
from tiffin.network import Attachment, Networks, parse_publish
from tiffin.network.definitions import NetworkRequest, create
from tiffin.network.firewall import Firewall
from tiffin.network.records import Join
from tiffin.network.tool import run_nft
from tiffin.state import Store, locate, open_store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.root

_ETH_P_ALL, _ETH_P_IP, _ETH_P_IPV6 = 0x0003, 0x0800, 0x86DD


class Scene:
    """A container with a server on port 80, published where a test says, and a neighbour that routes the
    container's subnet and the loopback to this machine."""

    def __init__(self, place: Lab, store: Store, stack: ExitStack) -> None:
        self.place, self.store, self.stack = place, store, stack
        self.networks = Networks(store)

    def run(self, *publish: str) -> Attachment:
        ports = [mapping for text in publish for mapping in parse_publish(text)]
        made = self.networks.attach("victim", "bridge", ports)
        self.stack.callback(made.close)
        self.web = self.stack.enter_context(serve(made.netns_fd, "0.0.0.0", 80))
        with inside(self.place.outside), netlink.Socket() as far:
            base, _, prefix = self.networks.known()[0].subnet.partition("/")
            far.run(netlink.add_route(MACHINE, base, int(prefix)))
        return made

    def without(self, *chains: str) -> None:
        """Empty chains of the table: what the neighbour could do if they were not."""
        table = Firewall(self.store.layout.engine).table
        run_nft("".join(f"flush chain ip {table} {chain}\n" for chain in chains))


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    with ExitStack() as stack:
        place = stack.enter_context(lab())
        store = open_store(locate(str(tmp_path / "root"), str(tmp_path / "run")))
        stack.callback(store.close)
        yield Scene(place, store, stack)


def test_a_neighbour_does_not_reach_a_container_by_its_address(scene: Scene) -> None:
    made = scene.run("8080:80")
    assert refused(scene.place.outside, (made.address, 80))
    scene.without("guard")
    assert refused(scene.place.outside, (made.address, 80)), "the forward chain alone holds too"
    scene.without("forward")
    assert reaches(scene.place.outside, (made.address, 80), scene.web) == OUTSIDE, "what the chains prevent"


def test_a_neighbour_does_not_reach_an_unpublished_port(scene: Scene) -> None:
    scene.run()
    assert refused(scene.place.outside, (MACHINE, 80))


@pytest.mark.parametrize("publish", ["127.0.0.1:8080:80", "8080:80"])
@pytest.mark.parametrize("admin_allows_loopback", [False, True])
def test_a_forged_loopback_destination_gets_no_answer(
    scene: Scene, publish: str, admin_allows_loopback: bool
) -> None:
    made = scene.run(publish)
    if admin_allows_loopback and publish.startswith("127."):
        with open("/proc/sys/net/ipv4/conf/up0/route_localnet", "w") as file:
            file.write("1")
    greeting = scene.stack.enter_context(serve(scene.place.machine, MACHINE, 22))
    reaches(scene.place.outside, (MACHINE, 22), greeting)  # the two know each other's MAC
    with _wire(scene.place.machine, "up0") as near, _wire(made.netns_fd, "eth0") as victim:
        with _wire(scene.place.outside, "eth0") as far:
            far.send(_syn(scene.place, OUTSIDE, "127.0.0.1", 8080))
            assert _sees(near, 0x02, "127.0.0.1", 5.0), "the forged packet did not even arrive"
            assert not _sees(far, 0x12, OUTSIDE, REFUSAL)
        assert not _sees(victim, 0x02, made.address, 0.05)


@pytest.mark.parametrize("source", ["", "127.0.0.1"])
def test_a_container_does_not_reach_the_loopback_of_the_machine(scene: Scene, source: str) -> None:
    made = scene.run("127.0.0.1:8080:80")
    scene.stack.enter_context(serve(scene.place.machine, "127.0.0.1", 631))
    reaches(scene.place.machine, ("127.0.0.1", 8080), scene.web)  # the machine knows the container's MAC
    mac = _mac(scene.place.machine, scene.networks.known()[0].bridge)
    with _wire(made.netns_fd, "eth0") as wire:
        frame = _syn(scene.place, source or made.address, "127.0.0.1", 631)
        wire.send(mac + frame[6:])
        assert not _sees(wire, 0x12, source or made.address, REFUSAL)
    if source:
        return
    scene.without("guard")
    with _wire(made.netns_fd, "eth0") as wire:
        wire.send(mac + frame[6:])
        assert _sees(wire, 0x12, made.address, 5.0), "what the guard prevents"


@pytest.mark.parametrize("publish", ["[::1]:8080:80", "8080:80"])
@pytest.mark.parametrize("bridged", ["0", "1"])
def test_a_forged_loopback_destination_gets_no_answer_in_ipv6(
    tmp_path: Path, publish: str, bridged: str
) -> None:
    """The bridge has a route for ::1 (bridge.allow_loopback6), but no interface takes packets that say so."""
    with ExitStack() as stack:
        place = stack.enter_context(lab())
        store = stack.enter_context(
            closing(open_store(locate(str(tmp_path / "root"), str(tmp_path / "run"))))
        )
        setting = "bridge/bridge-nf-call-ip6tables"
        if os.path.exists(f"/proc/sys/net/{setting}"):
            set_sysctl(setting, "0")
        networks = Networks(store)
        network = create(store, networks, NetworkRequest("dual", ipv6=True))
        joins = (Join(network.id, "dual"),)
        made = stack.enter_context(closing(networks.attach("victim", "dual", parse_publish(publish), joins)))
        other = stack.enter_context(closing(networks.attach("other", "dual", (), joins)))
        web = stack.enter_context(serve(made.netns_fd, "::", 80))
        reaches(place.machine, ("::1", 8080), web)
        if os.path.exists(f"/proc/sys/net/{setting}"):
            set_sysctl(setting, bridged)  # whoever else is on the machine may turn it on at any time
        endpoint = networks.endpoint("other")
        assert endpoint is not None
        for source, near, target in (
            (place.outside, "up0", "up0"),
            (other.netns_fd, endpoint.veth, network.bridge),
        ):
            mac = _mac(place.machine, target)
            with inside(source), netlink.Socket() as there:
                link = there.link("eth0")
                assert link is not None
                own = next(a.address for a in there.addresses(socket.AF_INET6) if a.ifindex == link.ifindex)
            with (
                _wire(source, "eth0", _ETH_P_IPV6) as far,
                _wire(place.machine, near, _ETH_P_ALL) as heard,
                _wire(made.netns_fd, "eth0", _ETH_P_IPV6) as victim,
            ):
                far.send(mac + bytes.fromhex(link.mac.replace(":", "")) + _segment6(own, "::1", 8080))
                assert _sees6(heard, 0x02, "::1", 30), "the forged packet did not even arrive"
                assert not _sees6(far, 0x12, own, REFUSAL)
                assert not _sees6(victim, 0x02, made.address6, 0.05)


def _wire(namespace: int, interface: str, protocol: int = _ETH_P_IP) -> socket.socket:
    """A raw socket on an interface."""
    with inside(namespace):
        raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(protocol))
        raw.bind((interface, protocol))
    return raw


def _sees6(raw: socket.socket, flags: int, destination: str, seconds: float) -> bool:
    """As _sees, in IPv6."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        raw.settimeout(left)
        try:
            frame = raw.recv(2048)
        except TimeoutError:
            return False
        if len(frame) < 74 or frame[20] != socket.IPPROTO_TCP or frame[67] & 0x17 != flags:
            continue
        if frame[38:54] == socket.inet_pton(socket.AF_INET6, destination):
            return True
    return False


def _segment6(source: str, destination: str, port: int) -> bytes:
    """The type of the frame, and a TCP connection request in IPv6."""
    addresses = b"".join(socket.inet_pton(socket.AF_INET6, one) for one in (source, destination))
    segment = struct.pack("!HHIIBBHHH", 40000, port, 1, 0, 5 << 4, 0x02, 64240, 0, 0)
    pseudo = addresses + struct.pack("!II", len(segment), socket.IPPROTO_TCP)
    segment = segment[:16] + struct.pack("!H", _checksum(pseudo + segment)) + segment[18:]
    header = struct.pack("!IHBB", 6 << 28, len(segment), socket.IPPROTO_TCP, 64)
    return struct.pack("!H", _ETH_P_IPV6) + header + addresses + segment


def _sees(raw: socket.socket, flags: int, destination: str, seconds: float) -> bool:
    """Whether a TCP segment with exactly these flags to that address passes by."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        raw.settimeout(left)
        try:
            frame = raw.recv(2048)
        except TimeoutError:
            return False
        if len(frame) < 54 or frame[23] != socket.IPPROTO_TCP or frame[47] & 0x17 != flags:
            continue
        if socket.inet_ntoa(frame[30:34]) == destination:
            return True
    return False


def _mac(namespace: int, interface: str) -> bytes:
    with inside(namespace), netlink.Socket() as host:
        link = host.link(interface)
    assert link is not None
    return bytes.fromhex(link.mac.replace(":", ""))


def _syn(place: Lab, source: str, destination: str, port: int) -> bytes:
    """An Ethernet frame for the machine: a TCP connection request with the addresses of one's choice."""
    frame = _mac(place.machine, "up0") + _mac(place.outside, "eth0") + struct.pack("!H", _ETH_P_IP)
    addresses = socket.inet_aton(source) + socket.inet_aton(destination)
    segment = struct.pack("!HHIIBBHHH", 40000, port, 1, 0, 5 << 4, 0x02, 64240, 0, 0)
    pseudo = addresses + struct.pack("!BBH", 0, socket.IPPROTO_TCP, len(segment))
    segment = segment[:16] + struct.pack("!H", _checksum(pseudo + segment)) + segment[18:]
    header = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(segment), 1, 0, 64, socket.IPPROTO_TCP, 0) + addresses
    header = header[:10] + struct.pack("!H", _checksum(header)) + header[12:]
    return frame + header + segment


def _checksum(data: bytes) -> int:
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total & 0xFFFF) + (total >> 16)
    return ~(total + (total >> 16)) & 0xFFFF
