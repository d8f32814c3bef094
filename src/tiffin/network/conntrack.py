"""Forgetting flows: UDP has no end, so the kernel goes on sending a known client's packets where they went
before, to a container that is gone or past one that has just published the port (ctnetlink)."""

from __future__ import annotations

import struct

from tiffin.kernel import netlink
from tiffin.kernel import sockets as socket
from tiffin.network.records import ANY_ADDRESS, ANY_ADDRESS6
from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tiffin.network.records import Published

_GET, _DELETE = 1 << 8 | 1, 1 << 8 | 2  # NFNL_SUBSYS_CTNETLINK in the high byte
_DUMP = 0x300
_FAMILIES = (socket.AF_INET, socket.AF_INET6)
_TUPLE_ORIGINAL, _ID, _ZONE = 1, 12, 18
_TUPLE_IP, _TUPLE_PROTOCOL = 1, 2
_IP_DESTINATION: dict[int, int] = {socket.AF_INET: 2, socket.AF_INET6: 4}
_PROTOCOL_NUMBER, _PROTOCOL_DESTINATION = 1, 3


def forget(published: Iterable[Published]) -> None:
    """Drop the flows to the UDP ports among these; nothing is asked without one."""
    wanted = {(port.host_port, port.host_ip) for port in published if port.protocol == "udp"}
    if not wanted:
        return
    with netlink.Socket(netlink.NETLINK_NETFILTER) as table:
        for family in _FAMILIES:
            its = {one for one in wanted if (":" in one[1]) == (family == socket.AF_INET6)}
            if its:
                _forget(table, family, its)


def _forget(table: netlink.Socket, family: int, wanted: set[tuple[int, str]]) -> None:
    header = struct.pack("!BBH", family, 0, 0)
    anywhere = ANY_ADDRESS if family == socket.AF_INET else ANY_ADDRESS6
    for flow in table.get(netlink.Request(_GET, _DUMP, header, "flows")):
        attributes = netlink.parse_attributes(flow, len(header))
        original = attributes.get(_TUPLE_ORIGINAL, b"")
        address, port = _udp_destination(family, original)
        if (port, address) not in wanted and (port, anywhere) not in wanted:
            continue
        body = header + netlink.nested(_TUPLE_ORIGINAL, original)
        for kind in (_ID, _ZONE):
            if kind in attributes:
                body += netlink.attribute(kind, attributes[kind])
        try:
            table.run(netlink.Request(_DELETE, 0, body, f"flow to port {port}"))
        except FileNotFoundError:
            continue  # it ended meanwhile


def _udp_destination(family: int, original: bytes) -> tuple[str, int]:
    """Address and port that a UDP flow's first packet went to; ("", 0) for another protocol's."""
    parts = netlink.parse_attributes(original)
    protocol = netlink.parse_attributes(parts.get(_TUPLE_PROTOCOL, b""))
    address = netlink.parse_attributes(parts.get(_TUPLE_IP, b"")).get(_IP_DESTINATION[family], b"")
    if protocol.get(_PROTOCOL_NUMBER) != bytes([socket.IPPROTO_UDP]) or not address:
        return "", 0
    (port,) = struct.unpack("!H", protocol.get(_PROTOCOL_DESTINATION, b"\0\0"))
    return socket.inet_ntop(family, address), port
