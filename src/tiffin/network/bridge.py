"""Bridges, and the pair of interfaces between one and a container's network namespace."""

from __future__ import annotations

import errno
import os
import time

from tiffin.errors import EngineError, PermissionDenied, Unsupported
from tiffin.kernel import netlink
from tiffin.kernel import sockets as socket
from tiffin.kernel.namespaces import CLONE_NEWNET, setns, unshare
from tiffin.network import addresses
from tiffin.network.files import host_nameservers
from tiffin.typed import TYPE_CHECKING, contextmanager

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tiffin.network.records import Endpoint, Network

_DEFAULT_MTU = 1500
_TRIES, _MORE_TRIES, _PAUSE = 100, 2000, 0.001  # seconds
_OWN_NAMESPACE = "/proc/thread-self/ns/net"


def used_subnets(host: netlink.Socket, bridge: str, family: int = socket.AF_INET) -> list[addresses.Subnet]:
    """Every subnet of a family that this machine reaches other than by its default route, leaving out `bridge`'s own;
    its name servers too, which a bridge over them would hide from the containers."""
    own = host.link(bridge)
    index = own.ifindex if own else 0
    used = [addresses.subnet(a.address, a.prefix) for a in host.addresses(family) if a.ifindex != index]
    used += [
        addresses.subnet(route.destination, route.prefix)
        for route in host.routes(family)
        if route.prefix and route.ifindex != index
    ]
    if family == socket.AF_INET:
        used += [addresses.subnet(server, 32) for server in host_nameservers()]
    return used


def make(host: netlink.Socket, network: Network) -> netlink.Link:
    """Make a network's bridge: addressed first and set up last, so that one that is up is complete. What an
    interrupted attempt left is used. Idempotent; the caller keeps others of this engine out."""
    link = host.link(network.bridge)
    if link is None:
        host.run(
            netlink.add_bridge(
                network.bridge,
                mac=addresses.mac_for(network.gateway or network.gateway6),
                mtu=network.settings.mtu or _uplink_mtu(host),
            )
        )
        link = host.link(network.bridge)
        if link is None:
            raise EngineError(f"bridge {network.bridge} vanished while it was made; try again")
    if network.subnet6:
        _give_ipv6(network.bridge)
    else:
        write_sysctl(f"ipv6/conf/{network.bridge}/disable_ipv6", "1")
    for pool in network.pools:
        own = addresses.parse_subnet(pool.subnet)
        there = host.addresses(socket.AF_INET if own.bits == 32 else socket.AF_INET6)
        if not any(a.ifindex == link.ifindex and a.address == pool.gateway for a in there):
            host.run(netlink.add_address(link.ifindex, pool.gateway, own.prefix))
    host.run(netlink.set_link(network.bridge, up=True))
    return link


def connect(
    host: netlink.Socket,
    link: netlink.Link,
    endpoint: Endpoint,
    network: Network,
    gateways: Sequence[str],
) -> int:
    """Make a network namespace, with `lo` up and an interface on the bridge, addressed and routed by `gateways`;
    returns its descriptor. Nothing stays when it fails. For a moment this thread is in the new namespace."""
    fd, inside = _make_namespace()
    try:
        with inside:
            inside.run(netlink.set_link("lo", up=True))
            plug(host, link, inside, fd, endpoint, network)
            for gateway in gateways:
                inside.run(netlink.add_route(gateway))
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
    if network.driver != "bridge":
        from tiffin.network import lan  # few networks are of another driver

        lan.plug(host, link, fd, endpoint, network)
        _address(inside, fd, endpoint)
        return
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
    host.run(netlink.set_link(endpoint.veth, up=True))
    _address(inside, fd, endpoint)
    port = _await_running(host, endpoint.veth)
    _await_running(host, link.name)  # a bridge runs while a port does
    if port is not None and endpoint.ports:
        host.run(netlink.set_hairpin(port.ifindex))
    if port is not None and network.settings.isolated:
        host.run(netlink.isolate_port(port.ifindex))


def _address(inside: netlink.Socket, fd: int, endpoint: Endpoint) -> None:
    """Set the endpoint's interface up, with its addresses, and see that it carries packets."""
    name = endpoint.interface
    its = inside.link(name)
    if its is None:
        raise EngineError(f"interface {name} vanished while it was made; try again")
    if endpoint.address6:
        with _entered(fd):
            _give_ipv6(name)
    inside.run(netlink.set_link(name, up=True))
    if endpoint.address:
        inside.run(netlink.add_address(its.ifindex, endpoint.address, endpoint.prefix))
    if endpoint.address6:
        inside.run(netlink.add_address(its.ifindex, endpoint.address6, endpoint.prefix6))
        for _ in range(_MORE_TRIES):  # else its own first connection to itself never comes about
            if inside.receives(endpoint.address6):
                break
            time.sleep(_PAUSE)
    _await_running(inside, name)


def route_by(inside: netlink.Socket, gateway: str, gateway6: str) -> None:
    """Make these the namespace's way to everywhere; "" for none."""
    for family, via in ((socket.AF_INET, gateway), (socket.AF_INET6, gateway6)):
        try:
            inside.run(netlink.delete_default_route(family))
        except OSError as error:
            if error.errno not in (errno.ESRCH, errno.ENOENT, errno.EAFNOSUPPORT, errno.EOPNOTSUPP):
                raise  # else there was none
        if via:
            inside.run(netlink.add_route(via))


def socket_in(netns_fd: int) -> netlink.Socket:
    """A netlink socket of that namespace; this thread is back in its own afterwards."""
    with _entered(netns_fd):
        return netlink.Socket()


@contextmanager
def _entered(netns_fd: int) -> Iterator[None]:
    """This thread is in that network namespace for a moment."""
    home = os.open(_OWN_NAMESPACE, os.O_RDONLY | os.O_CLOEXEC)
    try:
        setns(netns_fd, CLONE_NEWNET)
        try:
            yield
        finally:
            setns(home, CLONE_NEWNET)
    finally:
        os.close(home)


def forward_packets() -> str:
    """Let this machine forward IPv4 packets; returns a notice when that was not so."""
    if not write_sysctl("ipv4/ip_forward", "1"):
        return ""
    return "net.ipv4.ip_forward was 0 and is now 1, so that containers reach the network"


def forward_packets6(host: netlink.Socket) -> str:
    """Let this machine forward IPv6 packets; returns a notice when that was not so. A machine that forwards listens to
    no router any more: interfaces that have their default route from one are told to go on."""
    if read_sysctl("ipv6/conf/all/forwarding") == "1":
        return ""
    default = {
        route.ifindex
        for route in host.routes(socket.AF_INET6)
        if not route.prefix and route.protocol == netlink.RTPROT_RA
    }
    listening = [link.name for link in host.links() if link.ifindex in default]
    told = ""
    for name in listening:
        if read_sysctl(f"ipv6/conf/{name}/accept_ra") == "1":
            write_sysctl(f"ipv6/conf/{name}/accept_ra", "2")
            told += f"; net.ipv6.conf.{name}.accept_ra is now 2, so that {name} keeps its route"
    write_sysctl("ipv6/conf/all/forwarding", "1")
    return f"net.ipv6.conf.all.forwarding was 0 and is now 1, so that containers reach the network{told}"


def allow_loopback(bridge: str) -> None:
    """Let connections to a published port of 127.0.0.1 leave by the bridge. The firewall's guard keeps what
    this would open to containers shut."""
    write_sysctl(f"ipv4/conf/{bridge}/route_localnet", "1")


def allow_loopback6(bridge: str) -> None:
    """Let answers to connections that this machine made to a published port of ::1 come in by the bridge: the kernel
    takes packets for ::1 from `lo` alone otherwise. It goes on to drop those that say so when they arrive, before their
    addresses are translated back."""
    with netlink.Socket() as host:
        link = host.link(bridge)
        if link is None:
            return
        try:
            host.run(netlink.add_local_route("::1", link.ifindex))
        except FileExistsError:
            pass


def reaches_loopback6() -> bool:
    """Whether a published port can be reached at ::1: not where the kernel shows bridged packets to the firewall, which
    translates addresses before the kernel looks for those of the loopback, and drops the answer."""
    return read_sysctl("bridge/bridge-nf-call-ip6tables") != "1"


def read_sysctl(name: str) -> str:
    """/proc/sys/net/<name> of this thread's network namespace; "" for one that this kernel lacks."""
    try:
        fd = os.open(f"/proc/sys/net/{name}", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return ""
    try:
        return os.read(fd, 64).decode().strip()
    finally:
        os.close(fd)


def write_sysctl(name: str, value: str) -> bool:
    """Set /proc/sys/net/<name> of this thread's network namespace; whether it had another value. A setting
    that this kernel lacks (IPv6 compiled out) is left."""
    if read_sysctl(name) in ("", value):
        return False
    path = f"/proc/sys/net/{name}"
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    except OSError as error:
        raise PermissionDenied(f"cannot set {path} to {value}: {error.strerror}; set it by sysctl") from error
    try:
        os.write(fd, value.encode())
    finally:
        os.close(fd)
    return True


def _give_ipv6(name: str) -> None:
    """Let an interface of this thread's network namespace have IPv6, of which no router on the link decides anything,
    and have it at once. Raises Unsupported."""
    if not read_sysctl(f"ipv6/conf/{name}/disable_ipv6"):
        raise Unsupported("this machine's kernel has no IPv6; make the network without it")
    write_sysctl(f"ipv6/conf/{name}/accept_ra", "0")
    write_sysctl(f"ipv6/conf/{name}/accept_dad", "0")
    write_sysctl(f"ipv6/conf/{name}/disable_ipv6", "0")


def _make_namespace() -> tuple[int, netlink.Socket]:
    """A new network namespace and a netlink socket in it. No IPv6 but the loopback's, since the network gives
    none: interfaces made in it later neither address themselves nor believe a router. Those that shall have it are told
    so one by one."""
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
