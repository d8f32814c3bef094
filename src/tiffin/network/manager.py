"""Networks: attaching containers to them and taking that down again.

    networks = Networks(store)
    attachment = networks.attach(container_id, "bridge", parse_publish("8080:80"))
    ...           # start the container in attachment.netns_fd; hold attachment.reserved while it runs
    networks.detach(container_id)

Rows come first: an endpoint's row, and one row a published port, are committed before its interface and
firewall elements are made, so that whoever comes next can take them down. The interfaces live and end with the
network namespace; `detach` removes the rest. Two locks in the engine's run directory order processes:
`network.lock` (shared to change the firewall's elements; exclusive to make a bridge or the firewall's table)
and `endpoints.lock` (shared to attach; exclusive to look for what was left behind).
"""

from __future__ import annotations

import json
import os
import time
from contextlib import contextmanager

from tiffin.errors import Conflict, EngineError, NotFound, PermissionDenied, TiffinError
from tiffin.kernel import netlink
from tiffin.network import addresses, bridge
from tiffin.network.conntrack import forget
from tiffin.network.firewall import Firewall
from tiffin.network.ports import reserve
from tiffin.network.records import (
    UNADDRESSED,
    Attachment,
    Endpoint,
    Network,
    PortMapping,
    Published,
    is_attached,
    unaddressed,
)
from tiffin.state import lock_file
from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Collection, Iterator, Sequence

    from tiffin.state import Store

DEFAULT_NETWORK = "bridge"


class Networks:
    """The networks of one engine. Not thread safe, as the store is not."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._engine = store.layout.engine
        self._firewall = Firewall(self._engine)

    def known(self) -> list[Network]:
        """Every network that has a row; "none" and "host" have none."""
        return [Network(*row) for row in self._store.db.execute(f"{_SELECT_NETWORKS} ORDER BY name")]

    def ensure_default(self) -> Network:
        """The default network, its bridge made and up, its rules in place. Idempotent."""
        with netlink.Socket() as host:
            return self._ensure(host)[0]

    def attach(
        self, container_id: str, network: str = DEFAULT_NETWORK, ports: Sequence[PortMapping] = ()
    ) -> Attachment:
        """Give a container its network namespace in `network`: an address, a route, its ports published.

        `container_id` names the owner in every row; what an earlier attachment of the same owner left is
        taken down first. Leaves nothing when it fails. Raises NotFound (no such network), Unsupported (no
        nft), Conflict (a port is taken: "Bind for IP:PORT failed: port is already allocated"; no address is free).
        """
        if network in UNADDRESSED:
            return unaddressed(network, ports)
        if network not in ("default", DEFAULT_NETWORK):
            raise NotFound(f"network {network} not found; use bridge, host or none")
        self.detach(container_id)
        reserved: list[int] = []
        try:
            resolved: list[PortMapping] = []
            for mapping in ports:
                got, fd = reserve(mapping)
                reserved.append(fd)
                resolved.append(got)
            return self._attach(container_id, tuple(resolved), tuple(reserved))
        except BaseException as error:
            for fd in reserved:
                os.close(fd)
            _undo(error, lambda: self.detach(container_id))
            raise

    def _attach(
        self, container_id: str, ports: tuple[PortMapping, ...], reserved: tuple[int, ...]
    ) -> Attachment:
        try:
            with self._lock("endpoints", shared=True), netlink.Socket() as host:
                network, link = self._ensure(host)
                endpoint, stale = self._record(network, container_id, ports)
                notice = bridge.forward_packets()
                netns_fd = bridge.connect(host, link, endpoint)
                try:
                    if ports:
                        self._publish(network, endpoint, stale)
                except BaseException:
                    os.close(netns_fd)
                    raise
        except OSError as error:
            if isinstance(error, PermissionError):
                raise PermissionDenied(f"cannot make a network: {error}; run as root") from error
            raise EngineError(f"cannot make a network: {error}") from error
        return Attachment(
            netns_fd,
            endpoint.address,
            endpoint.prefix,
            endpoint.gateway,
            endpoint.mac,
            ports,
            reserved,
            (notice,) if notice else (),
        )

    def detach(self, container_id: str) -> None:
        """Withdraw a container's ports and give up its address. Idempotent, also after a crash of whoever
        attached it. Its interfaces end with its namespace: the kernel needs 20 ms for that, nobody waits."""
        if not is_attached(self._store.db, container_id):
            return
        published = self._published("WHERE container = ?", container_id)
        if published:
            with self._lock("network", shared=True):
                if self._firewall.exists():
                    self._firewall.change(remove=published, add=())
            forget(published)
        with self._store.transaction() as db:
            db.execute("DELETE FROM published_ports WHERE container = ?", (container_id,))
            db.execute("DELETE FROM endpoints WHERE container = ?", (container_id,))

    def endpoint(self, container_id: str) -> Endpoint | None:
        """Where a running container is in its network; None for one that is not attached."""
        rows = self._store.db.execute(
            "SELECT container, network, address, prefix, gateway, mac, veth, ports FROM endpoints "
            "WHERE container = ?",
            (container_id,),
        )
        row = rows.fetchone()
        return Endpoint._make([*row[:7], _decode_ports(row[7])]) if row else None

    def reconcile(self, live_ids: Collection[str]) -> list[str]:
        """Take down what dead owners left, and put the firewall back if somebody flushed it. Returns the
        owners taken down. An owner counts as alive when it is in `live_ids`, or while its interface exists,
        which is as long as its namespace: a build's step has no container row. Skipped while anybody
        attaches."""
        fd = lock_file(f"{self._store.layout.run}/endpoints.lock", wait=False)
        if fd < 0:
            return []
        dead: list[str] = []
        try:
            rows = self._store.db.execute("SELECT container, veth FROM endpoints").fetchall()
            with netlink.Socket() as host:
                dead = [c for c, veth in rows if c not in live_ids and host.link(veth) is None]
                for container_id in dead:
                    self.detach(container_id)
                if len(dead) < len(rows):
                    self._ensure(host)
        finally:
            os.close(fd)
        return dead

    def teardown(self) -> None:
        """Remove every bridge, rule and row of this engine. Idempotent. Raises Conflict while a container is
        attached."""
        with self._lock("endpoints"), self._lock("network"):
            row = self._store.db.execute("SELECT container FROM endpoints LIMIT 1").fetchone()
            if row:
                raise Conflict(f"network {DEFAULT_NETWORK} is in use by {row[0]}; stop it first")
            self._firewall.delete()
            with netlink.Socket() as host:
                for network in self.known():
                    if host.link(network.bridge) is not None:
                        host.run(netlink.delete_link(network.bridge))
            with self._store.transaction() as db:
                db.execute("DELETE FROM published_ports")
                db.execute("DELETE FROM networks")

    # Networks and their bridges

    def _ensure(self, host: netlink.Socket) -> tuple[Network, netlink.Link]:
        """The default network with its bridge up and its rules in place: two messages when all is well."""
        network = self._find(DEFAULT_NETWORK)
        link = host.link(network.bridge) if network else None
        if network is not None and link is not None and link.up and self._firewall.in_place([network]):
            return network, link
        with self._lock("network"):
            network, link = self._make(host)
            if not self._firewall.in_place([network]):
                self._firewall.replace([network], self._published())
        return network, link

    def _make(self, host: netlink.Socket) -> tuple[Network, netlink.Link]:
        network = self._find(DEFAULT_NETWORK)
        link = host.link(network.bridge) if network else None
        if network is not None and link is not None and link.up:
            return network, link
        for attempt in range(8):
            network = self._place(host, network, attempt)
            link = bridge.make(host, network)
            own = addresses.parse_subnet(network.subnet)
            used = bridge.used_subnets(host, network.bridge)
            # Another engine may have chosen at the same moment: whoever comes second sees the other.
            if self._attached() or not any(own.overlaps(other) for other in used):
                return network, link
            host.run(netlink.delete_link(network.bridge))
        raise EngineError("no subnet for the bridge: others take each one that is chosen; try again")

    def _place(self, host: netlink.Socket, network: Network | None, attempt: int) -> Network:
        """The row of the default network, its subnet chosen, or chosen anew when the host got a route to it
        since and no container stands in it."""
        name = f"tfn{self._engine}"
        used = bridge.used_subnets(host, name)
        if network is not None:
            own = addresses.parse_subnet(network.subnet)
            if self._attached() or not any(own.overlaps(other) for other in used):
                return network
        chosen = addresses.choose_subnet(used, int(self._engine, 16), attempt)
        gateway = addresses.to_text(chosen.base + 1)
        made = Network(
            os.urandom(32).hex(), DEFAULT_NETWORK, "bridge", name, str(chosen), gateway, time.time_ns()
        )
        with self._store.transaction() as db:
            db.execute("DELETE FROM networks WHERE name = ?", (DEFAULT_NETWORK,))
            db.execute(
                "INSERT INTO networks (id, name, driver, bridge, subnet, gateway, created, detail) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, '{}')",
                made,
            )
        return made

    def _find(self, name: str) -> Network | None:
        row = self._store.db.execute(f"{_SELECT_NETWORKS} WHERE name = ?", (name,)).fetchone()
        return Network(*row) if row else None

    def _attached(self) -> bool:
        return self._store.db.execute("SELECT 1 FROM endpoints LIMIT 1").fetchone() is not None

    # Endpoints and their ports

    def _record(
        self, network: Network, container_id: str, ports: tuple[PortMapping, ...]
    ) -> tuple[Endpoint, list[Published]]:
        """Write the rows of an endpoint; also returns published rows that stood in the way. We hold those
        ports' sockets, so whoever wrote them is gone."""
        own = addresses.parse_subnet(network.subnet)
        with self._store.transaction() as db:
            address = _next_address(db, network, own)
            endpoint = Endpoint(
                container_id,
                network.id,
                address,
                own.prefix,
                network.gateway,
                addresses.mac_for(address),
                f"tv{os.urandom(5).hex()}",
                ports,
            )
            db.execute(
                "INSERT INTO endpoints (container, network, address, prefix, gateway, mac, veth, ports) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (*endpoint[:7], json.dumps(ports)),
            )
            stale: list[Published] = []
            for port in ports:
                key = (port.protocol, port.host_ip, port.host_port)
                stale += self._published("WHERE protocol = ? AND host_ip = ? AND host_port = ?", *key)
                db.execute(
                    "INSERT OR REPLACE INTO published_ports "
                    "(protocol, host_ip, host_port, container, container_ip, container_port) "
                    "VALUES (?, ?, ?, ?, ?, ?)",
                    (*key, container_id, address, port.container_port),
                )
        return endpoint, stale

    def _publish(self, network: Network, endpoint: Endpoint, stale: list[Published]) -> None:
        bridge.allow_loopback(network.bridge)
        ports = [
            Published(port.protocol, port.host_ip, port.host_port, endpoint.address, port.container_port)
            for port in endpoint.ports
        ]
        with self._lock("network", shared=True):
            self._firewall.change(remove=stale, add=ports)
        forget(ports)

    def _published(self, where: str = "", *values: object) -> list[Published]:
        rows = self._store.db.execute(f"{_SELECT_PUBLISHED} {where}", values)
        return [Published(*row) for row in rows]

    @contextmanager
    def _lock(self, name: str, *, shared: bool = False) -> Iterator[None]:
        fd = lock_file(f"{self._store.layout.run}/{name}.lock", shared=shared)
        try:
            yield
        finally:
            os.close(fd)


_SELECT_PUBLISHED = "SELECT protocol, host_ip, host_port, container_ip, container_port FROM published_ports"
_SELECT_NETWORKS = "SELECT id, name, driver, bridge, subnet, gateway, created FROM networks"


def _next_address(db: sqlite3.Connection, network: Network, own: addresses.Subnet) -> str:
    """The free address after the one given last, round and round, so that an address rests before its next
    use. Remembered in the network's row."""
    (detail,) = db.execute("SELECT detail FROM networks WHERE id = ?", (network.id,)).fetchone()
    known = json.loads(detail)
    usable = own.size - 3  # not the subnet's own, the gateway's, the broadcast address
    last = int(known.get("last", 0))
    for step in range(usable):
        number = (last + step) % usable
        address = addresses.to_text(own.base + 2 + number)
        found = db.execute("SELECT 1 FROM endpoints WHERE network = ? AND address = ?", (network.id, address))
        if found.fetchone() is None:
            known["last"] = number + 1
            db.execute("UPDATE networks SET detail = ? WHERE id = ?", (json.dumps(known), network.id))
            return address
    raise Conflict(f"no free address in network {network.name} ({network.subnet}); remove a container")


def _decode_ports(text: str) -> tuple[PortMapping, ...]:
    return tuple(PortMapping(*fields) for fields in json.loads(text))


def _undo(error: BaseException, step: Callable[[], None]) -> None:
    """Run a clean-up step while `error` is on its way; what fails in it becomes a note of `error`."""
    try:
        step()
    except (TiffinError, OSError) as failure:
        error.add_note(f"while undoing: {failure}")
