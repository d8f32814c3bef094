"""Networks of the drivers macvlan and ipvlan: containers as neighbours of the machine on a wire that it is on.

    the wire ── parent (eth0, or its VLAN eth0.50) ─┬─ eth0 of one container
                                                    └─ eth0 of another

A container's interface stands on the parent and is in no bridge: no rule of ours sees its packets, nothing is
translated or published, and machine and container do not reach each other through it. Gateway and subnet are those of
the wire. A VLAN's interface that is not there is made with the first container and goes with the network; so does the
dummy of a network without a parent, which leads nowhere.
"""

from __future__ import annotations

import errno

from tiffin.errors import Conflict, InvalidArgument, NotFound, Unsupported
from tiffin.kernel import netlink, stacked
from tiffin.network.records import LAN_DRIVERS
from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tiffin.network.records import Endpoint, Network

MTU = "com.docker.network.driver.mtu"
_PARENT = "parent"
_MODES = {"macvlan": stacked.MACVLAN_MODES, "ipvlan": stacked.IPVLAN_MODES}
_USUAL = {"macvlan": "bridge", "ipvlan": "l2"}
_ALONE = "passthru"
_LAST_VLAN = 4094


def mode_of(driver: str, options: Mapping[str, str]) -> str:
    """The mode that options ask for. Raises InvalidArgument, also for options that the driver has not."""
    known = (_PARENT, f"{driver}_mode", MTU)
    for key in options:
        if key not in known:
            raise InvalidArgument(f"unknown option {key} of the driver {driver}; known: {', '.join(known)}")
    mode = options.get(f"{driver}_mode", "") or _USUAL[driver]
    if mode not in _MODES[driver]:
        raise InvalidArgument(
            f"requested {driver} mode '{mode}' is not valid, '{_USUAL[driver]}' mode is the {driver} driver default;"
            f" there are {', '.join(_MODES[driver])}"
        )
    return mode


def choose_parent(
    host: netlink.Socket, driver: str, options: Mapping[str, str], identity: str, known: Sequence[Network]
) -> tuple[str, bool]:
    """The interface that a new network is to stand on, and whether it is the user's own rather than ours to make.
    Raises InvalidArgument, NotFound, Conflict, Unsupported."""
    name = options.get(_PARENT, "")
    if not name:
        return f"dm-{identity[:12]}", False
    if name == "lo":
        raise InvalidArgument(f"loopback interface is not a valid {driver} parent link")
    mode = mode_of(driver, options)
    for other in known:
        if other.bridge == name and _ALONE in (mode, other.settings.mode):
            raise Conflict(
                f"network {other.name} is already using parent interface {name}; {_ALONE} wants it alone"
            )
        if other.bridge == name and other.driver in LAN_DRIVERS and other.driver != driver:
            raise Conflict(
                f"network {other.name} is already using parent interface {name} with driver {other.driver}"
            )
    if host.link(name) is not None:
        # An owner is asked to leave it when it goes: see `release`.
        return name, not any(other.bridge == name and not other.settings.borrowed for other in known)
    _below(host, name)
    return name, False


def check_kernel(driver: str) -> None:
    """Raises Unsupported where this kernel lacks the driver's kind of interface."""
    if not stacked.is_known(driver):
        raise Unsupported(
            f"this kernel has no {driver} interfaces (module {driver}, CONFIG_{driver.upper()})"
        )


def parent(host: netlink.Socket, network: Network) -> netlink.Link:
    """The interface that the network stands on, made and set up when it is ours. Raises NotFound, Unsupported."""
    link = host.link(network.bridge)
    if network.settings.borrowed:
        if link is None:
            raise NotFound(f"interface {network.bridge}, the parent of network {network.name}, is not there")
        return link
    if link is None:
        _make(host, network.bridge)
        link = host.link(network.bridge)
    host.run(netlink.set_link(network.bridge, up=True))
    if link is None:
        raise NotFound(f"interface {network.bridge} vanished while it was made; try again")
    return link


def plug(host: netlink.Socket, link: netlink.Link, fd: int, endpoint: Endpoint, network: Network) -> None:
    """Make the endpoint's interface in the namespace of descriptor `fd`; down. Raises Conflict, Unsupported."""
    settings = network.settings
    mtu = settings.mtu or link.mtu
    if network.driver == "ipvlan":
        request = stacked.add_ipvlan(endpoint.interface, link.ifindex, fd, settings.mode, mtu)
    else:
        request = stacked.add_macvlan(endpoint.interface, link.ifindex, fd, settings.mode, endpoint.mac, mtu)
    try:
        host.run(request)
    except OSError as error:
        if error.errno == errno.EOPNOTSUPP:
            check_kernel(network.driver)
        if error.errno in (errno.EBUSY, errno.EINVAL):
            raise Conflict(
                f"network {network.name} cannot have another interface on {network.bridge}: "
                + (
                    "in mode passthru it has room for one container"
                    if settings.mode == _ALONE
                    else str(error)
                )
            ) from error
        raise


def _below(host: netlink.Socket, name: str) -> tuple[netlink.Link, int]:
    """The interface under a VLAN's, and the VLAN's number. Raises InvalidArgument, NotFound."""
    base, dot, text = name.rpartition(".")
    if not dot:
        raise NotFound(f"-o parent interface was not found on the host: {name}")
    if not (text.isascii() and text.isdigit() and 0 < int(text) <= _LAST_VLAN) or len(name) > 15:
        raise InvalidArgument(
            f"invalid parent {name}: a VLAN is written INTERFACE.NUMBER, from 1 to {_LAST_VLAN}"
        )
    link = host.link(base)
    if link is None:
        raise NotFound(f"-o parent interface was not found on the host: {base}")
    return link, int(text)


def _make(host: netlink.Socket, name: str) -> None:
    vlan = "." in name
    try:
        if vlan:
            below, number = _below(host, name)
            host.run(stacked.add_vlan(name, below.ifindex, number))
        else:
            host.run(stacked.add_dummy(name))
    except OSError as error:
        if error.errno != errno.EOPNOTSUPP:
            raise
        module = ("8021q", "CONFIG_VLAN_8021Q") if vlan else ("dummy", "CONFIG_DUMMY")
        what = f"VLAN for {name}" if vlan else "dummy interface for a network without -o parent"
        raise Unsupported(f"this kernel has no {what} (module {module[0]}, {module[1]})") from error
