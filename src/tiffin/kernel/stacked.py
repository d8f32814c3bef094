"""Interfaces on top of others: macvlan, ipvlan, VLAN; and dummies, for what stands alone (rtnetlink(7), ip-link(8))."""

import errno
import struct

from tiffin.kernel import netlink

MACVLAN_MODES = {"private": 1, "vepa": 2, "bridge": 4, "passthru": 8}
IPVLAN_MODES = {"l2": 0, "l3": 1, "l3s": 2}

_NEWLINK = 16
_CREATE, _EXCL = 0x400, 0x200
_ADDRESS, _IFNAME, _MTU, _LINK, _LINKINFO, _NET_NS_FD = 1, 3, 4, 5, 18, 28
_INFO_KIND, _INFO_DATA = 1, 2
_MODE = 1  # IFLA_MACVLAN_MODE and IFLA_IPVLAN_MODE
_VLAN_ID = 1
_HEADER = bytes(16)  # struct ifinfomsg: everything is said by attributes


def add_macvlan(name: str, parent: int, netns_fd: int, mode: str, mac: str, mtu: int) -> netlink.Request:
    """Make an interface with a MAC of its own on that of index `parent`, in the namespace of descriptor `netns_fd`;
    down. It ends with the namespace or the parent."""
    data = _attribute(_MODE, struct.pack("=I", MACVLAN_MODES[mode]))
    return _stacked("macvlan", name, parent, netns_fd, data, mtu, mac)


def add_ipvlan(name: str, parent: int, netns_fd: int, mode: str, mtu: int) -> netlink.Request:
    """The same with the MAC of the parent: what is for whom the kernel tells by addresses."""
    data = _attribute(_MODE, struct.pack("=H", IPVLAN_MODES[mode]))
    return _stacked("ipvlan", name, parent, netns_fd, data, mtu, "")


def add_vlan(name: str, parent: int, identity: int) -> netlink.Request:
    """Make the interface of a VLAN (802.1Q) on the one of index `parent`; down."""
    info = netlink.nested(
        _LINKINFO,
        _text(_INFO_KIND, "vlan"),
        netlink.nested(_INFO_DATA, _attribute(_VLAN_ID, struct.pack("=H", identity))),
    )
    body = _HEADER + _text(_IFNAME, name) + _number(_LINK, parent) + info
    return netlink.Request(_NEWLINK, _CREATE | _EXCL, body, name)


def add_dummy(name: str) -> netlink.Request:
    """Make an interface that leads nowhere; down."""
    body = _HEADER + _text(_IFNAME, name) + netlink.nested(_LINKINFO, _text(_INFO_KIND, "dummy"))
    return netlink.Request(_NEWLINK, _CREATE | _EXCL, body, name)


def is_known(kind: str) -> bool:
    """Whether this kernel has that kind of interface on top of others. Nothing is made: one without its parent is asked
    for, which a kernel that knows the kind refuses for another reason."""
    body = _HEADER + _text(_IFNAME, "tiffin-probe") + netlink.nested(_LINKINFO, _text(_INFO_KIND, kind))
    with netlink.Socket() as host:
        try:
            host.run(netlink.Request(_NEWLINK, _CREATE | _EXCL, body, kind))
        except OSError as error:
            return error.errno != errno.EOPNOTSUPP
        host.run(netlink.delete_link("tiffin-probe"))
        return True


def _stacked(
    kind: str, name: str, parent: int, netns_fd: int, data: bytes, mtu: int, mac: str
) -> netlink.Request:
    body = (
        _HEADER
        + _text(_IFNAME, name)
        + _number(_LINK, parent)
        + _number(_NET_NS_FD, netns_fd)
        + _number(_MTU, mtu)
    )
    if mac:
        body += _attribute(_ADDRESS, bytes.fromhex(mac.replace(":", "")))
    body += netlink.nested(_LINKINFO, _text(_INFO_KIND, kind), netlink.nested(_INFO_DATA, data))
    return netlink.Request(_NEWLINK, _CREATE | _EXCL, body, f"{kind} interface {name}")


def _attribute(kind: int, data: bytes) -> bytes:
    return netlink.attribute(kind, data)


def _number(kind: int, value: int) -> bytes:
    return netlink.attribute(kind, struct.pack("=I", value))


def _text(kind: int, text: str) -> bytes:
    return netlink.attribute(kind, text.encode() + b"\0")
