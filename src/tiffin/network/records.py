"""The nouns of the network room as plain values: networks, endpoints, ports, attachments."""

import os

from tiffin import jsontext as json
from tiffin.typed import TYPE_CHECKING, NamedTuple, Sequence

if TYPE_CHECKING:
    import sqlite3

ANY_ADDRESS = "0.0.0.0"  # noqa: S104 - a port published there is to be reached at every address
ANY_ADDRESS6 = "::"

DEFAULT_NETWORK = "bridge"
UNADDRESSED = ("none", "host")
"""Networks in which a container has no address: the manager has nothing to do for them."""
LAN_DRIVERS = ("macvlan", "ipvlan")
"""Drivers other than "bridge": see lan.py."""


class Pool(NamedTuple):
    """The addresses of one family in a network: its subnet, the bridge's own address, and the part that containers are
    given addresses of, "" for all of it."""

    subnet: str
    gateway: str
    ip_range: str


class Network(NamedTuple):
    """A network. `subnet` is "10.210.0.0/16", `gateway` the bridge's own address in it, `subnet6` and `gateway6` the
    same in IPv6; "" for a family that it lacks. With a driver other than "bridge", `bridge` is the interface that it
    stands on, see lan.py. `created` in ns; `options` is a JSON document of the fields of NetworkOptions that are not
    their defaults."""

    id: str
    name: str
    driver: str
    bridge: str
    subnet: str
    gateway: str
    created: int
    options: str = "{}"
    subnet6: str = ""
    gateway6: str = ""

    @property
    def pools(self) -> tuple[Pool, ...]:
        """Its addresses, IPv4 first."""
        settings = self.settings
        both = (
            Pool(self.subnet, self.gateway, settings.ip_range),
            Pool(self.subnet6, self.gateway6, settings.ip_range6),
        )
        return tuple(pool for pool in both if pool.subnet)

    @property
    def settings(self) -> "NetworkOptions":
        """`options` as a value."""
        return NetworkOptions() if self.options == "{}" else NetworkOptions(**json.loads(self.options))


class NetworkOptions(NamedTuple):
    """What `network create` settles about a network beside its place. The dictionaries are never mutated.

    ip_range      the part of the subnet that containers are given addresses of; "" for all of it; ip_range6 in IPv6
    auxiliary     name: address of hosts on the network that are none of ours; never given to a container
    internal      no way in or out: no route, no address translation, no published ports
    isolated      containers do not reach each other over it (com.docker.network.bridge.enable_icc=false)
    masquerade    containers leave under the machine's address
    mtu           of its interfaces; 0: the uplink's
    host_address  where ports are published that name no address; "" for every address
    driver_options  as they were given; asked: whether the subnet was the user's choice
    mode          of macvlan and ipvlan, see lan.py
    borrowed      the interface that it stands on is the user's own: never removed
    """

    ip_range: str = ""
    auxiliary: dict[str, str] = {}
    internal: bool = False
    isolated: bool = False
    masquerade: bool = True
    mtu: int = 0
    host_address: str = ""
    attachable: bool = False
    labels: dict[str, str] = {}
    driver_options: dict[str, str] = {}
    mode: str = ""
    borrowed: bool = False
    ip_range6: str = ""

    def to_json(self) -> str:
        """What differs from the defaults."""
        changed = {key: value for key, value in self._asdict().items() if value != self._field_defaults[key]}
        return json.dumps(changed, separators=(",", ":"))


class Join(NamedTuple):
    """A network that a container is in, or is to be in when it starts: `network` is its ID ("bridge" for the default
    one, whose row comes with its first use); `address`, `address6` and `mac` as asked for, "" for any. Of networks
    with a way out the one with the highest `gw_priority` is the container's, of several the first."""

    network: str
    name: str
    address: str = ""
    mac: str = ""
    aliases: tuple[str, ...] = ()
    address6: str = ""
    gw_priority: int = 0


class PortMapping(NamedTuple):
    """A port of a container made reachable at the host.

    host_ip         "": every address, of each family that the container has
    host_port       0: one that is free, chosen when the container starts
    last_host_port  above host_port: the first free one of host_port..last_host_port; 0 otherwise
    protocol        "tcp", "udp" or "sctp"
    """

    host_ip: str
    host_port: int
    container_port: int
    protocol: str = "tcp"
    last_host_port: int = 0


class Endpoint(NamedTuple):
    """A container's place in a network; `ports` with the addresses and host ports that it really got, those of a family
    in the first network that has a way out for it. The texts are "" for a family that the network lacks."""

    container: str
    network: str
    address: str
    prefix: int
    gateway: str
    mac: str
    veth: str
    ports: tuple[PortMapping, ...]
    interface: str = "eth0"
    aliases: tuple[str, ...] = ()
    address6: str = ""
    prefix6: int = 0
    gateway6: str = ""
    gw_priority: int = 0

    def at(self, host_ip: str) -> str:
        """Its address of the family of `host_ip`."""
        return self.address6 if ":" in host_ip else self.address


class Published(NamedTuple):
    """One published port, as the firewall sees it."""

    protocol: str
    host_ip: str
    host_port: int
    container_ip: str
    container_port: int


class Attachment(NamedTuple):
    """What `Networks.attach` hands to whoever starts the container and watches over it.

    netns_fd  the container's network namespace; -1: none was made ("none": the runtime makes an empty one,
              "host": the container stays in the host's)
    reserved  sockets that keep the published ports from others, and last, if it is named, the connection to the
              resolver: hold them open as long as the container runs
    named     whether it asks the resolver for names
    machine   the addresses at which it reaches this machine: those of a bridge that it is on
    notices   lines to tell the user, such as a machine setting that was changed

    All descriptors are close-on-exec and the holder's to close. The texts are "" without an address.
    """

    netns_fd: int = -1
    address: str = ""
    prefix: int = 0
    gateway: str = ""
    mac: str = ""
    ports: tuple[PortMapping, ...] = ()
    reserved: tuple[int, ...] = ()
    notices: tuple[str, ...] = ()
    named: bool = False
    address6: str = ""
    gateway6: str = ""
    machine: tuple[str, ...] = ()

    def close_namespace(self) -> "Attachment":
        """Close netns_fd, once the container is in it; returns the attachment without it."""
        if self.netns_fd >= 0:
            os.close(self.netns_fd)
        return self._replace(netns_fd=-1)

    def close(self) -> None:
        """Close every descriptor. The namespace ends, and the veth with it, once no process is in it."""
        self.close_namespace()
        for fd in self.reserved:
            os.close(fd)


def ways(
    networks: Sequence[Network], places: Sequence[Join | Endpoint], *, bridged: bool = False
) -> tuple[int, int]:
    """Which of a container's networks is its way out in IPv4, and which in IPv6; -1 for none. `places` are the
    container's in them. `bridged`: through this machine, as its published ports need it."""
    found = [
        n
        for n, network in enumerate(networks)
        if not network.settings.internal and (network.driver == "bridge" or not bridged)
    ]
    found.sort(key=lambda n: -places[n].gw_priority)
    return (
        next((n for n in found if networks[n].subnet), -1),
        next((n for n in found if networks[n].subnet6), -1),
    )


def machine_in(networks: Sequence[Network], places: Sequence[Join]) -> tuple[str, ...]:
    """The addresses at which a container of these networks reaches this machine: of the bridge that is its way out,
    else of its first one; () when it is on none."""
    way = next((n for n in ways(networks, places, bridged=True) if n >= 0), -1)
    home = networks[way] if way >= 0 else next((one for one in networks if one.driver == "bridge"), None)
    return tuple(address for address in (home.gateway, home.gateway6) if address) if home else ()


def unaddressed(network: str, ports: Sequence[PortMapping]) -> Attachment:
    """The attachment to one of UNADDRESSED."""
    said = f"published ports are ignored with --network {network}"
    return Attachment(notices=(said,) if ports else ())


def is_attached(db: "sqlite3.Connection", container_id: str) -> bool:
    """Whether there is anything of the container's to detach."""
    query = (
        "SELECT 1 FROM endpoints WHERE container = ?1"
        " UNION ALL SELECT 1 FROM published_ports WHERE container = ?1 LIMIT 1"
    )
    return db.execute(query, (container_id,)).fetchone() is not None


def joins_of(db: "sqlite3.Connection", container_id: str) -> tuple[Join, ...]:
    """The container's memberships, in order; () when it has the one network of its record."""
    rows = db.execute(
        "SELECT network, name, address, mac, aliases, address6, gw_priority FROM memberships "
        "WHERE container = ? ORDER BY position",
        (container_id,),
    )
    return tuple(
        Join(network, name, address, mac, tuple(json.loads(aliases)), address6, priority)
        for network, name, address, mac, aliases, address6, priority in rows
    )


def write_joins(db: "sqlite3.Connection", container_id: str, joins: Sequence[Join]) -> None:
    """Put these in the place of the container's memberships; within the caller's transaction."""
    db.execute("DELETE FROM memberships WHERE container = ?", (container_id,))
    for position, join in enumerate(joins):
        db.execute(
            "INSERT INTO memberships (container, position, network, name, address, mac, aliases, address6, gw_priority)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (container_id, position, *join[:4], json.dumps(join.aliases), join.address6, join.gw_priority),
        )
