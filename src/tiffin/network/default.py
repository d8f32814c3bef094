"""The default network: its row, which comes with its first use, and its bridge. Its subnet is ours to choose, and
chosen anew when the host got a route to it. Whether it has IPv6 the settings file says: what is changed there counts
from the next container that comes while no other is in it."""

from __future__ import annotations

import os
import time

from tiffin.config import network_settings_of_ipv6
from tiffin.errors import EngineError, InvalidArgument
from tiffin.kernel import netlink
from tiffin.kernel import sockets as socket
from tiffin.network import addresses, bridge, rows
from tiffin.network.records import DEFAULT_NETWORK, Network
from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from tiffin.config import NetworkSettings
    from tiffin.state import Store


def make(store: Store, host: netlink.Socket) -> tuple[Network, netlink.Link]:
    """The default network with its bridge up. The caller keeps others of this engine out."""
    network = rows.default_network(store.db)
    link = host.link(network.bridge) if network else None
    if network is not None and link is not None and link.up and is_settled(store, network):
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


def is_settled(store: Store, network: Network) -> bool:
    """Whether the row is as the settings file has it, or has to stay as it is."""
    if rows.has_members(store.db, network.id):
        return True
    settings = network_settings_of_ipv6()
    if not settings.ipv6:
        return not network.subnet6
    return bool(network.subnet6) and _wanted(settings) in ("", network.subnet6)


def place(store: Store, host: netlink.Socket, network: Network | None, attempt: int) -> Network:
    """The row of the default network, its subnets chosen, or chosen anew when the host got a route to that of IPv4 or
    the settings file has changed since, and no container stands in it: then its bridge is removed."""
    engine = store.layout.engine
    name = f"tfn{engine}"
    used = bridge.used_subnets(host, name)
    others = [one for one in rows.networks(store.db) if one.name != DEFAULT_NETWORK]
    used += [addresses.parse_subnet(one.subnet) for one in others if one.subnet]
    free = True
    if network is not None:
        own = addresses.parse_subnet(network.subnet)
        free = not any(own.overlaps(other) for other in used)
        if rows.has_members(store.db, network.id) or (free and is_settled(store, network)):
            return network
    if network is not None and free:
        subnet, gateway = network.subnet, network.gateway
    else:
        chosen = addresses.choose_subnet(used, int(engine, 16), attempt)
        subnet, gateway = str(chosen), addresses.to_text(chosen.base + 1)
    subnet6, gateway6 = _place6(host, others, engine)
    identity = network.id if network else os.urandom(32).hex()
    made = Network(
        identity, DEFAULT_NETWORK, "bridge", name, subnet, gateway, time.time_ns(), "{}", subnet6, gateway6
    )
    if host.link(name) is not None:
        host.run(netlink.delete_link(name))
    with store.transaction() as db:
        db.execute("DELETE FROM networks WHERE name = ?", (DEFAULT_NETWORK,))
        rows.write_network(db, made)
    return made


def _place6(host: netlink.Socket, others: list[Network], engine: str) -> tuple[str, str]:
    """Its subnet and its bridge's address in IPv6; "" without. Raises InvalidArgument."""
    settings = network_settings_of_ipv6()
    if not settings.ipv6:
        return "", ""
    from tiffin.network.pools import site_of

    taken = [(addresses.parse_subnet(one.subnet6), one.name) for one in others if one.subnet6]
    if settings.fixed_cidr_v6:
        chosen = addresses.parse_subnet(_wanted(settings))
        for other, owner in taken:
            if chosen.overlaps(other):
                raise InvalidArgument(
                    f"network.fixed-cidr-v6 of the settings file: {chosen} overlaps {other} of network {owner}"
                )
    else:
        used = bridge.used_subnets(host, f"tfn{engine}", socket.AF_INET6)
        chosen = addresses.choose_subnet6([*used, *(subnet for subnet, _ in taken)], site_of(engine))
    return str(chosen), addresses.to_text(chosen.base + 1, chosen.bits)


def _wanted(settings: NetworkSettings) -> str:
    """`fixed-cidr-v6` in the form that is kept; "" for none. Raises InvalidArgument."""
    if not settings.fixed_cidr_v6:
        return ""
    try:
        found = addresses.parse_subnet(settings.fixed_cidr_v6)
        if found.bits == 128:
            return str(found)
        raise InvalidArgument(f"{found} is no IPv6 subnet; write it as fd00:1::/64")
    except InvalidArgument as error:
        raise InvalidArgument(f"network.fixed-cidr-v6 of the settings file: {error}") from error
