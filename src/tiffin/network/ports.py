"""Published ports: Docker's `-p` syntax, and holding a host port so that nobody else takes it."""

from __future__ import annotations

import errno
import os
import socket

from tiffin.errors import Conflict, EngineError, InvalidArgument, Unsupported
from tiffin.network.addresses import to_number
from tiffin.network.records import ANY_ADDRESS, PortMapping

_PROTOCOLS = ("tcp", "udp")


def parse_publish(text: str) -> list[PortMapping]:
    """`[[host-ip:][host-port[-last]]:]container-port[-last][/protocol]` as mappings, one per container port.

    Ranges pair up when they are equally long; a host range before one container port means any free port of
    the range. No host port, or an empty one, means any free port. Raises InvalidArgument, Unsupported.
    """
    rest, slash, protocol = text.partition("/")
    protocol = protocol.lower() if slash else "tcp"
    if protocol not in _PROTOCOLS:
        raise InvalidArgument(f"invalid protocol {protocol!r} in -p {text}; use tcp or udp")
    front, _, container = rest.rpartition(":")
    host_ip, host = _split_host(front, text)
    first, last = _parse_range(container, text)
    if not host:
        return [PortMapping(host_ip, 0, port, protocol) for port in range(first, last + 1)]
    host_first, host_last = _parse_range(host, text, zero=True)
    if first == last and host_last > host_first:
        return [PortMapping(host_ip, host_first, first, protocol, host_last)]
    if host_last - host_first != last - first:
        raise InvalidArgument(f"the ranges of -p {text} differ in length; give both as many ports")
    return [PortMapping(host_ip, host_first + n, first + n, protocol) for n in range(last - first + 1)]


def format_port(mapping: PortMapping) -> str:
    """As `ps` shows it: "0.0.0.0:8080->80/tcp"."""
    return f"{mapping.host_ip}:{mapping.host_port}->{mapping.container_port}/{mapping.protocol}"


def reserve(mapping: PortMapping) -> tuple[PortMapping, int]:
    """Bind the host port (tcp: and listen, since SO_REUSEADDR could share it else); the mapping with the
    port that it got, and the socket's descriptor. The firewall redirects before that would see anything.
    Raises Conflict "Bind for IP:PORT failed: port is already allocated"."""
    last = mapping.last_host_port or mapping.host_port
    for port in range(mapping.host_port, last + 1):
        fd, bound = _bind(mapping, port)
        if fd >= 0:
            return mapping._replace(host_port=bound, last_host_port=0), fd
    where = f"{mapping.host_port}-{last}" if last > mapping.host_port else f"{mapping.host_port}"
    raise Conflict(f"Bind for {mapping.host_ip}:{where} failed: port is already allocated")


def _bind(mapping: PortMapping, port: int) -> tuple[int, int]:
    """A socket bound there and its port, or -1 when the port is taken."""
    stream = mapping.protocol == "tcp"
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM if stream else socket.SOCK_DGRAM) as held:
        try:
            if stream:
                held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # past connections in TIME_WAIT
            held.bind((mapping.host_ip, port))
            if stream:
                held.listen(1)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return -1, port
            where = f"Bind for {mapping.host_ip}:{port} failed"
            if error.errno == errno.EADDRNOTAVAIL:
                raise InvalidArgument(f"{where}: this machine does not have that address") from error
            raise EngineError(f"{where}: {os.strerror(error.errno or 0).lower()}") from error
        bound: int = held.getsockname()[1]
        return held.detach(), bound


def _split_host(front: str, text: str) -> tuple[str, str]:
    """The address and the port range of what stands before the container's port."""
    if "[" in front or front.count(":") > 1:
        raise Unsupported(f"cannot publish on an IPv6 address: -p {text}; use an IPv4 address")
    address, colon, host = front.rpartition(":")
    if not colon:
        if "." in host:
            raise InvalidArgument(f"no host port in -p {text}; write {host}::PORT to let one be chosen")
        return ANY_ADDRESS, host
    if address:
        to_number(address)
    return address or ANY_ADDRESS, host


def _parse_range(text: str, whole: str, *, zero: bool = False) -> tuple[int, int]:
    first, dash, last = text.partition("-")
    low = _parse_port(first, whole, zero=zero)
    high = _parse_port(last, whole) if dash else low
    if high < low or (dash and not low):
        raise InvalidArgument(f"invalid port range {text!r} in -p {whole}; the first port is the lower one")
    return low, high


def _parse_port(text: str, whole: str, *, zero: bool = False) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 5) or int(text) > 65535:
        raise InvalidArgument(f"invalid port {text!r} in -p {whole}; ports are numbers from 1 to 65535")
    if int(text) == 0 and not zero:
        raise InvalidArgument(f"invalid port {text!r} in -p {whole}; ports are numbers from 1 to 65535")
    return int(text)
