"""`Engine.networks`: making, listing, inspecting and removing networks, and containers joining and leaving them."""

from __future__ import annotations

import os
from contextlib import contextmanager

from tiffin.containers.states import LIVE, SUPERVISED
from tiffin.containers.store import Container, Containers
from tiffin.engine import recovery
from tiffin.engine.times import moment
from tiffin.errors import Conflict, InvalidArgument, NotFound
from tiffin.network.addresses import canonical
from tiffin.network.definitions import NetworkRequest, check_address, create, remove
from tiffin.network.links import Link, parse_link, remove_links, write_links
from tiffin.network.manager import Networks
from tiffin.network.records import (
    DEFAULT_NETWORK,
    UNADDRESSED,
    Join,
    Network,
    Pool,
    PortMapping,
    joins_of,
    write_joins,
)
from tiffin.supervisor import control
from tiffin.typed import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from tiffin.engine.workspace import Workspace
    from tiffin.state import Store

_LEAST_ID = 1


class NetworkService:
    """The networks of one engine. Names stand for IDs and their unique beginnings too."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace

    def create(self, request: NetworkRequest) -> str:
        """Make a network; returns its ID. Raises InvalidArgument, Conflict, NotFound (driver), Unsupported."""
        with self._workspace.store() as store:
            return create(store, Networks(store), request).id

    def all(self, filters: Sequence[str] = ()) -> list[Network]:
        """Every network, by name. Filters: driver, id, label, name, scope, type, dangling. Raises InvalidArgument."""
        with self._workspace.store() as store:
            Networks(store).mend()
            tests = _parse_filters(filters, _TESTS)
            found = _everything(store)
            held = {str(row[0]) for row in store.db.execute("SELECT DISTINCT network FROM endpoints")}
            return [one for one in found if all(_holds(key, values, one, held) for key, values in tests)]

    def inspect(self, reference: str) -> dict[str, Any]:
        """A network as Docker's document. Raises NotFound."""
        with self._workspace.store() as store:
            Networks(store).mend()
            return _document(store, _find(store, reference))

    def remove(self, reference: str) -> None:
        """Remove a network. Raises NotFound, InvalidArgument (a predefined one), Conflict while it is in use."""
        with self._workspace.store() as store:
            recovery.reconcile(store)
            network = _find(store, reference)
            if network.name in (DEFAULT_NETWORK, *UNADDRESSED):
                raise InvalidArgument(f"{network.name} is a pre-defined network and cannot be removed")
            remove(store, Networks(store), network)

    def prune(self, filters: Sequence[str] = (), only: Sequence[str] | None = None) -> list[str]:
        """Remove the networks that no container has; their names. Filters: until, label, label!."""
        with self._workspace.store() as store:
            recovery.reconcile(store)
            found = unused(store, filters)
            return prune(store, [one for one in found if only is None or one.name in only])

    def plan_prune(self, filters: Sequence[str] = ()) -> list[str]:
        """The names of what `prune` would remove."""
        with self._workspace.store() as store:
            recovery.reconcile(store)
            return [network.name for network in unused(store, filters)]

    def connect(
        self, reference: str, container: str, join: Join, *, links: Sequence[str] = ()
    ) -> tuple[str, ...]:
        """Let a container join a network: at once when it runs, else when it starts. Of `join` the network is not
        read; `links` are "name[:alias]". Returns what the user is to be told of the machine's settings. Raises
        NotFound, Conflict, InvalidArgument in Docker's words."""
        with self._workspace.store() as store:
            network = _find(store, reference)
            member = recovery.truth(store, container)
            joins = _current(member, store)
            _check_joinable(member, network)
            wanted = canonical_join(join._replace(network=_key(network), name=network.name))
            check_join(network, wanted)
            linked = _links(network, links)
            if any(one.network == wanted.network for one in joins):
                raise Conflict(f"endpoint with name {member.name} already exists in network {network.name}")
            after = [*(one for one in joins if one.network not in UNADDRESSED), wanted]
            notices: tuple[str, ...] = ()
            if member.status in LIVE:
                ports = tuple(PortMapping(*port) for port in member.record.ports)
                with _namespace(member) as fd:
                    notices = Networks(store).join(
                        member.id, fd, wanted, ports, lambda fds: control.hold(store.layout, member.id, fds)
                    )
                    _save(store, member, after, linked)
                if network.name != DEFAULT_NETWORK:
                    _name(store, member)
            else:
                _save_stopped(store, member, after, linked)
            return notices

    def disconnect(self, reference: str, container: str, *, force: bool = False) -> None:
        """Take a container out of a network. Raises NotFound, Conflict."""
        with self._workspace.store() as store:
            network = _find(store, reference)
            try:
                member = recovery.truth(store, container)
            except NotFound:
                if force:
                    Networks(store).detach(container)
                    return
                raise
            joins = _current(member, store)
            if network.name == "host" and member.record.network == "host":
                raise Conflict(
                    "cannot disconnect container from host network - container was created in host network mode"
                )
            if not any(one.network == _key(network) for one in joins):
                raise Conflict(f"container {member.id} is not connected to the network {network.name}")
            after = [one for one in joins if one.network != _key(network)] or [Join("none", "none")]
            if member.status in LIVE:
                with _namespace(member) as fd:
                    Networks(store).leave(member.id, fd, network.id)
                    _save(store, member, after)
            else:
                _save_stopped(store, member, after)


def canonical_join(join: Join) -> Join:
    """With its addresses in the form in which they are kept. Raises InvalidArgument."""
    if not join.address6:
        return join
    return join._replace(address6=canonical(join.address6))


def unused(store: Store, filters: Sequence[str], gone: Collection[str] = ()) -> list[Network]:
    """The networks that no container has, running or not, but those in `gone`. Raises InvalidArgument (a filter)."""
    from tiffin.images.filters import moment as parse_moment

    tests = _parse_filters(filters, ("until", "label", "label!"))
    query = "SELECT network, container FROM memberships UNION SELECT network, container FROM endpoints"
    held = {str(network) for network, container in store.db.execute(query) if container not in gone}
    found = [one for one in Networks(store).known() if one.name != DEFAULT_NETWORK and one.id not in held]
    for key, values in tests:
        if key == "until":
            before = min(parse_moment(value) for value in values)
            found = [one for one in found if one.created < before]
        else:
            wanted = key == "label"
            found = [one for one in found if all(_has_label(one, value) == wanted for value in values)]
    return found


def prune(store: Store, networks: Sequence[Network]) -> list[str]:
    """Remove these, but those that have come into use; the names of what went."""
    removed = []
    for network in networks:
        try:
            remove(store, Networks(store), network)
        except (Conflict, NotFound):
            continue
        removed.append(network.name)
    return removed


def check_join(network: Network, join: Join) -> None:
    """That what is asked of a network is possible there. Raises InvalidArgument in Docker's words."""
    bad = f"invalid config for network {network.name}: invalid endpoint settings: "
    own = network.name not in (DEFAULT_NETWORK, *UNADDRESSED)
    for address, ipv6 in ((join.address, False), (join.address6, True)):
        if not address:
            continue
        if (":" in address) != ipv6:
            raise InvalidArgument(f"{bad}invalid {'IPv6' if ipv6 else 'IPv4'} address: {address}")
        if not own:
            raise InvalidArgument(
                f"{bad}user specified IP address is supported on user defined networks only"
            )
        check_address(network, address)
    if join.aliases and not own:
        raise InvalidArgument(f"{bad}network-scoped aliases are only supported for user-defined networks")
    if join.mac:
        check_mac(join.mac)


def check_mac(text: str) -> None:
    """Raises InvalidArgument for what is no MAC address of one interface."""
    parts = text.split(":")
    digits = "0123456789abcdefABCDEF"
    if len(parts) != 6 or not all(
        len(part) == 2 and part[0] in digits and part[1] in digits for part in parts
    ):
        raise InvalidArgument(f"{text} is not a valid mac address")
    if int(parts[0], 16) & 1:
        raise InvalidArgument(f"{text} is not a valid mac address: it is a multicast address")


def find_network(store: Store, reference: str) -> Network:
    """The network that a name, an ID or the unique beginning of an ID means. Raises NotFound, InvalidArgument."""
    return _find(store, reference)


def _find(store: Store, reference: str) -> Network:
    found = _everything(store)
    exact = [one for one in found if reference in (one.name, one.id)]
    near = exact or [one for one in found if len(reference) >= _LEAST_ID and one.id.startswith(reference)]
    if not near:
        raise NotFound(f"network {reference} not found")
    if len(near) > 1:
        raise InvalidArgument(
            f"network {reference} is ambiguous ({len(near)} matches found based on ID prefix)"
        )
    return near[0]


def _everything(store: Store) -> list[Network]:
    networks = Networks(store)
    default = networks.settle_default()
    fixed = [
        Network(_fixed_id(store, name), name, driver, "", "", "", default.created)
        for name, driver in (("host", "host"), ("none", "null"))
    ]
    return sorted([*networks.known(), *fixed], key=lambda one: one.name)


def _fixed_id(store: Store, name: str) -> str:
    import hashlib

    return hashlib.sha256(f"tiffin {store.layout.engine} {name}".encode()).hexdigest()


def _key(network: Network) -> str:
    """As memberships name it."""
    return network.name if network.name in (DEFAULT_NETWORK, *UNADDRESSED) else network.id


def _current(member: Container, store: Store) -> tuple[Join, ...]:
    joins = joins_of(store.db, member.id)
    name = "bridge" if member.record.network == "default" else member.record.network
    return joins or (Join(name, name),)


def _check_joinable(member: Container, network: Network) -> None:
    mode = member.record.network
    if mode == "host" or mode.startswith("container:"):
        raise Conflict(
            "container sharing network namespace with another container or host cannot be connected to any "
            "other network"
        )
    if network.name == "host":
        raise InvalidArgument("container cannot be connected to host network after creation")
    if network.name == "none" or mode == "none":
        raise Conflict(
            "container cannot be connected to multiple networks with one of the networks in private (none) mode"
        )


def _links(network: Network, texts: Sequence[str]) -> list[Link]:
    if texts and network.name == DEFAULT_NETWORK:
        raise InvalidArgument(
            "links are of networks with names: on the default one give --link to run or create"
        )
    return [Link(network.id, alias, name) for name, alias in map(parse_link, texts)]


def _save(store: Store, member: Container, joins: Sequence[Join], links: Sequence[Link] = ()) -> None:
    with store.transaction() as db:
        if db.execute("SELECT 1 FROM containers WHERE id = ?", (member.id,)).fetchone():
            write_joins(db, member.id, joins)
            remove_links(db, member.id, {join.network for join in joins})
            write_links(db, member.id, links)


def _save_stopped(store: Store, member: Container, joins: Sequence[Join], links: Sequence[Link] = ()) -> None:
    lock = control.acquire(store.layout, member.id, wait=False)
    if lock < 0:
        raise Conflict(f"container {member.name} is being started or removed; try again")
    try:
        _save(store, member, joins, links)
    finally:
        os.close(lock)


def _name(store: Store, member: Container) -> None:
    """A container that had no named network before: it asks our resolver from now on."""
    from tiffin.network.files import named_resolv_conf
    from tiffin.network.resolving import ADDRESS, adopt

    adopt(store.layout)
    path = f"{store.layout.container(member.id)}/resolv.conf"
    with open(path, encoding="utf-8") as file:
        if f"nameserver {ADDRESS}\n" in file.read(1 << 16):
            return
    text = named_resolv_conf(member.record.dns_search, member.record.dns_options)
    # Written in place: the container has this very file mounted.
    fd = os.open(path, os.O_WRONLY | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)


@contextmanager
def _namespace(member: Container) -> Iterator[int]:
    """The network namespace of a running container. Raises Conflict when it has just ended."""
    from tiffin.supervisor.shared import open_namespace

    fd = open_namespace(member, "net")
    try:
        yield fd
    finally:
        os.close(fd)


# -- filters and documents -----------------------------------------------------------------------------------

_TESTS = ("driver", "id", "label", "name", "scope", "type", "dangling")


def _parse_filters(filters: Sequence[str], known: Sequence[str]) -> list[tuple[str, list[str]]]:
    groups: dict[str, list[str]] = {}
    for text in filters:
        key, equals, value = text.partition("=")
        if text.startswith("label!="):
            key, value = "label!", text.removeprefix("label!=")
        if not equals or key not in known:
            raise InvalidArgument(f"invalid filter '{key}'; known: {', '.join(known)}")
        groups.setdefault(key, []).append(value)
    return list(groups.items())


def _holds(key: str, values: Sequence[str], one: Network, held: set[str]) -> bool:
    """Of one key any value may hold, but of labels all must."""
    builtin = one.name in (DEFAULT_NETWORK, *UNADDRESSED)
    if key == "label":
        return all(_has_label(one, value) for value in values)
    if key == "type":
        if any(value not in ("custom", "builtin") for value in values):
            raise InvalidArgument(f"invalid filter 'type={values[0]}'; custom or builtin")
        return ("builtin" if builtin else "custom") in values
    if key == "dangling":
        wanted = values[0].lower() in ("true", "1")
        return (not builtin and one.id not in held) == wanted
    if key == "driver":
        return one.driver in values
    if key == "scope":
        return "local" in values
    text = one.id if key == "id" else one.name
    return any(value in text for value in values)


def _has_label(one: Network, text: str) -> bool:
    key, equals, value = text.partition("=")
    labels = one.settings.labels
    return key in labels and (not equals or labels[key] == value)


def _document(store: Store, network: Network) -> dict[str, Any]:
    settings = network.settings
    options = dict(settings.driver_options)
    if network.driver == "bridge":
        options.setdefault("com.docker.network.bridge.name", network.bridge)
    return {
        "Name": network.name,
        "Id": network.id,
        "Created": moment(network.created),
        "Scope": "local",
        "Driver": network.driver,
        "EnableIPv4": bool(network.subnet) or network.name in UNADDRESSED,
        "EnableIPv6": bool(network.subnet6),
        "IPAM": {
            "Driver": "default",
            "Options": None,
            "Config": [_pool(pool, settings.auxiliary) for pool in network.pools],
        },
        "Internal": settings.internal,
        "Attachable": settings.attachable,
        "Ingress": False,
        "ConfigFrom": {"Network": ""},
        "ConfigOnly": False,
        "Containers": _members(store, network),
        "Options": options,
        "Labels": dict(settings.labels),
    }


def _pool(pool: Pool, auxiliary: Mapping[str, str]) -> dict[str, Any]:
    shown: dict[str, Any] = {"Subnet": pool.subnet, "IPRange": pool.ip_range, "Gateway": pool.gateway}
    its = {name: address for name, address in auxiliary.items() if (":" in address) == (":" in pool.subnet)}
    if its:
        shown["AuxiliaryAddresses"] = its
    return shown


def _members(store: Store, network: Network) -> dict[str, dict[str, str]]:
    names = dict(store.db.execute("SELECT id, name FROM containers").fetchall())
    if network.name in UNADDRESSED:
        here = [one for one in Containers(store).in_states(SUPERVISED) if one.record.network == network.name]
        return {one.id: _member(one.name, endpoint_id(store, one.id, network.id), "", "", "") for one in here}
    return {
        one.container: _member(
            names.get(one.container, ""),
            endpoint_id(store, one.container, network.id),
            one.mac,
            f"{one.address}/{one.prefix}" if one.address else "",
            f"{one.address6}/{one.prefix6}" if one.address6 else "",
        )
        for one in Networks(store).members(network.id)
        if one.container in names
    }


def _member(name: str, identity: str, mac: str, address: str, address6: str) -> dict[str, str]:
    return {
        "Name": name,
        "EndpointID": identity,
        "MacAddress": mac,
        "IPv4Address": address,
        "IPv6Address": address6,
    }


def endpoint_id(store: Store, container_id: str, network_id: str) -> str:
    """An ID for a container's place in a network, always the same."""
    return _fixed_id(store, f"{container_id} {network_id}")
