from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiffin.errors import InvalidArgument, Unsupported
from tiffin.network.addresses import (
    Subnet,
    canonical,
    choose_subnet,
    choose_subnet6,
    mac_for,
    parse_address,
    parse_subnet,
    subnet,
    to_number,
    to_text,
)


@given(st.integers(0, 2**32 - 1))
def test_numbers_and_texts_agree_with_the_standard_library(number: int) -> None:
    assert to_text(number) == str(ipaddress.IPv4Address(number))
    assert to_number(to_text(number)) == number


@pytest.mark.parametrize(
    "text", ["", "1.2.3", "1.2.3.4.5", "1.2.3.04", "1.2.3.256", "1.2.3.4\n", "::1", "1.2.3.-4"]
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgument, match="invalid IPv4 address"):
        to_number(text)


@given(st.ip_addresses(v=4), st.integers(1, 32), st.ip_addresses(v=4), st.integers(1, 32))
def test_overlap_agrees_with_the_standard_library(
    one: ipaddress.IPv4Address, one_prefix: int, two: ipaddress.IPv4Address, two_prefix: int
) -> None:
    first = ipaddress.ip_network((one, one_prefix), strict=False)
    second = ipaddress.ip_network((two, two_prefix), strict=False)
    ours, theirs = subnet(str(one), one_prefix), subnet(str(two), two_prefix)
    assert str(ours) == str(first)
    assert ours.overlaps(theirs) == first.overlaps(second)


@given(st.integers(0, 2**128 - 1))
def test_long_numbers_and_texts_agree_with_the_standard_library(number: int) -> None:
    text = to_text(number, 128)
    assert ipaddress.IPv6Address(text) == ipaddress.IPv6Address(number)
    assert parse_address(text) == (number, 128)
    assert canonical(ipaddress.IPv6Address(number).exploded) == text


@given(st.ip_addresses(v=6), st.integers(1, 128), st.ip_addresses(v=6), st.integers(1, 128))
def test_overlap_of_long_ones_agrees_too(
    one: ipaddress.IPv6Address, one_prefix: int, two: ipaddress.IPv6Address, two_prefix: int
) -> None:
    first = ipaddress.ip_network((one, one_prefix), strict=False)
    second = ipaddress.ip_network((two, two_prefix), strict=False)
    ours, theirs = subnet(str(one), one_prefix), subnet(str(two), two_prefix)
    assert ipaddress.ip_network(str(ours)) == first
    assert ours.overlaps(theirs) == first.overlaps(second)
    assert ours.holds(str(two)) == (two in first)


def test_families_never_meet() -> None:
    assert not subnet("::", 1).overlaps(subnet("0.0.0.0", 1))
    assert not subnet("::", 1).holds("10.0.0.1") and not subnet("10.0.0.0", 8).holds("::a00:1")


@pytest.mark.parametrize(
    "text", [":", "fd00::1::2", "fe80::1%eth0", "fd00::g", "fd00::1\n", "fd00::1/64", "1:2\0::"]
)
def test_what_is_no_long_address_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgument, match="invalid IPv6 address"):
        parse_address(text)


@pytest.mark.parametrize("text", ["fd00::/0", "fd00::/127", "fd00::/129", "fd00::", "fd00::/x"])
def test_what_is_no_long_subnet_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgument, match="invalid subnet"):
        parse_subnet(text)


def test_an_ipv6_subnet_is_chosen_in_the_engines_own_part() -> None:
    first = choose_subnet6([], 0x1234567890)
    assert str(first) == "fd12:3456:7890::/64"
    assert str(choose_subnet6([first], 0x1234567890)) == "fd12:3456:7890:1::/64"
    with pytest.raises(Unsupported, match=r"no free IPv6 subnet in fd12:3456:7890::/48"):
        choose_subnet6([subnet("fd12::", 16)], 0x1234567890)


@pytest.mark.parametrize("text", ["10.0.0.0", "10.0.0.0/0", "10.0.0.0/31", "10.0.0.0/x", "/16", "10.0.0/16"])
def test_what_is_no_subnet_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgument):
        parse_subnet(text)


def test_a_subnet_is_chosen_clear_of_everything_in_use() -> None:
    first = choose_subnet([], 5)
    assert str(first) == "10.133.0.0/16"
    assert str(choose_subnet([first], 5)) == "10.134.0.0/16"
    assert str(choose_subnet([subnet("10.133.7.9", 32)], 5)) == "10.134.0.0/16"
    assert str(choose_subnet([], 5, 2)) == "10.135.0.0/16"
    assert str(choose_subnet([subnet("10.0.0.0", 8)], 5)) == "172.31.0.0/16"
    assert str(choose_subnet([subnet("10.0.0.0", 8), subnet("172.16.0.0", 12)], 5)) == "192.168.255.0/24"


def test_a_machine_without_a_free_subnet_is_told_so() -> None:
    used = [subnet("10.0.0.0", 8), subnet("172.16.0.0", 12), subnet("192.168.0.0", 16)]
    with pytest.raises(Unsupported, match="no free private subnet"):
        choose_subnet(used, 5)


def test_two_engines_begin_apart() -> None:
    assert choose_subnet([], 1) != choose_subnet([], 2)


def test_a_mac_is_local_unicast_and_follows_the_address() -> None:
    assert mac_for("10.210.0.2") == "02:42:0a:d2:00:02"
    macs = {mac_for(f"fd00::{n:x}") for n in range(1, 1000)}
    assert len(macs) == 999 and all(mac.startswith("02:42:") and len(mac) == 17 for mac in macs)


def test_a_subnet_knows_its_size() -> None:
    assert Subnet(10 << 24, 16).size == 65536
