"""Networks: attaching containers to them and taking that down again.

    networks = Networks(store)
    attachment = networks.attach(container_id, "bridge", parse_publish("8080:80"))
    ...           # start the container in attachment.netns_fd; hold attachment.reserved while it runs
    networks.detach(container_id)

Rows come first: an endpoint's row, and one row a published port, are committed before its interface and
firewall elements are made, so that whoever comes next can take them down. The interfaces live and end with the
network namespace; `detach` removes the rest. `rows` reads and writes the rows, `publishing` does ports, `running`
containers that join and leave while they run. Two locks in the engine's run directory order processes:
`network.lock` (shared to change the firewall's elements; exclusive to make a bridge or the firewall's table)
and `endpoints.lock` (shared to attach; exclusive to look for what was left behind).
"""

from __future__ import annotations

import os
from contextlib import ExitStack, contextmanager

from tiffin.errors import Conflict, EngineError, NotFound, PermissionDenied, TiffinError
from tiffin.kernel import netlink
from tiffin.network import bridge, rows
from tiffin.network.firewall import Firewall
from tiffin.network.records import (
    DEFAULT_NETWORK,
    UNADDRESSED,
    Attachment,
    Endpoint,
    Join,
    Network,
    PortMapping,
    is_attached,
    machine_in,
    unaddressed,
    ways,
)
from tiffin.state import lock_file
from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

    from tiffin.state import Store

_DEFAULT_JOIN = Join(DEFAULT_NETWORK, DEFAULT_NETWORK)


class Networks:
    """The networks of one engine. Not thread safe, as the store is not."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._engine = store.layout.engine
        self.firewall = Firewall(self._engine)
        self.notices: list[str] = []  # for the user, who is told when a container is attached

    def known(self) -> list[Network]:
        """Every network that has a row; "none" and "host" have none."""
        return rows.networks(self.store.db)

    def settle_default(self) -> Network:
        """The default network's row, its subnet chosen; its bridge comes with the first container. Idempotent."""
        from tiffin.network import default

        found = rows.default_network(self.store.db)
        if found is not None and default.is_settled(self.store, found):
            return found
        with self.locked("network"), netlink.Socket() as host:
            return default.place(self.store, host, rows.default_network(self.store.db), 0)

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
        reserved: tuple[int, ...] = ()
        try:
            resolved: tuple[PortMapping, ...] = ()
            if ports:
                from tiffin.network import publishing  # few containers publish ports: the others do not pay

                resolved, reserved = publishing.hold(self, ports, joins)
            return self._attach(container_id, joins, resolved, reserved)
        except BaseException as error:
            for fd in reserved:
                os.close(fd)
            undo(error, lambda: self.detach(container_id))
            raise

    def _attach(
        self,
        container_id: str,
        joins: Sequence[Join],
        ports: tuple[PortMapping, ...],
        reserved: tuple[int, ...],
    ) -> Attachment:
        with ExitStack() as failed:  # what is undone unless all of it is made
            try:
                with self.locked("endpoints", shared=True), netlink.Socket() as host:
                    netns_fd, endpoints, networks = self._connect(host, container_id, joins, ports, failed)
            except PermissionError as error:
                raise PermissionDenied(f"cannot make a network: {error}; run as root") from error
            except OSError as error:
                raise EngineError(f"cannot make a network: {error}") from error
            named = any(join.network != DEFAULT_NETWORK for join in joins)
            if named:
                from tiffin.network.resolving import serve  # most containers have no names to ask for

                reserved = (*reserved, serve(self.store.layout, container_id, netns_fd))
            failed.pop_all()
        way, way6 = ways(networks, joins)
        first, first6 = endpoints[max(way, 0)], endpoints[max(way6, 0)]
        return Attachment(
            netns_fd, first.address, first.prefix, first.gateway, first.mac, ports, reserved, self._tell(), named,
            first6.address6, first6.gateway6, machine_in(networks, joins),
        )  # fmt: skip

    def _connect(
        self,
        host: netlink.Socket,
        container_id: str,
        joins: Sequence[Join],
        ports: tuple[PortMapping, ...],
        failed: ExitStack,
    ) -> tuple[int, list[Endpoint], list[Network]]:
        """The namespace, which `failed` closes, with an interface in each network; the ports lead to it."""
        made = self.ensure(host, joins)
        networks = [network for network, _ in made]
        self.notices += self.forward(host, networks, joins)
        way, way6 = ways(networks, joins)
        port_way, port_way6 = ways(networks, joins, bridged=True)
        netns_fd = -1
        endpoints: list[Endpoint] = []
        for number, (network, link) in enumerate(made):
            its = tuple(port for port in ports if number == (port_way6 if ":" in port.host_ip else port_way))
            endpoint, stale = rows.record(self.store, network, container_id, joins[number], number, its)
            endpoints.append(endpoint)
            out = [endpoint.gateway] * (number == way) + [endpoint.gateway6] * (number == way6)
            if netns_fd < 0:
                netns_fd = bridge.connect(host, link, endpoint, network, out)
                failed.callback(os.close, netns_fd)
            else:
                with bridge.socket_in(netns_fd) as inside:
                    bridge.plug(host, link, inside, netns_fd, endpoint, network)
                    for gateway in out:
                        inside.run(netlink.add_route(gateway))
            if its:
                from tiffin.network import publishing

                publishing.publish(self, network, endpoint, stale)
                self.notices += publishing.warn(self, its)
        return netns_fd, endpoints, networks

    def forward(
        self, host: netlink.Socket, networks: Sequence[Network], joins: Sequence[Join]
    ) -> tuple[str, ...]:
        """Let this machine forward the packets of these networks; what the user is to be told of that."""
        way, way6 = ways(networks, joins, bridged=True)
        notices = [
            bridge.forward_packets() if way >= 0 else "",
            bridge.forward_packets6(host) if way6 >= 0 else "",
        ]
        return tuple(notice for notice in notices if notice)

    def _tell(self) -> tuple[str, ...]:
        told, self.notices = tuple(self.notices), []
        return told

    def detach(self, container_id: str) -> None:
        """Withdraw a container's ports and give up its address. Idempotent, also after a crash of whoever
        attached it. Its interfaces end with its namespace: the kernel needs 20 ms for that, nobody waits."""
        if not is_attached(self.store.db, container_id):
            return
        if rows.published(self.store.db, "WHERE container = ? LIMIT 1", container_id):
            from tiffin.network import publishing

            publishing.withdraw(self, container_id)
        rows.remove_container(self.store, container_id)

    def endpoint(self, container_id: str) -> Endpoint | None:
        """Where a running container is in its first network; None for one that is not attached."""
        return next(iter(self.endpoints(container_id)), None)

    def endpoints(self, container_id: str) -> list[Endpoint]:
        """Where a running container is, network by network, in the order of its interfaces."""
        return rows.endpoints_of(self.store.db, container_id)

    def members(self, network_id: str) -> list[Endpoint]:
        """The running containers' places in a network."""
        return rows.members(self.store.db, network_id)

    def join(
        self,
        container_id: str,
        netns_fd: int,
        wanted: Join,
        ports: Sequence[PortMapping] = (),
        hold: Callable[[Sequence[int]], bool] | None = None,
    ) -> tuple[str, ...]:
        """Give a running container, whose network namespace is `netns_fd`, one more network; what the user is to be
        told of that. `ports` are all that it is to publish: those for which it had no way out until now are published,
        their sockets kept by `hold`, which tells whether it will. Nothing stays when it fails. Raises Conflict when it
        is in it, or a port is taken; NotFound."""
        from tiffin.network import running

        return running.join(self, container_id, netns_fd, wanted, ports, hold)

    def leave(self, container_id: str, netns_fd: int, network_id: str) -> None:
        """Take a running container out of a network. Raises NotFound when it is not in it."""
        from tiffin.network import running

        running.leave(self, container_id, netns_fd, network_id)

    def reconcile(self, live_ids: Collection[str]) -> list[str]:
        """Take down what dead owners left, and put the firewall back if somebody flushed it. Returns the
        owners taken down. An owner counts as alive when it is in `live_ids`, or while its interface exists,
        which is as long as its namespace: a build's step has no container row. Skipped while anybody
        attaches."""
        fd = lock_file(f"{self.store.layout.run}/endpoints.lock", wait=False)
        if fd < 0:
            return []
        dead: list[str] = []
        try:
            held = self.store.db.execute("SELECT container, veth FROM endpoints").fetchall()
            with netlink.Socket() as host:
                alive = {c for c, veth in held if c in live_ids or host.link(veth) is not None}
                dead = sorted({c for c, _ in held} - alive)
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
        held = self.store.db.execute("SELECT DISTINCT network FROM endpoints").fetchall()
        used = {str(network) for (network,) in held}
        if not used:
            return False
        known = self.known()
        if any(network.id in used and network.name != DEFAULT_NETWORK for network in known):
            from tiffin.network.resolving import keep

            keep(self.store.layout)
        with netlink.Socket() as host:
            bridged = [one for one in known if one.id in used and one.driver == "bridge"]
            links = [host.link(network.bridge) for network in bridged]
            if all(link is not None and link.up for link in links) and self.firewall.in_place(known):
                return False
            self.ensure(host, [Join(network.id, network.name) for network in bridged])
        return True

    def teardown(self) -> None:
        """Remove every bridge and rule of this engine, and the default network's row; networks that users made are
        made again when next needed. Idempotent. Raises Conflict while a container is attached."""
        with self.locked("endpoints"), self.locked("network"):
            row = self.store.db.execute("SELECT container FROM endpoints LIMIT 1").fetchone()
            if row:
                raise Conflict(f"network {DEFAULT_NETWORK} is in use by {row[0]}; stop it first")
            self.firewall.delete()
            with netlink.Socket() as host:
                for network in self.known():
                    if not network.settings.borrowed and host.link(network.bridge) is not None:
                        host.run(netlink.delete_link(network.bridge))
            with self.store.transaction() as db:
                db.execute("DELETE FROM published_ports")
                db.execute("DELETE FROM networks WHERE name = ?", (DEFAULT_NETWORK,))

    # Networks and their bridges

    def ensure(self, host: netlink.Socket, joins: Sequence[Join]) -> list[tuple[Network, netlink.Link]]:
        """The networks of `joins` with their bridges up and the rules in place: two messages when all is well.
        Raises NotFound for one that is no more."""
        known = self.known()
        found: list[tuple[Network, netlink.Link]] = []
        for join in joins:
            network = _among(known, join)
            link = host.link(network.bridge) if network else None
            if network is not None and link is not None and link.up and self._is_settled(network):
                found.append((network, link))
        if len(found) == len(joins) and self.firewall.in_place(known):
            return found
        with self.locked("network"):
            found = [self._make_one(host, join) for join in joins]
            known = self.known()
            if not self.firewall.in_place(known):
                self._replace_rules(known)
        return found

    def _is_settled(self, network: Network) -> bool:
        if network.name != DEFAULT_NETWORK:
            return True
        from tiffin.network import default

        return default.is_settled(self.store, network)

    def _replace_rules(self, known: Sequence[Network]) -> None:
        self.firewall.replace(known, rows.published(self.store.db))
        from tiffin.network import notices  # with the rules, which are seldom made

        self.notices += notices.of_refusals(self.store.layout, self.firewall.table)

    def _make_one(self, host: netlink.Socket, join: Join) -> tuple[Network, netlink.Link]:
        if DEFAULT_NETWORK in (join.network, join.name):
            from tiffin.network import default

            return default.make(self.store, host)
        network = self.find(join)
        if network.driver != "bridge":
            from tiffin.network import lan

            return network, lan.parent(host, network)
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
        with self.locked("network"):
            known = self.known()
            if self.firewall.exists() and not self.firewall.in_place(known):
                self._replace_rules(known)

    @contextmanager
    def locked(self, name: str, *, shared: bool = False) -> Iterator[None]:
        fd = lock_file(f"{self.store.layout.run}/{name}.lock", shared=shared)
        try:
            yield
        finally:
            os.close(fd)


def _among(known: Sequence[Network], join: Join) -> Network | None:
    if join.network == DEFAULT_NETWORK:
        return next((network for network in known if network.name == DEFAULT_NETWORK), None)
    by_name = next((network for network in known if network.name == join.name), None)
    return next((network for network in known if network.id == join.network), by_name)


def undo(error: BaseException, step: Callable[[], None]) -> None:
    """Run a clean-up step while `error` is on its way; what fails in it becomes a note of `error`."""
    try:
        step()
    except (TiffinError, OSError) as failure:
        error.add_note(f"while undoing: {failure}")
