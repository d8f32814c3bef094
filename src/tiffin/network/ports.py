"""Published ports: Docker's `-p` syntax, and holding a host port so that nobody else takes it."""

from __future__ import annotations

import errno
import os

from tiffin.errors import Conflict, EngineError, InvalidArgument
from tiffin.kernel import sockets as socket
from tiffin.network.addresses import canonical
from tiffin.network.records import PortMapping
from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_PROTOCOLS = ("tcp", "udp", "sctp")
_SCTP = 132
_ATTEMPTS = 32  # a port that is free in one family may be taken in the other
_FIRST_FREE, _FREE = 32768, 28232  # as the kernel chooses ports


def parse_publish(text: str) -> list[PortMapping]:
    """`[[host-ip:][host-port[-last]]:]container-port[-last][/protocol]` as mappings, one per container port.

    An IPv6 address stands in brackets. Ranges pair up when they are equally long; a host range before one container
    port means any free port of the range. No host port, or an empty one, means any free port. Raises InvalidArgument.
    """
    rest, slash, protocol = text.partition("/")
    protocol = protocol.lower() if slash else "tcp"
    if protocol not in _PROTOCOLS:
        raise InvalidArgument(f"invalid protocol {protocol!r} in -p {text}; use tcp, udp or sctp")
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
    return f"{bracketed(mapping.host_ip)}:{mapping.host_port}->{mapping.container_port}/{mapping.protocol}"


def bracketed(address: str) -> str:
    """An address as it stands before a port."""
    return f"[{address}]" if ":" in address else address


def reserve(mapping: PortMapping, hosts: Sequence[str]) -> tuple[int, list[int]]:
    """Keep a host port from others at all these addresses: the port, and the sockets' descriptors. The firewall
    redirects before those would see anything. Raises Conflict "Bind for IP:PORT failed: port is already allocated"."""
    last = mapping.last_host_port or mapping.host_port
    chosen = range(mapping.host_port, last + 1) if last else [0] * _ATTEMPTS
    taken = ""
    for wanted in chosen:
        port, fds, taken = _bind_all(mapping.protocol, hosts, wanted)
        if not taken:
            return port, fds
    where = f"{mapping.host_port}-{last}" if last > mapping.host_port else f"{mapping.host_port}"
    raise Conflict(f"Bind for {bracketed(taken)}:{where} failed: port is already allocated")


def _bind_all(protocol: str, hosts: Sequence[str], port: int) -> tuple[int, list[int], str]:
    """The port, the sockets, and the address at which it is taken: then there is no socket."""
    fds: list[int] = []
    try:
        for host in hosts:
            fd, port = (_bind_sctp if protocol == "sctp" else _bind)(host, port, protocol)
            if fd < 0:
                return port, [], host
            fds.append(fd)
        kept, fds = fds, []
        return port, kept, ""
    finally:
        for fd in fds:
            os.close(fd)


def _bind(host: str, port: int, protocol: str) -> tuple[int, int]:
    """A socket bound there and its port, or -1 when the port is taken. It does not listen: who comes while no rule
    leads to a container is refused. Only where past connections in TIME_WAIT are in the way it shares the address with
    them, and listens so that nobody else does."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    kind = socket.SOCK_DGRAM if protocol == "udp" else socket.SOCK_STREAM
    for shared in (False, True)[: 2 if protocol == "tcp" else 1]:
        with socket.socket(family, kind, _SCTP if protocol == "sctp" else 0) as held:
            try:
                if family == socket.AF_INET6:
                    held.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                if shared:
                    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                held.bind((host, port))
                if shared:
                    held.listen(1)
            except OSError as error:
                if error.errno == errno.EADDRINUSE:
                    continue
                where = f"Bind for {bracketed(host)}:{port} failed"
                if error.errno == errno.EADDRNOTAVAIL:
                    raise InvalidArgument(f"{where}: this machine does not have that address") from error
                raise EngineError(f"{where}: {os.strerror(error.errno or 0).lower()}") from error
            bound: int = held.getsockname()[1]
            return held.detach(), bound
    return -1, port


def _bind_sctp(host: str, port: int, protocol: str) -> tuple[int, int]:
    """As _bind. A machine whose own kernel speaks no SCTP may yet lead it to others: engines then keep a port from each
    other by a name in the network namespace (an abstract socket)."""
    try:
        return _bind(host, port, protocol)
    except OSError as error:
        if error.errno not in (errno.EPROTONOSUPPORT, errno.ESOCKTNOSUPPORT):
            raise
    number = port or _FIRST_FREE + int.from_bytes(os.urandom(2), "big") % _FREE
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as held:
        try:
            held.bind(f"\0tiffin sctp {bracketed(host)}:{number}")
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return -1, number
            raise
        return held.detach(), number


def _split_host(front: str, text: str) -> tuple[str, str]:
    """The address and the port range of what stands before the container's port."""
    if front.startswith("["):
        address, bracket, host = front[1:].partition("]")
        if not bracket or ":" not in address or (host and host[0] != ":"):
            raise InvalidArgument(f"invalid address in -p {text}; write an IPv6 address as [::1]:8080:80")
        if not host:
            raise InvalidArgument(f"no host port in -p {text}; write {front}::PORT to let one be chosen")
        return canonical(address), host[1:]
    if front.count(":") > 1:
        raise InvalidArgument(f"invalid address in -p {text}; write an IPv6 address as [::1]:8080:80")
    address, colon, host = front.rpartition(":")
    if not colon:
        if "." in host:
            raise InvalidArgument(f"no host port in -p {text}; write {host}::PORT to let one be chosen")
        return "", host
    return canonical(address) if address else "", host


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
