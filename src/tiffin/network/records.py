"""The nouns of the network room as plain values: networks, endpoints, ports, attachments."""

import os
from collections.abc import Sequence

from tiffin.typed import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import sqlite3

ANY_ADDRESS = "0.0.0.0"  # noqa: S104 - what a port published without an address means, as Docker has it

UNADDRESSED = ("none", "host")
"""Networks in which a container has no address: the manager has nothing to do for them."""


class Network(NamedTuple):
    """A network. `subnet` is "10.210.0.0/16", `gateway` the bridge's own address in it; `created` in ns."""

    id: str
    name: str
    driver: str
    bridge: str
    subnet: str
    gateway: str
    created: int


class PortMapping(NamedTuple):
    """A port of a container made reachable at the host.

    host_port       0: one that is free, chosen when the container starts
    last_host_port  above host_port: the first free one of host_port..last_host_port; 0 otherwise
    protocol        "tcp" or "udp"
    """

    host_ip: str
    host_port: int
    container_port: int
    protocol: str = "tcp"
    last_host_port: int = 0


class Endpoint(NamedTuple):
    """A container's place in a network; `ports` with the host ports that it really got."""

    container: str
    network: str
    address: str
    prefix: int
    gateway: str
    mac: str
    veth: str
    ports: tuple[PortMapping, ...]


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
    reserved  sockets that keep the published ports from others: hold them open as long as the container runs
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
