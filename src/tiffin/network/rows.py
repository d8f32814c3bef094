"""The rows of networks, endpoints and published ports: read, written, told as events."""

from __future__ import annotations

import os

from tiffin import jsontext as json
from tiffin.network import addresses
from tiffin.network.choose import choose_address
from tiffin.network.records import DEFAULT_NETWORK, Endpoint, Join, Network, PortMapping, Published
from tiffin.state.events import emit
from tiffin.typed import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from tiffin.state import Store

_SELECT_PUBLISHED = "SELECT protocol, host_ip, host_port, container_ip, container_port FROM published_ports"
_SELECT_NETWORKS = (
    "SELECT id, name, driver, bridge, subnet, gateway, created, options, subnet6, gateway6 FROM networks"
)
_SELECT_ENDPOINTS = (
    "SELECT container, network, address, prefix, gateway, mac, veth, ports, interface, aliases, "
    "address6, prefix6, gateway6, gw_priority FROM endpoints"
)
IN_PLACE = "WHERE container_ip != ''"
"""The published ports that lead somewhere: others wait for a network with a way out."""


def networks(db: sqlite3.Connection) -> list[Network]:
    """Every network that has a row, by name."""
    return [Network(*row) for row in db.execute(f"{_SELECT_NETWORKS} ORDER BY name")]


def default_network(db: sqlite3.Connection) -> Network | None:
    row = db.execute(f"{_SELECT_NETWORKS} WHERE name = ?", (DEFAULT_NETWORK,)).fetchone()
    return Network(*row) if row else None


def write_network(db: sqlite3.Connection, network: Network) -> None:
    """Add a network's row; within the caller's transaction."""
    db.execute(
        "INSERT INTO networks (id, name, driver, bridge, subnet, gateway, created, options, "
        "subnet6, gateway6, detail) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, '{}')",
        network,
    )


def has_members(db: sqlite3.Connection, network_id: str) -> bool:
    query = "SELECT 1 FROM endpoints WHERE network = ? LIMIT 1"
    return db.execute(query, (network_id,)).fetchone() is not None


def endpoints_of(db: sqlite3.Connection, container_id: str) -> list[Endpoint]:
    """Where a running container is, in the order of its interfaces."""
    rows = db.execute(
        f"{_SELECT_ENDPOINTS} WHERE container = ? ORDER BY length(interface), interface", (container_id,)
    )
    return [_decode_endpoint(row) for row in rows]


def members(db: sqlite3.Connection, network_id: str) -> list[Endpoint]:
    """The running containers' places in a network."""
    return [
        _decode_endpoint(row) for row in db.execute(f"{_SELECT_ENDPOINTS} WHERE network = ?", (network_id,))
    ]


def published(db: sqlite3.Connection, where: str = IN_PLACE, *values: object) -> list[Published]:
    return [Published(*row) for row in db.execute(f"{_SELECT_PUBLISHED} {where}", values)]


def record(
    store: Store,
    network: Network,
    container_id: str,
    join: Join,
    number: int,
    ports: tuple[PortMapping, ...],
) -> tuple[Endpoint, list[Published]]:
    """Write the rows of an endpoint; also returns published rows that stood in the way. We hold those
    ports' sockets, so whoever wrote them is gone."""
    internal = network.settings.internal
    with store.transaction() as db:
        address, prefix = choose_address(db, network, 32, join.address)
        address6, prefix6 = choose_address(db, network, 128, join.address6)
        endpoint = Endpoint(
            container_id,
            network.id,
            address,
            prefix,
            "" if internal else network.gateway,
            join.mac or addresses.mac_for(address or address6),
            f"tv{os.urandom(5).hex()}",
            ports,
            f"eth{number}",
            join.aliases,
            address6,
            prefix6,
            "" if internal else network.gateway6,
            join.gw_priority,
        )
        db.execute(
            "INSERT INTO endpoints "
            "(container, network, address, prefix, gateway, mac, veth, ports, interface, aliases, "
            "address6, prefix6, gateway6, gw_priority) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (*endpoint[:7], json.dumps(ports), endpoint.interface, json.dumps(join.aliases), *endpoint[10:]),
        )
        _tell(db, "connect", endpoint)
        stale: list[Published] = []
        for port in ports:
            stale += _write_port(db, container_id, port, endpoint.at(port.host_ip))
    return endpoint, stale


def record_waiting(store: Store, container_id: str, ports: Sequence[PortMapping]) -> list[Published]:
    """Write the rows of ports that lead nowhere yet; returns those that stood in the way, as `record` does."""
    stale: list[Published] = []
    with store.transaction() as db:
        for port in ports:
            stale += [row for row in _write_port(db, container_id, port, "") if row.container_ip]
    return stale


def remove_ports(store: Store, container_id: str, ports: Sequence[PortMapping]) -> None:
    """These ports of a container's are free again."""
    with store.transaction() as db:
        for port in ports:
            key = (container_id, port.protocol, port.host_ip, port.host_port)
            db.execute(
                "DELETE FROM published_ports"
                " WHERE container = ? AND protocol = ? AND host_ip = ? AND host_port = ?",
                key,
            )


def _write_port(
    db: sqlite3.Connection, container_id: str, port: PortMapping, container_ip: str
) -> list[Published]:
    """Its row, in the place of those that are returned."""
    key = (port.protocol, port.host_ip, port.host_port)
    stale = published(db, "WHERE protocol = ? AND host_ip = ? AND host_port = ?", *key)
    db.execute(
        "INSERT OR REPLACE INTO published_ports "
        "(protocol, host_ip, host_port, container, container_ip, container_port) "
        "VALUES (?, ?, ?, ?, ?, ?)",
        (*key, container_id, container_ip, port.container_port),
    )
    return stale


def remove_endpoint(store: Store, endpoint: Endpoint) -> None:
    """A container has left one network."""
    with store.transaction() as db:
        _tell(db, "disconnect", endpoint)
        key = (endpoint.container, endpoint.network)
        db.execute("DELETE FROM endpoints WHERE container = ? AND network = ?", key)


def remove_container(store: Store, container_id: str) -> None:
    """A container has left all its networks, and its ports are free."""
    with store.transaction() as db:
        db.execute("DELETE FROM published_ports WHERE container = ?", (container_id,))
        for endpoint in endpoints_of(db, container_id):
            _tell(db, "disconnect", endpoint)
        db.execute("DELETE FROM endpoints WHERE container = ?", (container_id,))


def _tell(db: sqlite3.Connection, action: str, endpoint: Endpoint) -> None:
    """The event of a container's; a build's step is none."""
    row = db.execute("SELECT name, driver FROM networks WHERE id = ?", (endpoint.network,)).fetchone()
    query = "SELECT 1 FROM containers WHERE id = ?"
    if row is None or db.execute(query, (endpoint.container,)).fetchone() is None:
        return
    attributes = {"container": endpoint.container, "name": str(row[0]), "type": str(row[1])}
    emit(db, "network", action, endpoint.network, attributes)


def _decode_endpoint(row: Sequence[Any]) -> Endpoint:
    return Endpoint._make([*row[:7], _decode_ports(row[7]), row[8], tuple(json.loads(row[9])), *row[10:]])


def _decode_ports(text: str) -> tuple[PortMapping, ...]:
    return tuple(PortMapping(*fields) for fields in json.loads(text))
