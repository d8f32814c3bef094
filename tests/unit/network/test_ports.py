from __future__ import annotations

import pytest

from tiffin.errors import InvalidArgument
from tiffin.network import PortMapping, format_port, parse_publish

ANY = ""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("80", [PortMapping(ANY, 0, 80)]),
        ("8080:80", [PortMapping(ANY, 8080, 80)]),
        (":80", [PortMapping(ANY, 0, 80)]),
        ("0:80", [PortMapping(ANY, 0, 80)]),
        ("53:53/udp", [PortMapping(ANY, 53, 53, "udp")]),
        ("8080:80/TCP", [PortMapping(ANY, 8080, 80, "tcp")]),
        ("127.0.0.1:8080:80", [PortMapping("127.0.0.1", 8080, 80)]),
        ("127.0.0.1::80", [PortMapping("127.0.0.1", 0, 80)]),
        ("80-81", [PortMapping(ANY, 0, 80), PortMapping(ANY, 0, 81)]),
        ("8000-8001:80-81", [PortMapping(ANY, 8000, 80), PortMapping(ANY, 8001, 81)]),
        ("8000-8010:80", [PortMapping(ANY, 8000, 80, "tcp", 8010)]),
        ("8000-8000:80", [PortMapping(ANY, 8000, 80)]),
        ("9899:9899/sctp", [PortMapping(ANY, 9899, 9899, "sctp")]),
        ("132/sctp", [PortMapping(ANY, 0, 132, "sctp")]),
        ("0.0.0.0:80:80", [PortMapping("0.0.0.0", 80, 80)]),
        ("[::1]:8080:80", [PortMapping("::1", 8080, 80)]),
        ("[::]:8080:80/udp", [PortMapping("::", 8080, 80, "udp")]),
        ("[FD00:0::1]::80", [PortMapping("fd00::1", 0, 80)]),
        ("[fd00::1]:8000-8001:80-81", [PortMapping("fd00::1", 8000, 80), PortMapping("fd00::1", 8001, 81)]),
        ("[fd00::1]:8000-8010:80", [PortMapping("fd00::1", 8000, 80, "tcp", 8010)]),
    ],
)
def test_publish_as_docker_writes_it(text: str, expected: list[PortMapping]) -> None:
    assert parse_publish(text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "invalid port ''"),
        ("a", "invalid port 'a'"),
        ("0", "invalid port '0'"),
        ("65536", "invalid port '65536'"),
        ("99999999999999999999:80", "invalid port '99999999999999999999'"),
        ("-1:80", "invalid port ''"),
        ("80-79", "invalid port range '80-79'"),
        ("0-5:80", "invalid port range '0-5'"),
        ("8000-8002:80-81", "differ in length"),
        ("80-82:80-81", "differ in length"),
        ("80:80/icmp", "invalid protocol 'icmp'"),
        ("[::1:80:80", "invalid address"),
        ("[127.0.0.1]:80:80", "invalid address"),
        ("[::1]80:80", "invalid address"),
        ("[::g]:80:80", "invalid IPv6 address"),
        ("[fe80::1%eth0]:80:80", "invalid IPv6 address"),
        ("[::1]:80", "no host port"),
        ("::1:80:80", "write an IPv6 address as"),
        ("80/", "invalid protocol ''"),
        ("1.2.3:80:80", "invalid IPv4 address '1.2.3'"),
        ("1.2.3.256:80:80", "invalid IPv4 address"),
        ("127.0.0.1:80", "no host port"),
        ("٨٠:80", "invalid port"),
        ("80\n:80", "invalid port"),
    ],
)
def test_what_is_no_port_is_refused_by_name(text: str, message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        parse_publish(text)


def test_ports_print_as_docker_prints_them() -> None:
    assert format_port(PortMapping("0.0.0.0", 8080, 80)) == "0.0.0.0:8080->80/tcp"
    assert format_port(PortMapping("::1", 53, 53, "udp")) == "[::1]:53->53/udp"
