"""Publishing a container's ports: at which addresses, which host ports, and the firewall's elements."""

from __future__ import annotations

import os

from tiffin.errors import Unsupported
from tiffin.network import bridge, rows
from tiffin.network.conntrack import forget
from tiffin.network.ports import bracketed, reserve
from tiffin.network.records import (
    ANY_ADDRESS,
    ANY_ADDRESS6,
    Endpoint,
    Join,
    Network,
    PortMapping,
    Published,
    ways,
)
from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tiffin.network.manager import Networks


def hold(
    networks: Networks, ports: Sequence[PortMapping], joins: Sequence[Join]
) -> tuple[tuple[PortMapping, ...], tuple[int, ...]]:
    """The mappings with the addresses and host ports that they got, and the sockets that keep those from others. Raises
    Conflict, Unsupported (an address of a family that the container lacks)."""
    resolved: list[PortMapping] = []
    reserved: list[int] = []
    try:
        for mapping, hosts in _placed(networks, ports, joins):
            port, fds = reserve(mapping, hosts)
            reserved += fds
            resolved += [mapping._replace(host_ip=host, host_port=port, last_host_port=0) for host in hosts]
    except BaseException:
        for fd in reserved:
            os.close(fd)
        raise
    return tuple(resolved), tuple(reserved)


def _placed(
    networks: Networks, ports: Sequence[PortMapping], joins: Sequence[Join]
) -> list[tuple[PortMapping, tuple[str, ...]]]:
    """The mappings, each with the addresses where it is to be; none without a way out."""
    known = [networks.find(join) for join in joins]
    way, way6 = ways(known, joins, bridged=True)
    if way < 0 and way6 < 0 and ways(known, joins) != (way, way6):
        networks.notices.append(
            f"published ports are ignored with --network {known[0].name}, whose driver is {known[0].driver}:"
            " others on the wire reach the container at its own address"
        )
    bound = known[way].settings.host_address if way >= 0 else ""
    if way < 0 and way6 < 0:
        return []
    names = ", ".join(join.name for join in joins)
    return [(port, _hosts(port, way >= 0, way6 >= 0, bound, names)) for port in ports]


def _hosts(port: PortMapping, ipv4: bool, ipv6: bool, bound: str, names: str) -> tuple[str, ...]:
    if bound and port.host_ip in ("", ANY_ADDRESS):
        return (bound,)
    if not port.host_ip:
        return (ANY_ADDRESS,) * ipv4 + (ANY_ADDRESS6,) * ipv6
    if not (ipv6 if ":" in port.host_ip else ipv4):
        family = "IPv6" if ":" in port.host_ip else "IPv4"
        raise Unsupported(
            f"cannot publish on {bracketed(port.host_ip)}: the container has no {family} on {names}; "
            + ("use a network made with --ipv6" if family == "IPv6" else "use an IPv6 address")
        )
    if port.host_ip == "::1" and not bridge.reaches_loopback6():
        raise Unsupported(
            "cannot publish on [::1] while net.bridge.bridge-nf-call-ip6tables is 1; use 127.0.0.1, or set it to 0"
        )
    return (port.host_ip,)


def hold_more(
    networks: Networks, container_id: str, ports: Sequence[PortMapping]
) -> tuple[tuple[PortMapping, ...], tuple[int, ...]]:
    """Of the ports that a running container is to publish, the mappings for a family in which it has had no way out
    until now, and the sockets that keep them from others; their rows are written and lead nowhere. Raises Conflict."""
    here = networks.endpoints(container_id)
    known = {network.id: network for network in networks.known()}
    where = [known[one.network] for one in here]
    way, way6 = ways(where, here, bridged=True)
    bound = where[way].settings.host_address if way >= 0 else ""
    held = rows.published(networks.store.db, "WHERE container = ?", container_id)
    found: list[PortMapping] = []
    reserved: list[int] = []
    taken: set[tuple[str, int]] = set()
    try:
        for port in ports:
            its = _of_mapping(port, held, taken)
            families = {":" in row.host_ip for row in its}
            try:
                hosts = _hosts(port, way >= 0, way6 >= 0, bound, "")
            except Unsupported:
                continue  # an address of a family that it still lacks
            missing = [host for host in hosts if (":" in host) not in families]
            if missing:
                asked = port._replace(host_port=its[0].host_port, last_host_port=0) if its else port
                number, fds = reserve(asked, missing)
                reserved += fds
                found += [port._replace(host_ip=host, host_port=number, last_host_port=0) for host in missing]
        stale = rows.record_waiting(networks.store, container_id, found)
        if stale and networks.firewall.exists():
            with networks.locked("network", shared=True):
                networks.firewall.change(remove=stale, add=())
    except BaseException:
        for fd in reserved:
            os.close(fd)
        raise
    return tuple(found), tuple(reserved)


def _of_mapping(port: PortMapping, held: Sequence[Published], taken: set[tuple[str, int]]) -> list[Published]:
    """What is published for a mapping already: of those that would do the first that no other mapping has taken."""
    last = max(port.host_port, port.last_host_port)
    for row in held:
        key = (row.protocol, row.host_port)
        fits = not port.host_port or port.host_port <= row.host_port <= last
        if (
            (row.protocol, row.container_port) == (port.protocol, port.container_port)
            and fits
            and key not in taken
        ):
            taken.add(key)
            return [one for one in held if (one.protocol, one.host_port) == key]
    return []


def publish(networks: Networks, network: Network, endpoint: Endpoint, stale: list[Published]) -> None:
    """Have the endpoint's ports lead to it, and those of `stale` nowhere any more."""
    ports = [
        Published(port.protocol, port.host_ip, port.host_port, endpoint.at(port.host_ip), port.container_port)
        for port in endpoint.ports
    ]
    open_loopback(network, ports)
    with networks.locked("network", shared=True):
        networks.firewall.change(remove=stale, add=ports)
    forget(ports)


def open_loopback(network: Network, ports: Iterable[Published]) -> None:
    """Let this machine reach these ports, which are of containers on that network, by its loopback addresses."""
    families = {":" in port.host_ip for port in ports}
    if False in families and network.subnet:
        bridge.allow_loopback(network.bridge)
    if True in families and network.subnet6:
        bridge.allow_loopback6(network.bridge)


def warn(networks: Networks, ports: Sequence[PortMapping]) -> list[str]:
    """What the user should know about these ports."""
    from tiffin.network import notices

    return notices.of_ports(networks.store.layout, ports)


def withdraw(networks: Networks, container_id: str) -> None:
    """Have the container's ports lead nowhere; its rows stay. Idempotent."""
    its = rows.published(networks.store.db, f"{rows.IN_PLACE} AND container = ?", container_id)
    if not its:
        return
    with networks.locked("network", shared=True):
        if networks.firewall.exists():
            networks.firewall.change(remove=its, add=())
    forget(its)
