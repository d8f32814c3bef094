"""Making and removing networks: their rows. Bridges and rules come with the first container (see manager)."""

from __future__ import annotations

import os
import time

from tiffin.errors import Conflict, InvalidArgument, NotFound, Unsupported
from tiffin.kernel import netlink
from tiffin.network import addresses, rows
from tiffin.network.records import LAN_DRIVERS, UNADDRESSED, Network, NetworkOptions
from tiffin.state import lock_file
from tiffin.state.events import emit
from tiffin.typed import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tiffin.network.manager import Networks
    from tiffin.state import Store

_NAME_MAX = 128
_LEAST_MTU6 = 1280  # RFC 8200, section 5
_PREDEFINED = ("bridge", *UNADDRESSED, "default")
_BRIDGE = "com.docker.network.bridge."
_MTU = "com.docker.network.driver.mtu"
_KNOWN = (
    f"{_BRIDGE}name",
    f"{_BRIDGE}enable_icc",
    f"{_BRIDGE}enable_ip_masquerade",
    f"{_BRIDGE}host_binding_ipv4",
    _MTU,
)


class NetworkRequest(NamedTuple):
    """What `network create` takes, as its options word it; subnets, gateways and ranges of either family."""

    name: str
    driver: str = "bridge"
    subnets: tuple[str, ...] = ()
    gateways: tuple[str, ...] = ()
    ip_ranges: tuple[str, ...] = ()
    auxiliary: tuple[str, ...] = ()
    internal: bool = False
    attachable: bool = False
    labels: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    ipv4: bool = True
    ipv6: bool = False


def create(store: Store, networks: Networks, request: NetworkRequest) -> Network:
    """Add a network. Raises InvalidArgument, Conflict (its name), NotFound (its driver), Unsupported."""
    from tiffin.network.pools import choose_pools  # who looks networks up does not choose any

    _check_name(request.name)
    if request.driver in ("host", "null"):
        raise InvalidArgument(f'only one instance of "{request.driver}" network is allowed')
    if request.driver not in ("bridge", *LAN_DRIVERS):
        raise NotFound(f'plugin "{request.driver}" not found; there are bridge, {", ".join(LAN_DRIVERS)}')
    options = _options(request)
    if request.driver != "bridge":
        from tiffin.network import lan  # few networks are of another driver

        lan.check_kernel(request.driver)
    fd = lock_file(f"{store.layout.run}/network.lock")
    try:
        with netlink.Socket() as host:
            pool, pool6 = choose_pools(
                host, networks.known(), store.layout.engine, request, options.auxiliary
            )
            options = options._replace(ip_range=pool.ip_range, ip_range6=pool6.ip_range)
            identity = os.urandom(32).hex()
            name, borrowed = _interface(host, networks, request.driver, options, identity)
            options = options._replace(borrowed=borrowed)
        made = Network(
            identity,
            request.name,
            request.driver,
            name,
            pool.subnet,
            pool.gateway,
            time.time_ns(),
            options.to_json(),
            pool6.subnet,
            pool6.gateway,
        )
        with store.transaction() as db:
            if db.execute("SELECT 1 FROM networks WHERE name = ?", (request.name,)).fetchone():
                raise Conflict(f"network with name {request.name} already exists")
            rows.write_network(db, made)
            emit(db, "network", "create", made.id, {"name": made.name, "type": made.driver})
    finally:
        os.close(fd)
    networks.apply_rules()
    return made


def remove(store: Store, networks: Networks, network: Network) -> None:
    """Remove a network and its bridge. Raises Conflict while a container that runs is in it."""
    fd = lock_file(f"{store.layout.run}/network.lock")
    try:
        with store.transaction() as db:
            query = """SELECT coalesce(c.name, e.container), e.container FROM endpoints e
                LEFT JOIN containers c ON c.id = e.container WHERE e.network = ?"""
            held = db.execute(query, (network.id,)).fetchall()
            if held:
                who = ", ".join(f'name:"{name}" id:"{owner[:12]}"' for name, owner in held)
                raise Conflict(
                    f"error while removing network: network {network.name} has active endpoints ({who})"
                )
            if not db.execute("DELETE FROM networks WHERE id = ?", (network.id,)).rowcount:
                raise NotFound(f"network {network.name} not found")
            emit(db, "network", "destroy", network.id, {"name": network.name, "type": network.driver})
        with netlink.Socket() as host:
            release(store, host, network)
    finally:
        os.close(fd)
    networks.apply_rules()


def release(store: Store, host: netlink.Socket, network: Network) -> None:
    """Remove the interface of a network that is no more, if it is ours; if another network stands on it, it is that
    one's from now on. Idempotent; the caller keeps others of this engine out."""
    if network.settings.borrowed:
        return
    for other in rows.networks(store.db):
        if other.bridge == network.bridge and other.id != network.id:
            options = other.settings._replace(borrowed=False).to_json()
            with store.transaction() as db:
                db.execute("UPDATE networks SET options = ? WHERE id = ?", (options, other.id))
            return
    if host.link(network.bridge) is not None:
        host.run(netlink.delete_link(network.bridge))


def _interface(
    host: netlink.Socket, networks: Networks, driver: str, options: NetworkOptions, identity: str
) -> tuple[str, bool]:
    """The name of the interface that a network is to have, and whether it is the user's own."""
    if driver != "bridge":
        from tiffin.network import lan

        return lan.choose_parent(host, driver, options.driver_options, identity, networks.known())
    name = options.driver_options.get(f"{_BRIDGE}name", "") or f"tn-{identity[:12]}"
    _check_bridge(host, networks, name)
    return name, False


def check_address(network: Network, address: str) -> None:
    """That a container may be given this address by its user. Raises InvalidArgument."""
    if not any(addresses.parse_subnet(pool.subnet).holds(address) for pool in network.pools):
        raise InvalidArgument(
            f"invalid config for network {network.name}: invalid endpoint settings: "
            f"no configured subnet or ip-range contain the IP address {address}"
        )


def _check_name(name: str) -> None:
    plain = name.replace("_", "").replace(".", "").replace("-", "")
    if not (name and name[0].isascii() and name[0].isalnum() and len(name) <= _NAME_MAX):
        raise InvalidArgument(
            f"invalid network name {name!r}: letters, digits, '_', '.' and '-', a letter first"
        )
    if not (plain.isascii() and plain.isalnum()):
        raise InvalidArgument(
            f"invalid network name {name!r}: letters, digits, '_', '.' and '-', a letter first"
        )
    if name in _PREDEFINED:
        raise InvalidArgument(f"operation is not permitted on predefined {name} network")


def _options(request: NetworkRequest) -> NetworkOptions:
    given = pairs(request.options, "--opt")
    mode = _mode(request.driver, given) if request.driver in LAN_DRIVERS else ""
    for key in given:
        if key.startswith("com.docker.network.") and key not in _KNOWN:
            raise Unsupported(f"unknown option {key}; known: {', '.join(_KNOWN)}")
    host_address = given.get(f"{_BRIDGE}host_binding_ipv4", "")
    if host_address:
        addresses.to_number(host_address)
    mtu = given.get(_MTU, "0")
    if not (mtu.isascii() and mtu.isdigit() and (mtu == "0" or 68 <= int(mtu) <= 65535)):
        raise InvalidArgument(f"invalid {_MTU} {mtu!r}; a number from 68 to 65535")
    if request.ipv6 and 0 < int(mtu) < _LEAST_MTU6:
        raise InvalidArgument(f"invalid {_MTU} {mtu!r}; IPv6 needs {_LEAST_MTU6} or more")
    auxiliary = pairs(request.auxiliary, "--aux-address")
    return NetworkOptions(
        auxiliary={name: addresses.canonical(address) for name, address in auxiliary.items()},
        # Without a parent there is nothing that it could reach.
        internal=request.internal or bool(mode and not given.get("parent")),
        isolated=not _flag(given, f"{_BRIDGE}enable_icc"),
        masquerade=_flag(given, f"{_BRIDGE}enable_ip_masquerade"),
        mtu=int(mtu),
        host_address="" if host_address == "0.0.0.0" else host_address,  # noqa: S104 - every address
        attachable=request.attachable,
        labels=pairs(request.labels, "--label", bare=True),
        driver_options=given,
        mode=mode,
    )


def _mode(driver: str, options: Mapping[str, str]) -> str:
    from tiffin.network import lan

    return lan.mode_of(driver, options)


def pairs(entries: Sequence[str], option: str, *, bare: bool = False) -> dict[str, str]:
    """ "name=value" words as a dictionary. Raises InvalidArgument."""
    found: dict[str, str] = {}
    for entry in entries:
        key, equals, value = entry.partition("=")
        if not key or not (equals or bare):
            raise InvalidArgument(f"invalid argument {entry!r} for {option}: write NAME=VALUE")
        found[key] = value
    return found


def _flag(given: Mapping[str, str], key: str) -> bool:
    text = given.get(key, "true").lower()
    if text not in ("true", "false", "1", "0"):
        raise InvalidArgument(f"invalid {key} {text!r}; true or false")
    return text in ("true", "1")


def _check_bridge(host: netlink.Socket, networks: Networks, name: str) -> None:
    if not (0 < len(name) < 16) or name in (".", "..") or any(c.isspace() or c in '/:"' for c in name):
        raise InvalidArgument(f"invalid bridge name {name!r}: at most 15 characters, no space, '/' or ':'")
    if not name.isascii() or not name.isprintable() or any(c in "*{};$\\'" for c in name):
        raise InvalidArgument(f"invalid bridge name {name!r}: plain letters and digits")
    if any(one.bridge == name for one in networks.known()) or host.link(name) is not None:
        raise Conflict(f"bridge {name} exists; a network makes its own: take another name")
