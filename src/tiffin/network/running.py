"""Containers that join and leave networks while they run."""

from __future__ import annotations

import os

from tiffin import jsontext as json
from tiffin.errors import Conflict, NotFound
from tiffin.kernel import netlink
from tiffin.network import bridge, publishing, rows
from tiffin.network.conntrack import forget
from tiffin.network.manager import Networks, undo
from tiffin.network.records import Endpoint, Join, PortMapping, Published, ways
from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def join(
    networks: Networks,
    container_id: str,
    netns_fd: int,
    wanted: Join,
    ports: Sequence[PortMapping] = (),
    hold: Callable[[Sequence[int]], bool] | None = None,
) -> tuple[str, ...]:
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
        notices = networks.forward(host, (network,), (wanted,))
        endpoint, _ = rows.record(networks.store, network, container_id, wanted, number, ())
        with bridge.socket_in(netns_fd) as inside:
            try:
                bridge.plug(host, link, inside, netns_fd, endpoint, network)
                if ports and hold is not None:
                    notices += _publish_more(networks, container_id, ports, hold)
                _settle(networks, host, inside, container_id)
            except BaseException as error:
                undo(error, lambda: _unplug(networks, host, inside, endpoint))
                undo(error, lambda: _settle(networks, host, inside, container_id))
                raise
    return notices


def _publish_more(
    networks: Networks, container_id: str, ports: Sequence[PortMapping], hold: Callable[[Sequence[int]], bool]
) -> tuple[str, ...]:
    """Have the rows of ports that the container can publish only now, and their sockets held for as long as it runs;
    what the user is to be told. Raises Conflict."""
    more, reserved = publishing.hold_more(networks, container_id, ports)
    try:
        if not reserved:
            return ()
        if hold(reserved):
            return tuple(publishing.warn(networks, more))
    finally:
        for fd in reserved:
            os.close(fd)
    rows.remove_ports(networks.store, container_id, more)
    return ("published ports are reached there when the container is started again",)


def leave(networks: Networks, container_id: str, netns_fd: int, network_id: str) -> None:
    """See Networks.leave."""
    networks.mend()  # its ports are taken out of the rules: somebody may have flushed those
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
        with bridge.socket_in(netns_fd) as inside:
            _unplug(networks, host, inside, endpoint)
            _settle(networks, host, inside, container_id)


def _unplug(networks: Networks, host: netlink.Socket, inside: netlink.Socket, endpoint: Endpoint) -> None:
    if host.link(endpoint.veth) is not None:
        host.run(netlink.delete_link(endpoint.veth))
    elif inside.link(endpoint.interface) is not None:  # of a driver without an end at the machine
        inside.run(netlink.delete_link(endpoint.interface))
    rows.remove_endpoint(networks.store, endpoint)


def _settle(networks: Networks, host: netlink.Socket, inside: netlink.Socket, container_id: str) -> None:
    """After a container's networks changed: its default routes and its ports follow, family by family, its first
    network with a way out. Without one, the ports wait for the next."""
    here = networks.endpoints(container_id)
    known = {network.id: network for network in networks.known()}
    where = [known[one.network] for one in here]
    way, way6 = (here[n] if n >= 0 else None for n in ways(where, here))
    bridge.route_by(inside, way.gateway if way else "", way6.gateway6 if way6 else "")
    way, way6 = (here[n] if n >= 0 else None for n in ways(where, here, bridged=True))
    its = rows.published(networks.store.db, "WHERE container = ?", container_id)
    moved = []
    for row in its:
        home = way6 if ":" in row.host_ip else way
        moved.append(row._replace(container_ip=home.at(row.host_ip) if home else ""))
    if moved == its:
        return
    with networks.store.transaction() as db:
        for row in moved:
            key = (row.protocol, row.host_ip, row.host_port)
            change = "UPDATE published_ports SET container_ip = ? "
            db.execute(
                f"{change} WHERE protocol = ? AND host_ip = ? AND host_port = ?", (row.container_ip, *key)
            )
        for one in here:
            ports = [_mapping(row) for row in moved if one is (way6 if ":" in row.host_ip else way)]
            change = "UPDATE endpoints SET ports = ? WHERE container = ? AND network = ?"
            db.execute(change, (json.dumps(ports), container_id, one.network))
    for one in dict.fromkeys(one for one in (way, way6) if one):
        link = host.link(one.veth)
        if link is not None:
            host.run(netlink.set_hairpin(link.ifindex))
        publishing.open_loopback(known[one.network], moved)
    gone = [row for row, now in zip(its, moved, strict=True) if row.container_ip and row != now]
    with networks.locked("network", shared=True):
        networks.firewall.change(remove=gone, add=[row for row in moved if row.container_ip])
    forget(its)


def _mapping(row: Published) -> PortMapping:
    return PortMapping(row.host_ip, row.host_port, row.container_port, row.protocol)
