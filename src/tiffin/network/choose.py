"""Choosing the address of a container in its network."""

from __future__ import annotations

import json

from tiffin.errors import Conflict
from tiffin.network import addresses
from tiffin.network.records import Network
from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    import sqlite3


def choose_address(db: sqlite3.Connection, network: Network, own: addresses.Subnet, asked: str) -> str:
    """The address that was asked for, or the free one after the one given last, round and round, so that an address
    rests before its next use. Remembered in the network's row."""
    settings = network.settings
    barred = {own.base, own.base + own.size - 1, addresses.to_number(network.gateway)}
    barred.update(addresses.to_number(address) for address in settings.auxiliary.values())
    if asked:
        if addresses.to_number(asked) in barred or _is_taken(db, network, asked):
            raise Conflict(f"Address already in use: {asked} in network {network.name}")
        return asked
    (detail,) = db.execute("SELECT detail FROM networks WHERE id = ?", (network.id,)).fetchone()
    known = json.loads(detail)
    pool = addresses.parse_subnet(settings.ip_range, longest=32) if settings.ip_range else own
    last = int(known.get("last", 0))
    for step in range(pool.size):
        number = (last + step) % pool.size
        address = addresses.to_text(pool.base + number)
        if pool.base + number in barred or _is_taken(db, network, address):
            continue
        known["last"] = number + 1
        db.execute("UPDATE networks SET detail = ? WHERE id = ?", (json.dumps(known), network.id))
        return address
    raise Conflict(
        f"no available IPv4 addresses on this network's address pools: {network.name} ({network.id})"
    )


def _is_taken(db: sqlite3.Connection, network: Network, address: str) -> bool:
    query = "SELECT 1 FROM endpoints WHERE network = ? AND address = ?"
    return db.execute(query, (network.id, address)).fetchone() is not None
