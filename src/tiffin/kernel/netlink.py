"""rtnetlink, and one question to nfnetlink, over a raw AF_NETLINK socket (rtnetlink(7), netlink(7)).

    with netlink.Socket() as host:
        host.run(
            netlink.add_veth("tv0", peer="eth0", peer_netns=fd, master=bridge.ifindex),
            netlink.set_link("tv0", up=True),
        )

A request is a plain value; `Socket.run` sends any number of them in one system call, and the kernel carries
them out in order. A socket speaks for the network namespace in which it was opened, for as long as it lives,
wherever its thread goes afterwards. Refusals are OSError(errno, text, what); the text ends with the kernel's
own explanation where it gave one. Addresses travel as text; what they look like tells the family.
"""

import errno
import os
import struct

from tiffin.kernel import sockets as socket
from tiffin.typed import NamedTuple

NETLINK_ROUTE = 0
NETLINK_NETFILTER = 12

_SOL_NETLINK = 270
_NETLINK_EXT_ACK = 11
_NETLINK_GET_STRICT_CHK = 12

_NLMSG_ERROR = 2
_NLMSG_DONE = 3
_NLM_F_REQUEST = 0x1
_NLM_F_MULTI = 0x2
_NLM_F_ACK = 0x4
_NLM_F_CAPPED = 0x100
_NLM_F_ACK_TLVS = 0x200
_NLM_F_EXCL = 0x200
_NLM_F_CREATE = 0x400
_NLM_F_REPLACE = 0x100
_NLM_F_DUMP = 0x300
_NLA_F_NESTED = 0x8000
_NLMSGERR_ATTR_MSG = 1

_RTM_NEWLINK, _RTM_DELLINK, _RTM_GETLINK, _RTM_SETLINK = 16, 17, 18, 19
_RTM_NEWADDR, _RTM_GETADDR = 20, 22
_RTM_NEWROUTE, _RTM_DELROUTE, _RTM_GETROUTE = 24, 25, 26
_RTM_NEWQDISC, _RTM_DELQDISC = 36, 37

_IFLA_ADDRESS, _IFLA_IFNAME, _IFLA_MTU, _IFLA_MASTER, _IFLA_PROTINFO, _IFLA_LINKINFO = 1, 3, 4, 10, 12, 18
_IFLA_OPERSTATE, _IFLA_AF_SPEC, _IFLA_NET_NS_FD = 16, 26, 28
_OPERSTATE_UP = 6
_IFLA_INFO_KIND, _IFLA_INFO_DATA = 1, 2
_VETH_INFO_PEER = 1
_IFLA_INET6_ADDR_GEN_MODE = 8
_ADDR_GEN_NONE = 1
_IFLA_BRPORT_MODE = 4  # hairpin
_IFLA_BRPORT_ISOLATED = 33
_AF_BRIDGE = 7
_IFF_UP = 1
_IFA_ADDRESS, _IFA_LOCAL, _IFA_BROADCAST = 1, 2, 4
_IFA_F_NODAD = 2
_RTA_DST, _RTA_OIF, _RTA_GATEWAY, _RTA_PRIORITY = 1, 4, 5, 6
_RT_TABLE_MAIN, _RT_TABLE_LOCAL = 254, 255
_RTPROT_BOOT = 3
_RTN_UNICAST, _RTN_LOCAL = 1, 2
RTPROT_RA = 9  # what a router said

_NFT_MSG_GETCHAIN = 10 << 8 | 4  # NFNL_SUBSYS_NFTABLES in the high byte
_NFTA_CHAIN_TABLE, _NFTA_CHAIN_NAME = 1, 3

_HEADER = struct.Struct("=IHHII")  # length, type, flags, sequence, port
_IFINFO = struct.Struct("=BxHiII")  # family, type, index, flags, change
_IFADDR = struct.Struct("=BBBBI")  # family, prefix, flags, scope, index
_ROUTE = struct.Struct("=BBBBBBBBI")  # family, dst_len, src_len, tos, table, protocol, scope, type, flags
_ATTRIBUTE = struct.Struct("=HH")  # length, type
_QDISC = struct.Struct("=BxxxiIII")  # family, index, handle, parent, info
_RATE = struct.Struct("=BBHhHI")  # cell_log, linklayer, overhead, cell_align, mpu, bytes a second
_TC_H_ROOT = 0xFFFFFFFF
_TCA_KIND, _TCA_OPTIONS = 1, 2
_TCA_TBF_PARMS, _TCA_TBF_RATE64, _TCA_TBF_BURST = 1, 4, 6
_LINK_ETHERNET = 1  # the kernel counts bytes by itself: no table of transmission times is wanted
_RECEIVE = 1 << 18  # larger than the 32 KiB in which the kernel answers a dump


class Request(NamedTuple):
    """One message to the kernel; `what` names its object in an error."""

    kind: int
    flags: int
    body: bytes
    what: str


class Link(NamedTuple):
    """A network interface. `master` is the index of the bridge that it is a port of, 0 for none; `running`
    whether it carries packets: it is up, its other end too, and the kernel has taken note (RFC 2863)."""

    ifindex: int
    name: str
    up: bool
    mtu: int
    master: int
    mac: str
    running: bool


class Address(NamedTuple):
    """An address of an interface."""

    ifindex: int
    address: str
    prefix: int


class Route(NamedTuple):
    """A route: a destination ("0.0.0.0" or "::", 0 for the default route) and the interface it leaves by; `protocol`
    who made it (RTPROT_*)."""

    destination: str
    prefix: int
    ifindex: int
    protocol: int = 0


class Socket:
    """A netlink socket of this thread's current network namespace. Close it, or use it in a `with`."""

    def __init__(self, protocol: int = NETLINK_ROUTE) -> None:
        self._sequence = 0
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)
        try:
            self._socket.bind((0, 0))
            self._socket.setsockopt(_SOL_NETLINK, _NETLINK_EXT_ACK, 1)
            self._socket.setsockopt(_SOL_NETLINK, _NETLINK_GET_STRICT_CHK, 1)
        except BaseException:
            self._socket.close()
            raise

    def __enter__(self) -> "Socket":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._socket.close()

    def run(self, *requests: Request) -> None:
        """Carry out all requests, in order, sent at once. Not atomic: the kernel goes on after a refusal, and
        the first one is raised once every answer is in."""
        first = self._sequence + 1
        self._send(requests, _NLM_F_ACK)
        refusal: OSError | None = None
        left = len(requests)
        while left:
            for kind, flags, sequence, body in self._receive():
                if sequence < first or kind != _NLMSG_ERROR:
                    continue
                left -= 1
                refusal = refusal or _refusal(flags, body, requests[sequence - first].what)
        if refusal is not None:
            raise refusal

    def get(self, request: Request) -> list[bytes]:
        """The bodies of the answers to a get (one) or a dump (any number)."""
        dump = request.flags & _NLM_F_DUMP == _NLM_F_DUMP
        self._send((request,), 0 if dump else _NLM_F_ACK)
        answers: list[bytes] = []
        while True:
            for kind, flags, sequence, body in self._receive():
                if sequence != self._sequence:
                    continue
                if kind == _NLMSG_ERROR or (kind == _NLMSG_DONE and dump):
                    refusal = _refusal(flags, body, request.what)
                    if refusal is not None:
                        raise refusal
                    return answers
                answers.append(body)

    def link(self, name: str) -> Link | None:
        """The interface of that name, or None."""
        body = _IFINFO.pack(0, 0, 0, 0, 0) + _text(_IFLA_IFNAME, name)
        try:
            (answer,) = self.get(Request(_RTM_GETLINK, 0, body, name))
        except OSError as error:
            if error.errno == errno.ENODEV:
                return None
            raise
        return _decode_link(answer)

    def links(self) -> list[Link]:
        """Every interface of the namespace."""
        body = _IFINFO.pack(0, 0, 0, 0, 0)
        return [
            _decode_link(answer) for answer in self.get(Request(_RTM_GETLINK, _NLM_F_DUMP, body, "links"))
        ]

    def addresses(self, family: int = socket.AF_INET) -> list[Address]:
        """Every address of a family in the namespace."""
        found: list[Address] = []
        body = _IFADDR.pack(family, 0, 0, 0, 0)
        for answer in self.get(Request(_RTM_GETADDR, _NLM_F_DUMP, body, "addresses")):
            _, prefix, _, _, index = _IFADDR.unpack_from(answer)
            attributes = parse_attributes(answer, _IFADDR.size)
            local = attributes.get(_IFA_LOCAL) or attributes.get(_IFA_ADDRESS)
            if local:
                found.append(Address(index, socket.inet_ntop(family, local), prefix))
        return found

    def routes(self, family: int = socket.AF_INET) -> list[Route]:
        """Every unicast route of a family in the namespace, in whichever table."""
        found: list[Route] = []
        anywhere = bytes(4 if family == socket.AF_INET else 16)
        body = _ROUTE.pack(family, 0, 0, 0, 0, 0, 0, 0, 0)
        for answer in self.get(Request(_RTM_GETROUTE, _NLM_F_DUMP, body, "routes")):
            _, prefix, _, _, _, protocol, _, kind, _ = _ROUTE.unpack_from(answer)
            if kind != _RTN_UNICAST:
                continue
            attributes = parse_attributes(answer, _ROUTE.size)
            destination = socket.inet_ntop(family, attributes.get(_RTA_DST, anywhere))
            (index,) = struct.unpack("=I", attributes.get(_RTA_OIF, b"\0\0\0\0"))
            found.append(Route(destination, prefix, index, protocol))
        return found

    def receives(self, address: str) -> bool:
        """Whether packets for an IPv6 address are the namespace's own: the kernel sees to that some time after it has
        taken the address."""
        body = _ROUTE.pack(socket.AF_INET6, 128, 0, 0, 0, 0, 0, 0, 0)
        body += attribute(_RTA_DST, socket.inet_pton(socket.AF_INET6, address))
        try:
            answers = self.get(Request(_RTM_GETROUTE, 0, body, address))
        except OSError as error:
            if error.errno in (errno.ENETUNREACH, errno.EHOSTUNREACH):
                return False
            raise
        return any(_ROUTE.unpack_from(answer)[7] == _RTN_LOCAL for answer in answers)

    def _send(self, requests: tuple[Request, ...], flags: int) -> None:
        parts: list[bytes] = []
        for request in requests:
            self._sequence += 1
            length = _HEADER.size + len(request.body)
            parts.append(
                _HEADER.pack(length, request.kind, request.flags | flags | _NLM_F_REQUEST, self._sequence, 0)
            )
            parts.append(request.body + bytes(-len(request.body) % 4))
        self._socket.sendto(b"".join(parts), (0, 0))

    def _receive(self) -> list[tuple[int, int, int, bytes]]:
        data, _, flags, sender = self._socket.recvmsg(_RECEIVE)
        if flags & socket.MSG_TRUNC:
            raise OSError(errno.EMSGSIZE, os.strerror(errno.EMSGSIZE), "netlink")
        if sender[0] != 0:  # only the kernel is port 0; any other process may write to our port
            return []
        messages: list[tuple[int, int, int, bytes]] = []
        offset = 0
        while offset + _HEADER.size <= len(data):
            length, kind, message_flags, sequence, _ = _HEADER.unpack_from(data, offset)
            if length < _HEADER.size or offset + length > len(data):
                raise OSError(errno.EPROTO, os.strerror(errno.EPROTO), "netlink")
            messages.append((kind, message_flags, sequence, data[offset + _HEADER.size : offset + length]))
            offset += (length + 3) & ~3
        return messages


def add_bridge(name: str, *, mac: str, mtu: int) -> Request:
    """Make a bridge, down. Its MAC is set so that it does not change with the ports that come and go; it gets
    no IPv6 address of its own."""
    body = (
        _IFINFO.pack(0, 0, 0, 0, 0)
        + _text(_IFLA_IFNAME, name)
        + attribute(_IFLA_ADDRESS, _mac_bytes(mac))
        + _number(_IFLA_MTU, mtu)
        + nested(_IFLA_LINKINFO, _text(_IFLA_INFO_KIND, "bridge"))
    )
    return Request(_RTM_NEWLINK, _NLM_F_CREATE | _NLM_F_EXCL, body, name)


def add_veth(
    name: str,
    *,
    peer: str,
    peer_netns: int | None = None,
    peer_mac: str = "",
    master: int = 0,
    mtu: int = 1500,
) -> Request:
    """Make a pair of interfaces: `name` here, down, a port of the bridge with index `master`; `peer`, down,
    in the namespace of descriptor `peer_netns` (None: here). The end of either, or of its
    namespace, takes both."""
    peer_body = _IFINFO.pack(0, 0, 0, 0, 0) + _text(_IFLA_IFNAME, peer) + _number(_IFLA_MTU, mtu)
    if peer_mac:
        peer_body += attribute(_IFLA_ADDRESS, _mac_bytes(peer_mac))
    if peer_netns is not None:
        peer_body += _number(_IFLA_NET_NS_FD, peer_netns)
    body = _IFINFO.pack(0, 0, 0, 0, 0) + _text(_IFLA_IFNAME, name) + _number(_IFLA_MTU, mtu)
    if master:
        body += _number(_IFLA_MASTER, master)
    body += nested(
        _IFLA_LINKINFO,
        _text(_IFLA_INFO_KIND, "veth"),
        nested(_IFLA_INFO_DATA, attribute(_VETH_INFO_PEER | _NLA_F_NESTED, peer_body)),
    )
    return Request(_RTM_NEWLINK, _NLM_F_CREATE | _NLM_F_EXCL, body, name)


def set_link(name: str, *, up: bool) -> Request:
    """Set an interface up or down."""
    body = _IFINFO.pack(0, 0, 0, _IFF_UP if up else 0, _IFF_UP) + _text(_IFLA_IFNAME, name)
    return Request(_RTM_SETLINK, 0, body, name)


def no_ipv6_address(name: str) -> Request:
    """Let the kernel make no IPv6 link-local address for an interface when it comes up."""
    inet6 = nested(socket.AF_INET6, attribute(_IFLA_INET6_ADDR_GEN_MODE, bytes([_ADDR_GEN_NONE])))
    body = _IFINFO.pack(0, 0, 0, 0, 0) + _text(_IFLA_IFNAME, name) + nested(_IFLA_AF_SPEC, inet6)
    return Request(_RTM_SETLINK, 0, body, name)


def set_hairpin(ifindex: int) -> Request:
    """Let a bridge port send a frame back out of itself: what a container needs to reach its own published
    port where the kernel shows bridged packets to the firewall."""
    mode = nested(_IFLA_PROTINFO, attribute(_IFLA_BRPORT_MODE, b"\1"))
    return Request(
        _RTM_SETLINK, 0, _IFINFO.pack(_AF_BRIDGE, 0, ifindex, 0, 0) + mode, f"bridge port {ifindex}"
    )


def isolate_port(ifindex: int) -> Request:
    """Keep a bridge port from the other ports that are isolated too; the bridge itself it reaches."""
    mode = nested(_IFLA_PROTINFO, attribute(_IFLA_BRPORT_ISOLATED, b"\1"))
    return Request(
        _RTM_SETLINK, 0, _IFINFO.pack(_AF_BRIDGE, 0, ifindex, 0, 0) + mode, f"bridge port {ifindex}"
    )


def delete_link(name: str) -> Request:
    """Delete an interface; a veth's takes the kernel some 20 ms."""
    return Request(_RTM_DELLINK, 0, _IFINFO.pack(0, 0, 0, 0, 0) + _text(_IFLA_IFNAME, name), name)


def add_address(ifindex: int, address: str, prefix: int) -> Request:
    """Give an address with its connected route to an interface: of IPv4 with the subnet's broadcast address, of IPv6
    one that is used at once, without asking the link whether somebody has it."""
    family, packed = _packed(address)
    flags = _IFA_F_NODAD if family == socket.AF_INET6 else 0
    body = _IFADDR.pack(family, prefix, flags, 0, ifindex)
    body += attribute(_IFA_LOCAL, packed) + attribute(_IFA_ADDRESS, packed)
    if family == socket.AF_INET and prefix < 31:
        host = (1 << (32 - prefix)) - 1
        body += attribute(_IFA_BROADCAST, struct.pack("!I", struct.unpack("!I", packed)[0] | host))
    return Request(_RTM_NEWADDR, _NLM_F_CREATE | _NLM_F_EXCL, body, f"{address}/{prefix}")


def add_route(gateway: str, destination: str = "", prefix: int = 0) -> Request:
    """Route a destination, by default everything of the gateway's family, through a gateway."""
    family, packed = _packed(gateway)
    body = _ROUTE.pack(family, prefix, 0, 0, _RT_TABLE_MAIN, _RTPROT_BOOT, 0, _RTN_UNICAST, 0)
    if prefix:
        body += attribute(_RTA_DST, _packed(destination)[1])
    body += attribute(_RTA_GATEWAY, packed)
    what = f"{destination or 'default'}/{prefix} via {gateway}"
    return Request(_RTM_NEWROUTE, _NLM_F_CREATE | _NLM_F_EXCL, body, what)


def add_local_route(address: str, ifindex: int) -> Request:
    """Take packets for an IPv6 address as this machine's own when they come from that interface, for one that the
    kernel would take from others only. Whoever else has a route to the address keeps it."""
    family, packed = _packed(address)
    body = _ROUTE.pack(family, 128, 0, 0, _RT_TABLE_LOCAL, _RTPROT_BOOT, 0, _RTN_LOCAL, 0)
    body += attribute(_RTA_DST, packed) + _number(_RTA_OIF, ifindex) + _number(_RTA_PRIORITY, 1024)
    return Request(_RTM_NEWROUTE, _NLM_F_CREATE | _NLM_F_EXCL, body, f"{address} from interface {ifindex}")


def delete_default_route(family: int = socket.AF_INET) -> Request:
    """Take out the default route. ESRCH when there is none."""
    body = _ROUTE.pack(family, 0, 0, 0, _RT_TABLE_MAIN, 0, 255, 0, 0)  # of any protocol and scope
    return Request(_RTM_DELROUTE, 0, body, "the default route")


def shape_output(ifindex: int, rate: int, burst: int, queue: int) -> Request:
    """Let an interface send no more than `rate` bytes a second (a token bucket, tc-tbf(8)): `burst` bytes at once at
    most, `queue` more may wait. What it had before is replaced."""
    slow = min(rate, (1 << 32) - 1)
    nothing = _RATE.pack(0, 0, 0, 0, 0, 0)
    parameters = (
        _RATE.pack(0, _LINK_ETHERNET, 0, -1, 0, slow) + nothing + struct.pack("=III", burst + queue, 0, 0)
    )
    options = [attribute(_TCA_TBF_PARMS, parameters), _number(_TCA_TBF_BURST, burst)]
    if rate > slow:
        options.append(attribute(_TCA_TBF_RATE64, struct.pack("=Q", rate)))
    body = _QDISC.pack(socket.AF_UNSPEC, ifindex, 0, _TC_H_ROOT, 0)
    body += _text(_TCA_KIND, "tbf") + nested(_TCA_OPTIONS, *options)
    return Request(_RTM_NEWQDISC, _NLM_F_CREATE | _NLM_F_REPLACE, body, f"interface {ifindex}'s queue")


def unshape_output(ifindex: int) -> Request:
    """Undo `shape_output`. ENOENT when there was none."""
    body = _QDISC.pack(socket.AF_UNSPEC, ifindex, 0, _TC_H_ROOT, 0)
    return Request(_RTM_DELQDISC, 0, body, f"interface {ifindex}'s queue")


def nft_chain_exists(table: str, chain: str, family: int = socket.AF_INET) -> bool:
    """Whether this namespace has that chain in nftables' table `ip <table>`, or `ip6 <table>`: one message, no
    process."""
    body = struct.pack("!BBH", family, 0, 0)
    body += _text(_NFTA_CHAIN_TABLE, table) + _text(_NFTA_CHAIN_NAME, chain)
    with Socket(NETLINK_NETFILTER) as firewall:
        try:
            return bool(firewall.get(Request(_NFT_MSG_GETCHAIN, 0, body, table)))
        except FileNotFoundError:
            return False


def attribute(kind: int, data: bytes) -> bytes:
    """One netlink attribute, padded."""
    return _ATTRIBUTE.pack(len(data) + _ATTRIBUTE.size, kind) + data + bytes(-len(data) % 4)


def nested(kind: int, *attributes: bytes) -> bytes:
    """An attribute made of attributes."""
    return attribute(kind | _NLA_F_NESTED, b"".join(attributes))


def parse_attributes(data: bytes, offset: int = 0) -> dict[int, bytes]:
    """The attributes in `data` from `offset` on, by kind; of several of a kind, the last."""
    found: dict[int, bytes] = {}
    while offset + _ATTRIBUTE.size <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, offset)
        if length < _ATTRIBUTE.size or offset + length > len(data):
            raise OSError(errno.EPROTO, os.strerror(errno.EPROTO), "netlink attribute")
        found[kind & 0x3FFF] = data[offset + _ATTRIBUTE.size : offset + length]
        offset += (length + 3) & ~3
    return found


def _packed(address: str) -> tuple[int, bytes]:
    """The family of an address, and its bytes."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return family, socket.inet_pton(family, address)


def _text(kind: int, text: str) -> bytes:
    return attribute(kind, os.fsencode(text) + b"\0")


def _number(kind: int, value: int) -> bytes:
    return attribute(kind, struct.pack("=I", value))


def _mac_bytes(mac: str) -> bytes:
    return bytes.fromhex(mac.replace(":", ""))


def _decode_link(body: bytes) -> Link:
    _, _, index, flags, _ = _IFINFO.unpack_from(body)
    attributes = parse_attributes(body, _IFINFO.size)
    name = os.fsdecode(attributes.get(_IFLA_IFNAME, b"").rstrip(b"\0"))
    (mtu,) = struct.unpack("=I", attributes.get(_IFLA_MTU, b"\0\0\0\0"))
    (master,) = struct.unpack("=I", attributes.get(_IFLA_MASTER, b"\0\0\0\0"))
    mac = attributes.get(_IFLA_ADDRESS, b"").hex(":")
    running = attributes.get(_IFLA_OPERSTATE) == bytes([_OPERSTATE_UP])
    return Link(index, name, bool(flags & _IFF_UP), mtu, master, mac, running)


def _refusal(flags: int, body: bytes, what: str) -> OSError | None:
    """The error in the body of NLMSG_ERROR or NLMSG_DONE, or None for an acknowledgement (netlink(7))."""
    number = -struct.unpack_from("=i", body)[0] if len(body) >= 4 else 0
    if not number:
        return None
    text = os.strerror(number)
    if flags & _NLM_F_ACK_TLVS and len(body) >= 4 + _HEADER.size:
        (length,) = struct.unpack_from("=I", body, 4)
        skip = 4 + (_HEADER.size if flags & _NLM_F_CAPPED else (length + 3) & ~3)
        message = parse_attributes(body, skip).get(_NLMSGERR_ATTR_MSG, b"").rstrip(b"\0")
        if message:
            text += f" ({message.decode(errors='replace')})"
    return OSError(number, text, what)
