"""Bridges, and the pair of interfaces between one and a container's network namespace."""

from __future__ import annotations

import os
import time

from tiffin.errors import EngineError, PermissionDenied
from tiffin.kernel import netlink
from tiffin.kernel.namespaces import CLONE_NEWNET, setns, unshare
from tiffin.network import addresses
from tiffin.network.files import host_nameservers
from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from tiffin.network.records import Endpoint, Network

_DEFAULT_MTU = 1500
_TRIES, _PAUSE = 100, 0.001  # seconds
_OWN_NAMESPACE = "/proc/thread-self/ns/net"


def used_subnets(host: netlink.Socket, bridge: str) -> list[addresses.Subnet]:
    """Every subnet that this machine reaches other than by its default route, leaving out `bridge`'s own; its
    name servers too, which a bridge over them would hide from the containers."""
    own = host.link(bridge)
    index = own.ifindex if own else 0
    used = [addresses.subnet(a.address, a.prefix) for a in host.addresses() if a.ifindex != index]
    used += [
        addresses.subnet(route.destination, route.prefix)
        for route in host.routes()
        if route.prefix and route.ifindex != index
    ]
    return used + [addresses.subnet(server, 32) for server in host_nameservers()]


def make(host: netlink.Socket, network: Network) -> netlink.Link:
    """Make a network's bridge: addressed first and set up last, so that one that is up is complete. What an
    interrupted attempt left is used. Idempotent; the caller keeps others of this engine out."""
    link = host.link(network.bridge)
    if link is None:
        host.run(
            netlink.add_bridge(
                network.bridge,
                mac=addresses.mac_for(network.gateway),
                mtu=network.settings.mtu or _uplink_mtu(host),
            )
        )
        link = host.link(network.bridge)
        if link is None:
            raise EngineError(f"bridge {network.bridge} vanished while it was made; try again")
    write_sysctl(f"ipv6/conf/{network.bridge}/disable_ipv6", "1")
    prefix = addresses.parse_subnet(network.subnet).prefix
    if not any(a.ifindex == link.ifindex and a.address == network.gateway for a in host.addresses()):
        host.run(netlink.add_address(link.ifindex, network.gateway, prefix))
    host.run(netlink.set_link(network.bridge, up=True))
    return link


def connect(host: netlink.Socket, link: netlink.Link, endpoint: Endpoint, network: Network) -> int:
    """Make a network namespace, with `lo` up and an interface on the bridge, addressed and routed; returns its
    descriptor. Nothing stays when it fails. For a moment this thread is in the new namespace."""
    fd, inside = _make_namespace()
    try:
        with inside:
            inside.run(netlink.set_link("lo", up=True))
            plug(host, link, inside, fd, endpoint, network)
            if not network.settings.internal:
                inside.run(netlink.add_route(endpoint.gateway))
    except BaseException:
        os.close(fd)
        raise
    return fd


def plug(
    host: netlink.Socket,
    link: netlink.Link,
    inside: netlink.Socket,
    fd: int,
    endpoint: Endpoint,
    network: Network,
) -> None:
    """Give the namespace of descriptor `fd`, for which the socket `inside` speaks, one more interface: on the bridge
    `link`, up, addressed, ready to carry packets. Adds no default route."""
    name = endpoint.interface
    host.run(
        netlink.add_veth(
            endpoint.veth,
            peer=name,
            peer_netns=fd,
            peer_mac=endpoint.mac,
            master=link.ifindex,
            mtu=link.mtu,
        ),
        netlink.no_ipv6_address(endpoint.veth),
    )
    its = inside.link(name)
    if its is None:
        raise EngineError(f"interface {endpoint.veth} vanished while it was made; try again")
    inside.run(netlink.set_link(name, up=True))
    host.run(netlink.set_link(endpoint.veth, up=True))
    inside.run(netlink.add_address(its.ifindex, endpoint.address, endpoint.prefix))
    _await_running(inside, name)
    port = _await_running(host, endpoint.veth)
    _await_running(host, link.name)  # a bridge runs while a port does
    if port is not None and endpoint.ports:
        host.run(netlink.set_hairpin(port.ifindex))
    if port is not None and network.settings.isolated:
        host.run(netlink.isolate_port(port.ifindex))


def route_by(inside: netlink.Socket, gateway: str) -> None:
    """Make `gateway` the namespace's way to everywhere; "" for none."""
    try:
        inside.run(netlink.delete_default_route())
    except ProcessLookupError:
        pass  # there was none
    if gateway:
        inside.run(netlink.add_route(gateway))


def socket_in(netns_fd: int) -> netlink.Socket:
    """A netlink socket of that namespace; this thread is back in its own afterwards."""
    home = os.open(_OWN_NAMESPACE, os.O_RDONLY | os.O_CLOEXEC)
    try:
        setns(netns_fd, CLONE_NEWNET)
        try:
            return netlink.Socket()
        finally:
            setns(home, CLONE_NEWNET)
    finally:
        os.close(home)


def forward_packets() -> str:
    """Let this machine forward IPv4 packets; returns a notice when that was not so."""
    if not write_sysctl("ipv4/ip_forward", "1"):
        return ""
    return "net.ipv4.ip_forward was 0 and is now 1, so that containers reach the network"


def allow_loopback(bridge: str) -> None:
    """Let connections to a published port of 127.0.0.1 leave by the bridge. The firewall's guard keeps what
    this would open to containers shut."""
    write_sysctl(f"ipv4/conf/{bridge}/route_localnet", "1")


def write_sysctl(name: str, value: str) -> bool:
    """Set /proc/sys/net/<name> of this thread's network namespace; whether it had another value. A setting
    that this kernel lacks (IPv6 compiled out) is left."""
    path = f"/proc/sys/net/{name}"
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        if os.read(fd, 64).strip() == value.encode():
            return False
    finally:
        os.close(fd)
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    except OSError as error:
        raise PermissionDenied(f"cannot set {path} to {value}: {error.strerror}; set it by sysctl") from error
    try:
        os.write(fd, value.encode())
    finally:
        os.close(fd)
    return True


def _make_namespace() -> tuple[int, netlink.Socket]:
    """A new network namespace and a netlink socket in it. No IPv6 but the loopback's, since the network gives
    none: interfaces made in it later neither address themselves nor believe a router."""
    home = os.open(_OWN_NAMESPACE, os.O_RDONLY | os.O_CLOEXEC)
    try:
        unshare(CLONE_NEWNET)
        try:
            write_sysctl("ipv6/conf/default/disable_ipv6", "1")
            write_sysctl("ipv6/conf/default/accept_ra", "0")
            fd = os.open(_OWN_NAMESPACE, os.O_RDONLY | os.O_CLOEXEC)
            try:
                inside = netlink.Socket()
            except BaseException:
                os.close(fd)
                raise
        finally:
            setns(home, CLONE_NEWNET)
    finally:
        os.close(home)
    return fd, inside


def _await_running(where: netlink.Socket, name: str) -> netlink.Link | None:
    """Until an interface that is up carries packets, for which the kernel takes its own time: what is sent
    before is lost, and a container's first connection would take a second. Kernels since 6.8 see to it when
    asked about the interface; others within a millisecond or so. Goes on without, in the end."""
    link = where.link(name)
    for _ in range(_TRIES):
        if link is None or link.running:
            break
        time.sleep(_PAUSE)
        link = where.link(name)
    return link


def _uplink_mtu(host: netlink.Socket) -> int:
    """The MTU of the interface with the default route: a larger one would lose packets beyond it."""
    default = [route.ifindex for route in host.routes() if not route.prefix]
    sizes = [link.mtu for link in host.links() if link.ifindex in default]
    return min(min(sizes, default=_DEFAULT_MTU), 65535)
