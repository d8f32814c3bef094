"""Links on the default network: lines in /etc/hosts, of a container that is being started and of those linked to it."""

from __future__ import annotations

import os

from tiffin.containers.states import LIVE
from tiffin.containers.store import Container, Containers
from tiffin.errors import Conflict, InvalidArgument
from tiffin.network import rows
from tiffin.network.links import Link, links_of
from tiffin.network.records import DEFAULT_NETWORK
from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from tiffin.containers.record import ContainerRecord
    from tiffin.state import Store

_LONGEST = 1 << 20


def lines(store: Store, record: ContainerRecord) -> list[tuple[str, str]]:
    """The names and the address of each container that this one is linked to. Raises Conflict when one does not run,
    InvalidArgument when it is not on the default network."""
    found = []
    for link in links_of(store.db, record.id):
        other = Containers(store).get(link.target) if link.network == DEFAULT_NETWORK else None
        if other is None:
            continue  # on another network, where the resolver knows it
        if other.status not in LIVE:
            raise Conflict(
                f"Cannot link to a non running container: /{other.name} AS /{record.name}/{link.alias}"
            )
        address = _address(store, other.id)
        if not address:
            raise InvalidArgument(
                f"Cannot link to /{other.name}, as it does not belong to the default network"
            )
        found.append((_names(link, other), address))
    return found


def tell(store: Store, record: ContainerRecord) -> None:
    """Have the running containers that are linked to this one find it at its new address."""
    address = _address(store, record.id)
    this = Containers(store).get(record.id)
    query = "SELECT container, network, alias, target FROM links WHERE target = ? AND network = ?"
    linked = store.db.execute(query, (record.id, DEFAULT_NETWORK)).fetchall()
    for container_id, *fields in linked if this is not None and address else ():
        other = Containers(store).get(container_id)
        if this is not None and other is not None and other.status in LIVE:
            _replace_line(
                f"{store.layout.container(container_id)}/hosts", _names(Link(*fields), this), address
            )


def _replace_line(path: str, names: str, address: str) -> None:
    """In place, since the container has this very file mounted; what else it wrote there stays."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        text = os.pread(fd, _LONGEST, 0).decode(errors="surrogateescape")
        kept = [line for line in text.splitlines() if line.partition("\t")[2] != names]
        content = "\n".join([*kept, f"{address}\t{names}", ""]).encode(errors="surrogateescape")
        os.pwrite(fd, content, 0)
        os.ftruncate(fd, len(content))
    finally:
        os.close(fd)


def _names(link: Link, other: Container) -> str:
    """As Docker orders them."""
    return " ".join(dict.fromkeys([link.alias, other.record.hostname, other.name]))


def _address(store: Store, container_id: str) -> str:
    default = rows.default_network(store.db)
    here = [one for one in rows.endpoints_of(store.db, container_id) if default and one.network == default.id]
    return here[0].address if here else ""
