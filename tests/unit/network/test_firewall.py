from __future__ import annotations

from tiffin.network import Network, firewall
from tiffin.network.records import Published

NETWORK = Network("1", "bridge", "bridge", "tfn0", "10.210.0.0/16", "10.210.0.1", 0)
PORTS = [
    Published("tcp", "0.0.0.0", 8080, "10.210.0.2", 80),
    Published("udp", "127.0.0.1", 53, "10.210.0.2", 53),
]


def test_ports_become_elements_of_the_maps() -> None:
    lines = firewall.Firewall("e").elements("add", PORTS).splitlines()
    assert lines == [
        "add element ip tiffin_e published { tcp . 8080 : 10.210.0.2 . 80 }",
        "add element ip tiffin_e published_at { 127.0.0.1 . udp . 53 : 10.210.0.2 . 53 }",
        "add element ip tiffin_e loopback { 127.0.0.1 . udp . 53 }",
    ]
    six = [Published("tcp", "::", 8080, "fd00::2", 80), Published("sctp", "fd00::1", 9, "fd00::2", 9)]
    assert firewall.Firewall("e").elements("add", six).splitlines() == [
        "add element ip6 tiffin_e published { tcp . 8080 : fd00::2 . 80 }",
        "add element ip6 tiffin_e loopback { ::1 . tcp . 8080 }",
        "add element ip6 tiffin_e published_at { fd00::1 . sctp . 9 : fd00::2 . 9 }",
    ]
    assert firewall.Firewall("e").elements("delete", PORTS[:1]) == (
        "delete element ip tiffin_e published { tcp . 8080 }\n"
    )


def test_every_network_has_its_chains_and_no_rule_that_others_pass() -> None:
    other = NETWORK._replace(id="2", bridge="tfn1", subnet="10.211.0.0/16")
    one, two = (firewall.Firewall("e").rules(networks) for networks in ([NETWORK], [NETWORK, other]))
    assert 'iifname vmap { "tfn0" : jump sent_1, "tfn1" : jump sent_2 }' in two
    assert 'ip daddr { 10.210.0.0/16, 10.211.0.0/16 } iifname != "lo" drop' in two
    assert 'oifname vmap { "tfn0" : jump into_1, "tfn1" : jump into_2 }' in two
    assert "ip saddr vmap { 10.210.0.0/16 : jump leave_1, 10.211.0.0/16 : jump leave_2 }" in two
    assert _base_rules(one) == _base_rules(two), "a packet's way grows with the networks"


def test_an_internal_network_has_no_way_out_and_none_in() -> None:
    closed = NETWORK._replace(id="2", bridge="tfn1", subnet="10.211.0.0/16", options='{"internal": true}')
    text = firewall.Firewall("e").rules([NETWORK, closed])
    assert 'iifname vmap { "tfn1" : jump from_2 }' in text and "leave_2" not in text
    assert 'chain into_2 {\n    iifname != "tfn1" drop' in text


def test_ipv6_has_a_table_as_long_as_a_network_has_it() -> None:
    assert "ip6" not in firewall.Firewall("e").rules([NETWORK])
    dual = NETWORK._replace(subnet6="fd00::/64", gateway6="fd00::1")
    text = firewall.Firewall("e").rules([NETWORK._replace(id="2", bridge="tfn1"), dual])
    four, mark, six = text.partition("table ip6")
    assert mark and "jump leave_2" in four and "ip6 saddr vmap { fd00::/64 : jump leave_1 }" in six
    assert "tfn1" not in six


def _base_rules(text: str) -> int:
    """How many rules stand in chains that packets come to by themselves."""
    chains = [part.partition("\n  }")[0] for part in text.split("  chain ")[1:]]
    return sum(len(chain.splitlines()) - 2 for chain in chains if "hook" in chain)
