"""Publishing a container's ports: at which addresses, which host ports, and the firewall's elements."""

from __future__ import annotations

import os

from tiffin.network import bridge, rows
from tiffin.network.conntrack import forget
from tiffin.network.ports import reserve
from tiffin.network.records import (
    ANY_ADDRESS,
    DEFAULT_NETWORK,
    Endpoint,
    Join,
    Network,
    PortMapping,
    Published,
)
from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tiffin.network.manager import Networks


def hold(
    networks: Networks, ports: Sequence[PortMapping], joins: Sequence[Join]
) -> tuple[tuple[PortMapping, ...], tuple[int, ...]]:
    """The mappings with the host ports that they got, and the sockets that keep those from others. Raises Conflict."""
    resolved: list[PortMapping] = []
    reserved: list[int] = []
    try:
        for mapping in _bound(networks, ports, joins):
            got, fd = reserve(mapping)
            reserved.append(fd)
            resolved.append(got)
    except BaseException:
        for fd in reserved:
            os.close(fd)
        raise
    return tuple(resolved), tuple(reserved)


def _bound(networks: Networks, ports: Sequence[PortMapping], joins: Sequence[Join]) -> list[PortMapping]:
    """The mappings with the address that the network has for those that name none; none without a way out."""
    if all(join.network == DEFAULT_NETWORK for join in joins):
        return list(ports)
    settings = [networks.find(join).settings for join in joins]
    way = next((options for options in settings if not options.internal), None)
    if way is None:
        return []
    return [
        port._replace(host_ip=way.host_address) if way.host_address and port.host_ip == ANY_ADDRESS else port
        for port in ports
    ]


def publish(networks: Networks, network: Network, endpoint: Endpoint, stale: list[Published]) -> None:
    """Have the endpoint's ports lead to it, and those of `stale` nowhere any more."""
    bridge.allow_loopback(network.bridge)
    ports = [
        Published(port.protocol, port.host_ip, port.host_port, endpoint.address, port.container_port)
        for port in endpoint.ports
    ]
    with networks.locked("network", shared=True):
        networks.firewall.change(remove=stale, add=ports)
    forget(ports)


def withdraw(networks: Networks, container_id: str) -> None:
    """Have the container's ports lead nowhere; its rows stay. Idempotent."""
    its = rows.published(networks.store.db, f"{rows.IN_PLACE} AND container = ?", container_id)
    if not its:
        return
    with networks.locked("network", shared=True):
        if networks.firewall.exists():
            networks.firewall.change(remove=its, add=())
    forget(its)
