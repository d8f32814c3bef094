"""What the kernel is sent for interfaces on top of others (if_link.h): also for kinds that this kernel lacks."""

from __future__ import annotations

import struct

import pytest

from tiffin.kernel import netlink, stacked


def attributes(request: netlink.Request) -> dict[int, bytes]:
    return netlink.parse_attributes(request.body, 16)


def info(request: netlink.Request) -> tuple[bytes, dict[int, bytes]]:
    """The kind, and what is said of it."""
    inner = netlink.parse_attributes(attributes(request)[18])
    return inner[1], netlink.parse_attributes(inner.get(2, b""))


@pytest.mark.parametrize(("mode", "number"), [("private", 1), ("vepa", 2), ("bridge", 4), ("passthru", 8)])
def test_a_macvlan_names_its_parent_namespace_mac_and_mode(mode: str, number: int) -> None:
    request = stacked.add_macvlan("eth0", 7, 9, mode, "02:42:0a:00:00:02", 1400)
    found = attributes(request)
    assert (found[3], found[1]) == (b"eth0\0", bytes.fromhex("02420a000002"))
    assert [struct.unpack("=I", found[kind])[0] for kind in (5, 28, 4)] == [7, 9, 1400]
    assert info(request) == (b"macvlan\0", {1: struct.pack("=I", number)})


@pytest.mark.parametrize(("mode", "number"), [("l2", 0), ("l3", 1), ("l3s", 2)])
def test_an_ipvlan_has_the_parents_mac_and_a_short_mode(mode: str, number: int) -> None:
    request = stacked.add_ipvlan("eth1", 7, 9, mode, 1500)
    found = attributes(request)
    assert 1 not in found and struct.unpack("=I", found[5]) == (7,)
    assert info(request) == (b"ipvlan\0", {1: struct.pack("=H", number)})


def test_a_vlan_has_its_number_and_a_dummy_nothing() -> None:
    assert info(stacked.add_vlan("eth0.50", 7, 50)) == (b"vlan\0", {1: struct.pack("=H", 50)})
    assert struct.unpack("=I", attributes(stacked.add_vlan("eth0.50", 7, 50))[5]) == (7,)
    assert info(stacked.add_dummy("dm-1")) == (b"dummy\0", {})


@pytest.mark.root
def test_a_kind_that_no_kernel_has_is_not_known() -> None:
    assert not stacked.is_known("tiffin")
