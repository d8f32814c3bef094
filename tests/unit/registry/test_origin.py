"""Where a URL leads; which proxy it goes through; how long to wait."""

from __future__ import annotations

import email.utils
import time

import pytest

from tests.hostile_registry import names
from tiffin.errors import InvalidArgument, TransferError
from tiffin.registry.origin import (
    LINK_LOCAL,
    LOOPBACK,
    PRIVATE,
    PUBLIC,
    Origin,
    address_kind,
    host_kinds,
    may_lead,
    origin_of,
    resolve_location,
)
from tiffin.registry.proxies import proxy_for
from tiffin.registry.waiting import retry_after


def test_an_origin_is_scheme_host_and_port() -> None:
    assert origin_of("HTTPS://Example.COM/x?y") == Origin("https", "example.com", 443)
    assert origin_of("http://[::1]:80/") == Origin("http", "::1", 80)
    assert str(origin_of("http://[::1]:5000/x")) == "http://[::1]:5000"
    assert str(origin_of("https://a:443")) == "https://a"
    assert origin_of("https://a:443/") == origin_of("https://A/")
    assert origin_of("https://a:0/") != origin_of("https://a/")


NO_URLS = "x /x file:///x http:///x http:// http://u@h/ http://h:x/ http://h:99999/ http://h\\@g/ http://h%40g/ http://[::1"


@pytest.mark.parametrize(
    "url", ["", "http://h/a b", "http://h/\n", "http://h/\x7f", "http://ä/", *NO_URLS.split()]
)
def test_what_is_no_plain_url_has_no_origin(url: str) -> None:
    with pytest.raises(TransferError):
        origin_of(url)


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        ("/up/1?x=y", "https://h:5/up/1?x=y"),
        ("2", "https://h:5/v2/2"),
        ("//other/x", "https://other/x"),
        ("https://other/x#fragment", "https://other/x"),
        ("?a=b", "https://h:5/v2/uploads?a=b"),
        (" /x y ", "https://h:5/x%20y"),
    ],
)
def test_a_location_is_resolved(location: str, expected: str) -> None:
    assert resolve_location("https://h:5/v2/uploads", location) == expected


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        ("93.184.215.14", PUBLIC),
        ("2606:2800:21f:cb07::1", PUBLIC),
        ("10.0.0.1", PRIVATE),
        ("172.16.0.1", PRIVATE),
        ("192.168.0.1", PRIVATE),
        ("100.64.0.1", PRIVATE),
        ("fd00::1", PRIVATE),
        ("127.0.0.1", LOOPBACK),
        ("127.9.9.9", LOOPBACK),
        ("0.0.0.0", LOOPBACK),
        ("::1", LOOPBACK),
        ("::", LOOPBACK),
        ("::ffff:127.0.0.1", LOOPBACK),
        ("169.254.169.254", LINK_LOCAL),
        ("fe80::1", LINK_LOCAL),
        ("fe80::1%eth0", LINK_LOCAL),
        ("fd00:ec2::254", LINK_LOCAL),
        ("100.100.100.200", LINK_LOCAL),
        ("224.0.0.1", LINK_LOCAL),
        ("::ffff:169.254.169.254", LINK_LOCAL),
        ("64:ff9b::a9fe:a9fe", LINK_LOCAL),
        ("2002:7f00:1::1", LOOPBACK),
    ],
)
def test_addresses_have_a_kind(address: str, kind: int) -> None:
    assert address_kind(address) == kind


def test_nobody_leads_further_inside_than_he_stands() -> None:
    assert may_lead({PUBLIC}, {PUBLIC})
    assert may_lead(set(), {PUBLIC})
    assert may_lead({PRIVATE}, {PRIVATE, PUBLIC})
    assert may_lead({LOOPBACK}, {LOOPBACK, PRIVATE})
    assert not may_lead({PUBLIC}, {PUBLIC, PRIVATE})
    assert not may_lead({PUBLIC, LOOPBACK}, {LOOPBACK})
    assert not may_lead(set(), {PRIVATE})
    assert not may_lead({PRIVATE}, {LOOPBACK})
    assert not may_lead({PRIVATE}, {LINK_LOCAL})
    assert not may_lead({LOOPBACK}, {LINK_LOCAL})


def test_a_name_has_the_kinds_of_all_its_addresses() -> None:
    with names({"in.example": ["10.0.0.1"]}):
        assert host_kinds("in.example", 443) == {PRIVATE}
        assert host_kinds("nowhere.example", 443) == set()
    assert host_kinds("anything.localhost", 443) == {LOOPBACK}


ENVIRONMENT = {
    "HTTP_PROXY": "http://p:1",
    "https_proxy": "q:2",
    "NO_PROXY": "a.example,.b.example,10.0.0.0/8,c:5000",
}


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://x.example", "http://p:1"),
        ("https://x.example", "http://q:2"),
        ("https://a.example", ""),
        ("https://sub.a.example", ""),
        ("https://nota.example", "http://q:2"),
        ("https://b.example", "http://q:2"),
        ("https://sub.b.example", ""),
        ("https://10.1.2.3", ""),
        ("https://11.1.2.3", "http://q:2"),
        ("https://c:5000", ""),
        ("https://c:5001", "http://q:2"),
        ("http://localhost:5000", ""),
        ("http://127.0.0.1", ""),
        ("http://[::1]", ""),
    ],
)
def test_the_environment_names_proxies(url: str, expected: str) -> None:
    assert proxy_for(origin_of(url), ENVIRONMENT) == expected


def test_proxies_have_their_corners() -> None:
    there = origin_of("https://x.example")
    assert proxy_for(there, {}) == ""
    assert proxy_for(there, {"ALL_PROXY": "http://all:1"}) == "http://all:1"
    assert proxy_for(there, {"https_proxy": "http://p", "no_proxy": "*"}) == ""
    assert proxy_for(there, {"https_proxy": "http://p", "NO_PROXY": "[::1]:5, fd00::/8 *.example"}) == ""
    assert (
        proxy_for(origin_of("https://[fd00::1]"), {"https_proxy": "http://p", "NO_PROXY": "fd00::/8"}) == ""
    )
    cgi = {"HTTP_PROXY": "http://evil", "REQUEST_METHOD": "GET"}
    assert proxy_for(origin_of("http://x.example"), cgi) == ""
    with pytest.raises(InvalidArgument, match=r"\$HTTPS_PROXY names a proxy of kind 'socks5'"):
        proxy_for(there, {"https_proxy": "socks5://u:word@h:1"})


def test_retry_after_is_seconds_or_a_date() -> None:
    assert retry_after("5") == 5.0
    assert retry_after(" 0 ") == 0.0
    soon = retry_after(email.utils.formatdate(time.time() + 100, usegmt=True))
    assert soon is not None
    assert 90 < soon < 110
    assert retry_after("Wed, 21 Oct 2015 07:28:00 GMT") == 0.0
    for nonsense in ("", "-1", "1.5", "soon", "9" * 30, "x" * 100, "²", "Wed, 99 Oct 99999 07:28:00 GMT"):
        assert retry_after(nonsense) is None
