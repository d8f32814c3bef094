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


def test_every_network_has_its_rules() -> None:
    other = NETWORK._replace(bridge="tfn1", subnet="10.211.0.0/16")
    text = firewall.Firewall("e").rules([NETWORK, other])
    for bridge, subnet in (("tfn0", "10.210.0.0/16"), ("tfn1", "10.211.0.0/16")):
        assert f'oifname != "{bridge}" ip saddr {subnet} masquerade' in text
        assert f'iifname != "{bridge}" oifname "{bridge}" drop' in text


def test_ipv6_has_a_table_as_long_as_a_network_has_it() -> None:
    assert "ip6" not in firewall.Firewall("e").rules([NETWORK])
    dual = NETWORK._replace(subnet6="fd00::/64", gateway6="fd00::1")
    text = firewall.Firewall("e").rules([NETWORK._replace(bridge="tfn1"), dual])
    assert 'oifname != "tfn0" ip6 saddr fd00::/64 masquerade' in text
    assert 'iifname "tfn1" ip6' not in text and 'oifname != "tfn1" ip saddr 10.210.0.0/16 masquerade' in text
