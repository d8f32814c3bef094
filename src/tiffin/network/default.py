"""The default network: its row, which comes with its first use, and its bridge. Its subnet is ours to choose, and
chosen anew when the host got a route to it."""

from __future__ import annotations

import os
import time

from tiffin.errors import EngineError
from tiffin.kernel import netlink
from tiffin.network import addresses, bridge, rows
from tiffin.network.records import DEFAULT_NETWORK, Network
from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from tiffin.state import Store


def make(store: Store, host: netlink.Socket) -> tuple[Network, netlink.Link]:
    """The default network with its bridge up. The caller keeps others of this engine out."""
    network = rows.default_network(store.db)
    link = host.link(network.bridge) if network else None
    if network is not None and link is not None and link.up:
        return network, link
    for attempt in range(8):
        network = place(store, host, network, attempt)
        link = bridge.make(host, network)
        own = addresses.parse_subnet(network.subnet)
        used = bridge.used_subnets(host, network.bridge)
        # Another engine may have chosen at the same moment: whoever comes second sees the other.
        if rows.has_members(store.db, network.id) or not any(own.overlaps(other) for other in used):
            return network, link
        host.run(netlink.delete_link(network.bridge))
    raise EngineError("no subnet for the bridge: others take each one that is chosen; try again")


def place(store: Store, host: netlink.Socket, network: Network | None, attempt: int) -> Network:
    """The row of the default network, its subnet chosen, or chosen anew when the host got a route to it
    since and no container stands in it."""
    engine = store.layout.engine
    name = f"tfn{engine}"
    used = bridge.used_subnets(host, name)
    others = [one for one in rows.networks(store.db) if one.name != DEFAULT_NETWORK]
    used += [addresses.parse_subnet(one.subnet) for one in others if one.subnet]
    if network is not None:
        own = addresses.parse_subnet(network.subnet)
        if rows.has_members(store.db, network.id) or not any(own.overlaps(other) for other in used):
            return network
    chosen = addresses.choose_subnet(used, int(engine, 16), attempt)
    gateway = addresses.to_text(chosen.base + 1)
    identity = network.id if network else os.urandom(32).hex()
    made = Network(identity, DEFAULT_NETWORK, "bridge", name, str(chosen), gateway, time.time_ns())
    with store.transaction() as db:
        db.execute("DELETE FROM networks WHERE name = ?", (DEFAULT_NETWORK,))
        rows.write_network(db, made)
    return made
