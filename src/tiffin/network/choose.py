"""Choosing the addresses of a container in its network."""

from __future__ import annotations

from tiffin import jsontext as json
from tiffin.errors import Conflict
from tiffin.network import addresses
from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    import sqlite3

    from tiffin.network.records import Network

_TAKEN = {
    32: "SELECT 1 FROM endpoints WHERE network = ? AND address = ?",
    128: "SELECT 1 FROM endpoints WHERE network = ? AND address6 = ?",
}
_MARKS = {32: "last", 128: "last6"}  # where the next search begins, in the network's detail


def choose_address(db: sqlite3.Connection, network: Network, bits: int, asked: str) -> tuple[str, int]:
    """The address of that family (32 or 128 bits wide) that was asked for, or the free one after the one given last,
    round and round, so that an address rests before its next use: remembered in the network's row. Also its prefix
    length. ("", 0) without such addresses. Raises Conflict."""
    subnet, gateway = (network.subnet, network.gateway) if bits == 32 else (network.subnet6, network.gateway6)
    if not subnet:
        return "", 0
    settings = network.settings
    own = addresses.parse_subnet(subnet)
    barred = {own.base, addresses.parse_address(gateway)[0]}
    if bits == 32:
        barred.add(own.base + own.size - 1)  # the broadcast address
    barred.update(addresses.parse_address(address)[0] for address in settings.auxiliary.values())
    if asked:
        if addresses.parse_address(asked)[0] in barred or _is_taken(db, network, bits, asked):
            raise Conflict(f"Address already in use: {asked} in network {network.name}")
        return asked, own.prefix
    (detail,) = db.execute("SELECT detail FROM networks WHERE id = ?", (network.id,)).fetchone()
    known = json.loads(detail)
    part = settings.ip_range if bits == 32 else settings.ip_range6
    pool = addresses.parse_subnet(part, longest=True) if part else own
    last = int(known.get(_MARKS[bits], 0))
    for step in range(pool.size):
        number = (last + step) % pool.size
        address = addresses.to_text(pool.base + number, bits)
        if pool.base + number in barred or _is_taken(db, network, bits, address):
            continue
        known[_MARKS[bits]] = number + 1
        db.execute("UPDATE networks SET detail = ? WHERE id = ?", (json.dumps(known), network.id))
        return address, own.prefix
    family = "IPv4" if bits == 32 else "IPv6"
    raise Conflict(
        f"no available {family} addresses on this network's address pools: {network.name} ({network.id})"
    )


def _is_taken(db: sqlite3.Connection, network: Network, bits: int, address: str) -> bool:
    return db.execute(_TAKEN[bits], (network.id, address)).fetchone() is not None
