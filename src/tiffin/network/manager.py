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
    ANY_ADDRESS,
    DEFAULT_NETWORK,
    UNADDRESSED,
    Attachment,
    Endpoint,
    Join,
    Network,
    PortMapping,
    Published,
    is_attached,
    unaddressed,
)
from tiffin.state import lock_file
from tiffin.state.events import emit
from tiffin.typed import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Collection, Iterator, Sequence

    from tiffin.state import Store

_DEFAULT_JOIN = Join(DEFAULT_NETWORK, DEFAULT_NETWORK)


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
            return self._ensure(host, (_DEFAULT_JOIN,))[0][0]

    def settle_default(self) -> Network:
        """The default network's row, its subnet chosen; its bridge comes with the first container. Idempotent."""
        found = self._find(DEFAULT_NETWORK)
        if found is not None:
            return found
        with self._lock("network"), netlink.Socket() as host:
            return self._place(host, self._find(DEFAULT_NETWORK), 0)

    def attach(
        self,
        container_id: str,
        network: str = DEFAULT_NETWORK,
        ports: Sequence[PortMapping] = (),
        joins: Sequence[Join] = (),
    ) -> Attachment:
        """Give a container its network namespace in `network`, or in the networks of `joins`: an interface, an address
        and a route in each, its ports published at its address in the first that has a way out.

        `container_id` names the owner in every row; what an earlier attachment of the same owner left is
        taken down first. Leaves nothing when it fails. Raises NotFound (no such network), Unsupported (no
        nft), Conflict (a port is taken: "Bind for IP:PORT failed: port is already allocated"; no address is free).
        """
        if not joins:
            if network in UNADDRESSED:
                return unaddressed(network, ports)
            if network not in ("default", DEFAULT_NETWORK):
                raise NotFound(f"network {network} not found")
            joins = (_DEFAULT_JOIN,)
        self.detach(container_id)
        reserved: list[int] = []
        try:
            resolved: list[PortMapping] = []
            for mapping in self._bound(ports, joins):
                got, fd = reserve(mapping)
                reserved.append(fd)
                resolved.append(got)
            return self._attach(container_id, joins, tuple(resolved), tuple(reserved))
        except BaseException as error:
            for fd in reserved:
                os.close(fd)
            _undo(error, lambda: self.detach(container_id))
            raise

    def _bound(self, ports: Sequence[PortMapping], joins: Sequence[Join]) -> list[PortMapping]:
        """The mappings with the address that the network has for those that name none; none without a way out."""
        if not ports or all(join.network == DEFAULT_NETWORK for join in joins):
            return list(ports)
        settings = [self.find(join).settings for join in joins]
        way = next((options for options in settings if not options.internal), None)
        if way is None:
            return []
        return [
            port._replace(host_ip=way.host_address)
            if way.host_address and port.host_ip == ANY_ADDRESS
            else port
            for port in ports
        ]

    def _attach(
        self,
        container_id: str,
        joins: Sequence[Join],
        ports: tuple[PortMapping, ...],
        reserved: tuple[int, ...],
    ) -> Attachment:
        netns_fd = -1
        try:
            with self._lock("endpoints", shared=True), netlink.Socket() as host:
                made = self._ensure(host, joins)
                notice = bridge.forward_packets()
                way = next((n for n, (network, _) in enumerate(made) if not network.settings.internal), 0)
                endpoints: list[Endpoint] = []
                for number, (network, link) in enumerate(made):
                    its = ports if number == way else ()
                    endpoint, stale = self._record(network, container_id, joins[number], number, its)
                    endpoints.append(endpoint)
                    if netns_fd < 0:
                        netns_fd = bridge.connect(host, link, endpoint, network)
                    else:
                        with bridge.socket_in(netns_fd) as inside:
                            bridge.plug(host, link, inside, netns_fd, endpoint, network)
                            if number == way:
                                inside.run(netlink.add_route(endpoint.gateway))
                    if its:
                        self._publish(network, endpoint, stale)
        except OSError as error:
            if netns_fd >= 0:
                os.close(netns_fd)
            if isinstance(error, PermissionError):
                raise PermissionDenied(f"cannot make a network: {error}; run as root") from error
            raise EngineError(f"cannot make a network: {error}") from error
        except BaseException:
            if netns_fd >= 0:
                os.close(netns_fd)
            raise
        named = any(join.network != DEFAULT_NETWORK for join in joins)
        if named:
            from tiffin.network.resolving import serve  # most containers have no names to ask for

            try:
                reserved = (*reserved, serve(self._store.layout, container_id, netns_fd))
            except BaseException:
                os.close(netns_fd)
                raise
        first = endpoints[way]
        return Attachment(
            netns_fd,
            first.address,
            first.prefix,
            first.gateway,
            first.mac,
            ports,
            reserved,
            (notice,) if notice else (),
            named,
        )

    def detach(self, container_id: str) -> None:
        """Withdraw a container's ports and give up its address. Idempotent, also after a crash of whoever
        attached it. Its interfaces end with its namespace: the kernel needs 20 ms for that, nobody waits."""
        if not is_attached(self._store.db, container_id):
            return
        published = self._published("WHERE container = ? AND container_ip != ''", container_id)
        if published:
            with self._lock("network", shared=True):
                if self._firewall.exists():
                    self._firewall.change(remove=published, add=())
            forget(published)
        with self._store.transaction() as db:
            db.execute("DELETE FROM published_ports WHERE container = ?", (container_id,))
            for endpoint in self.endpoints(container_id):
                _tell(db, "disconnect", endpoint)
            db.execute("DELETE FROM endpoints WHERE container = ?", (container_id,))

    def endpoint(self, container_id: str) -> Endpoint | None:
        """Where a running container is in its first network; None for one that is not attached."""
        return next(iter(self.endpoints(container_id)), None)

    def endpoints(self, container_id: str) -> list[Endpoint]:
        """Where a running container is, network by network, in the order of its interfaces."""
        rows = self._store.db.execute(
            f"{_SELECT_ENDPOINTS} WHERE container = ? ORDER BY length(interface), interface", (container_id,)
        )
        return [_decode_endpoint(row) for row in rows]

    def members(self, network_id: str) -> list[Endpoint]:
        """The running containers' places in a network."""
        rows = self._store.db.execute(f"{_SELECT_ENDPOINTS} WHERE network = ?", (network_id,))
        return [_decode_endpoint(row) for row in rows]

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
                alive = {c for c, veth in rows if c in live_ids or host.link(veth) is not None}
                dead = sorted({c for c, _ in rows} - alive)
                for container_id in dead:
                    self.detach(container_id)
            if alive:
                self.mend()
        finally:
            os.close(fd)
        return dead

    def mend(self) -> bool:
        """Put back the rules, when somebody flushed them, and the bridges of the networks that containers are in.
        Whether anything was missing; a few messages to the kernel when nothing is."""
        rows = self._store.db.execute("SELECT DISTINCT network FROM endpoints").fetchall()
        used = {str(network) for (network,) in rows}
        if not used:
            return False
        known = self.known()
        if any(network.id in used and network.name != DEFAULT_NETWORK for network in known):
            from tiffin.network.resolving import socket_to

            socket_to(self._store.layout).close()  # starts one if there is none
        with netlink.Socket() as host:
            links = [host.link(network.bridge) for network in known if network.id in used]
            if all(link is not None and link.up for link in links) and self._firewall.in_place(known):
                return False
            joins = [Join(network.id, network.name) for network in known if network.id in used]
            self._ensure(host, joins)
        return True

    def teardown(self) -> None:
        """Remove every bridge and rule of this engine, and the default network's row; networks that users made are
        made again when next needed. Idempotent. Raises Conflict while a container is attached."""
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
                db.execute("DELETE FROM networks WHERE name = ?", (DEFAULT_NETWORK,))

    # Networks and their bridges

    def _ensure(self, host: netlink.Socket, joins: Sequence[Join]) -> list[tuple[Network, netlink.Link]]:
        """The networks of `joins` with their bridges up and the rules in place: two messages when all is well.
        Raises NotFound for one that is no more."""
        known = self.known()
        found: list[tuple[Network, netlink.Link]] = []
        for join in joins:
            network = _among(known, join)
            link = host.link(network.bridge) if network else None
            if network is not None and link is not None and link.up:
                found.append((network, link))
        if len(found) == len(joins) and self._firewall.in_place(known):
            return found
        with self._lock("network"):
            found = [self._make_one(host, join) for join in joins]
            known = self.known()
            if not self._firewall.in_place(known):
                self._firewall.replace(known, self._published())
        return found

    def _make_one(self, host: netlink.Socket, join: Join) -> tuple[Network, netlink.Link]:
        if DEFAULT_NETWORK in (join.network, join.name):
            return self._make(host)
        network = self.find(join)
        link = host.link(network.bridge)
        return network, link if link is not None and link.up else bridge.make(host, network)

    def find(self, join: Join) -> Network:
        """The network that a container is to join: by its ID, else by its name, under which it may have been made
        again since. Raises NotFound."""
        if join.network == DEFAULT_NETWORK:
            return self.settle_default()
        network = _among(self.known(), join)
        if network is None:
            raise NotFound(f"network {join.name} not found")
        return network

    def apply_rules(self) -> None:
        """After a network was made or removed: what the kernel has follows. Nothing to do without a table: it comes
        with the first container."""
        with self._lock("network"):
            known = self.known()
            if self._firewall.exists() and not self._firewall.in_place(known):
                self._firewall.replace(known, self._published())

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
            if self._attached(network.id) or not any(own.overlaps(other) for other in used):
                return network, link
            host.run(netlink.delete_link(network.bridge))
        raise EngineError("no subnet for the bridge: others take each one that is chosen; try again")

    def _place(self, host: netlink.Socket, network: Network | None, attempt: int) -> Network:
        """The row of the default network, its subnet chosen, or chosen anew when the host got a route to it
        since and no container stands in it."""
        name = f"tfn{self._engine}"
        used = bridge.used_subnets(host, name)
        used += [addresses.parse_subnet(one.subnet) for one in self.known() if one.name != DEFAULT_NETWORK]
        if network is not None:
            own = addresses.parse_subnet(network.subnet)
            if self._attached(network.id) or not any(own.overlaps(other) for other in used):
                return network
        chosen = addresses.choose_subnet(used, int(self._engine, 16), attempt)
        gateway = addresses.to_text(chosen.base + 1)
        made = Network(
            network.id if network else os.urandom(32).hex(),
            DEFAULT_NETWORK,
            "bridge",
            name,
            str(chosen),
            gateway,
            time.time_ns(),
        )
        with self._store.transaction() as db:
            db.execute("DELETE FROM networks WHERE name = ?", (DEFAULT_NETWORK,))
            db.execute(
                "INSERT INTO networks (id, name, driver, bridge, subnet, gateway, created, options, detail) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?, '{}')",
                made,
            )
        return made

    def _find(self, name: str) -> Network | None:
        row = self._store.db.execute(f"{_SELECT_NETWORKS} WHERE name = ?", (name,)).fetchone()
        return Network(*row) if row else None

    def _attached(self, network_id: str) -> bool:
        query = "SELECT 1 FROM endpoints WHERE network = ? LIMIT 1"
        return self._store.db.execute(query, (network_id,)).fetchone() is not None

    # Endpoints and their ports

    def _record(
        self,
        network: Network,
        container_id: str,
        join: Join,
        number: int,
        ports: tuple[PortMapping, ...],
    ) -> tuple[Endpoint, list[Published]]:
        """Write the rows of an endpoint; also returns published rows that stood in the way. We hold those
        ports' sockets, so whoever wrote them is gone."""
        own = addresses.parse_subnet(network.subnet)
        with self._store.transaction() as db:
            address = _choose_address(db, network, own, join.address)
            endpoint = Endpoint(
                container_id,
                network.id,
                address,
                own.prefix,
                "" if network.settings.internal else network.gateway,
                join.mac or addresses.mac_for(address),
                f"tv{os.urandom(5).hex()}",
                ports,
                f"eth{number}",
                join.aliases,
            )
            db.execute(
                "INSERT INTO endpoints "
                "(container, network, address, prefix, gateway, mac, veth, ports, interface, aliases) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (*endpoint[:7], json.dumps(ports), endpoint.interface, json.dumps(join.aliases)),
            )
            _tell(db, "connect", endpoint)
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

    def join(self, container_id: str, netns_fd: int, join: Join) -> Endpoint:
        """Give a running container, whose network namespace is `netns_fd`, one more network. Nothing stays when it
        fails. Raises Conflict when it is in it, NotFound."""
        with self._lock("connect"), self._lock("endpoints", shared=True), netlink.Socket() as host:
            network, link = self._ensure(host, (join,))[0]
            others = self.endpoints(container_id)
            if any(other.network == network.id for other in others):
                raise Conflict(f"container is already in network {network.name}")
            taken = {other.interface for other in others}
            number = next(n for n in range(len(taken) + 1) if f"eth{n}" not in taken)
            bridge.forward_packets()
            endpoint, _ = self._record(network, container_id, join, number, ())
            try:
                with bridge.socket_in(netns_fd) as inside:
                    bridge.plug(host, link, inside, netns_fd, endpoint, network)
                    self._settle(host, inside, container_id)
            except BaseException as error:
                _undo(error, lambda: self._unplug(host, endpoint))
                raise
        return endpoint

    def leave(self, container_id: str, netns_fd: int, network_id: str) -> None:
        """Take a running container out of a network. Raises NotFound when it is not in it."""
        with self._lock("connect"), self._lock("endpoints", shared=True), netlink.Socket() as host:
            for endpoint in self.endpoints(container_id):
                if endpoint.network == network_id:
                    break
            else:
                raise NotFound(f"container {container_id} is not connected to the network {network_id}")
            self._unplug(host, endpoint)
            with bridge.socket_in(netns_fd) as inside:
                self._settle(host, inside, container_id)

    def _unplug(self, host: netlink.Socket, endpoint: Endpoint) -> None:
        if host.link(endpoint.veth) is not None:
            host.run(netlink.delete_link(endpoint.veth))
        with self._store.transaction() as db:
            _tell(db, "disconnect", endpoint)
            key = (endpoint.container, endpoint.network)
            db.execute("DELETE FROM endpoints WHERE container = ? AND network = ?", key)

    def _settle(self, host: netlink.Socket, inside: netlink.Socket, container_id: str) -> None:
        """After a container's networks changed: its default route and its ports follow its first network with a way
        out. Without one, the ports wait for the next."""
        here = self.endpoints(container_id)
        known = {network.id: network for network in self.known()}
        way = next((one for one in here if not known[one.network].settings.internal), None)
        bridge.route_by(inside, way.gateway if way else "")
        query = f"{_SELECT_PUBLISHED} WHERE container = ?"
        rows = [Published(*row) for row in self._store.db.execute(query, (container_id,))]
        address = way.address if way else ""
        if not rows or rows[0].container_ip == address:
            return
        ports = [PortMapping(row.host_ip, row.host_port, row.container_port, row.protocol) for row in rows]
        with self._store.transaction() as db:
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
        moved = [row._replace(container_ip=address) for row in rows] if way else []
        with self._lock("network", shared=True):
            self._firewall.change(remove=[row for row in rows if row.container_ip], add=moved)
        forget(rows)

    def _publish(self, network: Network, endpoint: Endpoint, stale: list[Published]) -> None:
        bridge.allow_loopback(network.bridge)
        ports = [
            Published(port.protocol, port.host_ip, port.host_port, endpoint.address, port.container_port)
            for port in endpoint.ports
        ]
        with self._lock("network", shared=True):
            self._firewall.change(remove=stale, add=ports)
        forget(ports)

    def _published(self, where: str = "WHERE container_ip != ''", *values: object) -> list[Published]:
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
_SELECT_NETWORKS = "SELECT id, name, driver, bridge, subnet, gateway, created, options FROM networks"
_SELECT_ENDPOINTS = (
    "SELECT container, network, address, prefix, gateway, mac, veth, ports, interface, aliases FROM endpoints"
)


def _among(known: Sequence[Network], join: Join) -> Network | None:
    if join.network == DEFAULT_NETWORK:
        return next((network for network in known if network.name == DEFAULT_NETWORK), None)
    by_name = next((network for network in known if network.name == join.name), None)
    return next((network for network in known if network.id == join.network), by_name)


def _choose_address(db: sqlite3.Connection, network: Network, own: addresses.Subnet, asked: str) -> str:
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


def _tell(db: sqlite3.Connection, action: str, endpoint: Endpoint) -> None:
    """The event of a container's; a build's step is none."""
    row = db.execute("SELECT name FROM networks WHERE id = ?", (endpoint.network,)).fetchone()
    query = "SELECT 1 FROM containers WHERE id = ?"
    if row is None or db.execute(query, (endpoint.container,)).fetchone() is None:
        return
    attributes = {"container": endpoint.container, "name": str(row[0]), "type": "bridge"}
    emit(db, "network", action, endpoint.network, attributes)


def _decode_endpoint(row: Sequence[Any]) -> Endpoint:
    return Endpoint._make([*row[:7], _decode_ports(row[7]), row[8], tuple(json.loads(row[9]))])


def _decode_ports(text: str) -> tuple[PortMapping, ...]:
    return tuple(PortMapping(*fields) for fields in json.loads(text))


def _undo(error: BaseException, step: Callable[[], None]) -> None:
    """Run a clean-up step while `error` is on its way; what fails in it becomes a note of `error`."""
    try:
        step()
    except (TiffinError, OSError) as failure:
        error.add_note(f"while undoing: {failure}")
