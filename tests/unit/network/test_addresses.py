from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiffin.errors import InvalidArgument, Unsupported
from tiffin.network.addresses import Subnet, choose_subnet, mac_for, parse_subnet, subnet, to_number, to_text


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


def test_a_subnet_knows_its_size() -> None:
    assert Subnet(10 << 24, 16).size == 65536
