"""T49: a container on a network without IPv6 gets none from whoever speaks on the bridge."""

from __future__ import annotations

import socket
import struct
import time
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING

import pytest

from tests.integration.network.lab import inside, lab, reaches, serve
from tiffin.kernel import netlink
from tiffin.network import Networks
from tiffin.network.definitions import NetworkRequest, create
from tiffin.network.records import Join
from tiffin.state import locate, open_store

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.root


def test_router_advertisements_give_a_container_no_address_and_no_route(tmp_path: Path) -> None:
    store = open_store(locate(str(tmp_path / "root"), str(tmp_path / "run")))
    with lab():
        networks = Networks(store)
        victim, attacker = networks.attach("victim"), networks.attach("attacker")
        try:
            with inside(victim.netns_fd):
                for name in ("eth0", "default"):
                    assert _setting(f"{name}/disable_ipv6") == "1"
                    assert _setting(f"{name}/accept_ra") == "0"
                with open("/proc/net/snmp6") as file:
                    before = file.read()
            with inside(attacker.netns_fd):
                raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
            with inside(victim.netns_fd):
                seen = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x86DD))
            with raw, seen:
                raw.bind(("eth0", 0))
                raw.send(_advertisement(attacker.mac))
                seen.settimeout(5)
                seen.recv(2048)  # it did arrive
            time.sleep(0.05)  # whatever the kernel would do with it, it has begun in the same softirq
            with inside(victim.netns_fd):
                assert _devices("/proc/net/if_inet6") <= {"lo"}
                assert _devices("/proc/net/ipv6_route") <= {"lo"}
                with open("/proc/net/snmp6") as file:
                    assert _received(file.read()) == _received(before)
        finally:
            victim.close()
            attacker.close()
    store.close()


def test_a_router_on_a_network_with_ipv6_is_not_believed(tmp_path: Path) -> None:
    """Neither by the containers, nor by the machine, whose bridge it is on."""
    store = open_store(locate(str(tmp_path / "root"), str(tmp_path / "run")))
    with lab() as place, ExitStack() as stack:
        networks = Networks(store)
        network = create(store, networks, NetworkRequest("dual", ipv6=True))
        victim, attacker = (
            stack.enter_context(closing(networks.attach(name, "dual", (), (Join(network.id, "dual"),))))
            for name in ("victim", "attacker")
        )
        with inside(attacker.netns_fd):
            raw = stack.enter_context(socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0))
            raw.bind(("eth0", 0))
        ears = [_ear(stack, victim.netns_fd, "eth0"), _ear(stack, place.machine, network.bridge)]
        before = [_ipv6_state(where) for where in (victim.netns_fd, place.machine)]
        raw.send(_advertisement(attacker.mac))
        for ear in ears:
            _hears_an_advertisement(ear)
        # What comes after has been handled after: the two answer in the order in which they were asked.
        with serve(victim.netns_fd, "::", 80) as web:
            reaches(attacker.netns_fd, (victim.address6, 80), web)
            reaches(place.machine, (victim.address6, 80), web)
        assert [_ipv6_state(where) for where in (victim.netns_fd, place.machine)] == before
    store.close()


def test_the_machine_has_no_ipv6_address_towards_the_containers(tmp_path: Path) -> None:
    store = open_store(locate(str(tmp_path / "root"), str(tmp_path / "run")))
    with lab():
        networks = Networks(store)
        made = networks.attach("one")
        with netlink.Socket() as host:
            names = {link.name for link in host.links() if link.name.startswith(("tv", "tfn"))}
        assert len(names) == 2
        assert not _devices("/proc/net/if_inet6") & names
        made.close()
    store.close()


def _ear(stack: ExitStack, namespace: int, interface: str) -> socket.socket:
    with inside(namespace):
        ear = stack.enter_context(socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x86DD)))
        ear.bind((interface, 0x86DD))
    ear.settimeout(30)
    return ear


def _hears_an_advertisement(ear: socket.socket) -> None:
    while True:
        frame = ear.recv(2048)
        if frame[20] == socket.IPPROTO_ICMPV6 and frame[54] == 134:
            return


def _ipv6_state(namespace: int) -> list[tuple[object, ...]]:
    """The addresses of global scope, and the routes but those of the link alone."""
    with inside(namespace), netlink.Socket() as link:
        found: list[tuple[object, ...]] = [
            one for one in link.addresses(socket.AF_INET6) if not one.address.startswith("fe80::")
        ]
        return sorted(
            found + [one for one in link.routes(socket.AF_INET6) if one.destination[:4] != "fe80"], key=str
        )


def _setting(name: str) -> str:
    with open(f"/proc/sys/net/ipv6/conf/{name}") as file:
        return file.read().strip()


def _devices(path: str) -> set[str]:
    with open(path) as file:
        return {line.split()[-1] for line in file}


def _received(counters: str) -> list[str]:
    return [line for line in counters.splitlines() if line.startswith("Icmp6InRouterAdvertisements")]


def _advertisement(mac: str) -> bytes:
    """A router advertisement with an autonomous prefix, 2001:db8:bad::/64, to all nodes."""
    source = bytes.fromhex(mac.replace(":", ""))
    prefix = socket.inet_pton(socket.AF_INET6, "2001:db8:bad::")
    body = struct.pack("!BBHBBHII", 134, 0, 0, 64, 0, 1800, 0, 0)
    body += struct.pack("!BBBBIII", 3, 4, 64, 0xC0, 3600, 3600, 0) + prefix
    addresses = socket.inet_pton(socket.AF_INET6, "fe80::1") + socket.inet_pton(socket.AF_INET6, "ff02::1")
    pseudo = addresses + struct.pack("!II", len(body), 58)
    total = sum(struct.unpack(f"!{(len(pseudo) + len(body)) // 2}H", pseudo + body))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    body = body[:2] + struct.pack("!H", ~total & 0xFFFF) + body[4:]
    header = struct.pack("!IHBB", 6 << 28, len(body), 58, 255) + addresses
    return bytes.fromhex("333300000001") + source + bytes.fromhex("86dd") + header + body
