"""Containers that join and leave networks while they run."""

from __future__ import annotations

import json

from tiffin.errors import Conflict, NotFound
from tiffin.kernel import netlink
from tiffin.network import bridge, rows
from tiffin.network.conntrack import forget
from tiffin.network.manager import Networks, undo
from tiffin.network.records import Endpoint, Join, PortMapping


def join(networks: Networks, container_id: str, netns_fd: int, wanted: Join) -> Endpoint:
    """See Networks.join."""
    with (
        networks.locked("connect"),
        networks.locked("endpoints", shared=True),
        netlink.Socket() as host,
    ):
        network, link = networks.ensure(host, (wanted,))[0]
        others = networks.endpoints(container_id)
        if any(other.network == network.id for other in others):
            raise Conflict(f"container is already in network {network.name}")
        taken = {other.interface for other in others}
        number = next(n for n in range(len(taken) + 1) if f"eth{n}" not in taken)
        bridge.forward_packets()
        endpoint, _ = rows.record(networks.store, network, container_id, wanted, number, ())
        try:
            with bridge.socket_in(netns_fd) as inside:
                bridge.plug(host, link, inside, netns_fd, endpoint, network)
                _settle(networks, host, inside, container_id)
        except BaseException as error:
            undo(error, lambda: _unplug(networks, host, endpoint))
            raise
    return endpoint


def leave(networks: Networks, container_id: str, netns_fd: int, network_id: str) -> None:
    """See Networks.leave."""
    with (
        networks.locked("connect"),
        networks.locked("endpoints", shared=True),
        netlink.Socket() as host,
    ):
        for endpoint in networks.endpoints(container_id):
            if endpoint.network == network_id:
                break
        else:
            raise NotFound(f"container {container_id} is not connected to the network {network_id}")
        _unplug(networks, host, endpoint)
        with bridge.socket_in(netns_fd) as inside:
            _settle(networks, host, inside, container_id)


def _unplug(networks: Networks, host: netlink.Socket, endpoint: Endpoint) -> None:
    if host.link(endpoint.veth) is not None:
        host.run(netlink.delete_link(endpoint.veth))
    rows.remove_endpoint(networks.store, endpoint)


def _settle(networks: Networks, host: netlink.Socket, inside: netlink.Socket, container_id: str) -> None:
    """After a container's networks changed: its default route and its ports follow its first network with a way
    out. Without one, the ports wait for the next."""
    here = networks.endpoints(container_id)
    known = {network.id: network for network in networks.known()}
    way = next((one for one in here if not known[one.network].settings.internal), None)
    bridge.route_by(inside, way.gateway if way else "")
    its = rows.published(networks.store.db, "WHERE container = ?", container_id)
    address = way.address if way else ""
    if not its or its[0].container_ip == address:
        return
    ports = [PortMapping(row.host_ip, row.host_port, row.container_port, row.protocol) for row in its]
    with networks.store.transaction() as db:
        db.execute("UPDATE endpoints SET ports = '[]' WHERE container = ?", (container_id,))
        change = "UPDATE published_ports SET container_ip = ? WHERE container = ?"
        db.execute(change, (address, container_id))
        if way:
            change = "UPDATE endpoints SET ports = ? WHERE container = ? AND network = ?"
            db.execute(change, (json.dumps(ports), container_id, way.network))
    if way:
        bridge.allow_loopback(known[way.network].bridge)
        link = host.link(way.veth)
        if link is not None:
            host.run(netlink.set_hairpin(link.ifindex))
    moved = [row._replace(container_ip=address) for row in its] if way else []
    with networks.locked("network", shared=True):
        networks.firewall.change(remove=[row for row in its if row.container_ip], add=moved)
    forget(its)
