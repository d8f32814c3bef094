"""Network devices that move into a container (config-linux, "Network Devices"): with their global, permanent addresses,
and up again inside when they were up."""

from __future__ import annotations

import os
import struct

from tiffin.errors import EngineError, InvalidArgument, NotFound
from tiffin.kernel import netlink
from tiffin.kernel.namespaces import CLONE_NEWNET, setns
from tiffin.runtime.forked import raise_reported, read_all, report
from tiffin.runtime.step import step
from tiffin.typed import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

_RTM_NEWLINK, _RTM_NEWADDR, _RTM_GETADDR = 16, 20, 22
_NLM_F_DUMP, _NLM_F_CREATE, _NLM_F_EXCL = 0x300, 0x400, 0x200
_IFLA_IFNAME, _IFLA_NET_NS_FD = 3, 28
_IFA_FLAGS, _KEPT = 8, (1, 2, 4, 8)  # of addresses: address, local, broadcast, flags
_IFA_F_PERMANENT, _SCOPE_GLOBAL = 0x80, 0
_IFADDR = struct.Struct("=BBBBI")
_IFINFO = struct.Struct("=BxHiII")
_LONGEST = 15


class _Device(NamedTuple):
    name: str
    inside: str
    ifindex: int
    up: bool
    addresses: list[tuple[bytes, dict[int, bytes]]]


def move_all(wanted: Mapping[str, Any], pid: int) -> None:
    """Move each into the network namespace of `pid`. Raises NotFound, InvalidArgument, EngineError."""
    with step("open the container's network namespace"):
        target = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        if os.fstat(target).st_ino == os.stat("/proc/self/ns/net").st_ino:
            raise InvalidArgument("linux.netDevices needs a network namespace of the container's own")
        with netlink.Socket() as here:
            devices = [_find(here, name, (value or {}).get("name") or name) for name, value in wanted.items()]
            for device in devices:
                _move(here, device, target)
        _settle(devices, target)
    finally:
        os.close(target)


def _find(here: netlink.Socket, name: str, inside: str) -> _Device:
    for text in (name, inside):
        raw = text.encode()
        if not raw or len(raw) > _LONGEST or text in (".", "..") or any(c in text for c in "/:\0 \t\n"):
            raise InvalidArgument(f"linux.netDevices: {text!r} is no interface's name")
    link = here.link(name)
    if link is None:
        raise NotFound(f"linux.netDevices: there is no interface {name}")
    request = netlink.Request(_RTM_GETADDR, _NLM_F_DUMP, _IFADDR.pack(0, 0, 0, 0, 0), "addresses")
    kept = []
    for answer in here.get(request):
        family, prefix, _, scope, index = _IFADDR.unpack_from(answer)
        attributes = netlink.parse_attributes(answer, _IFADDR.size)
        flags = int.from_bytes(attributes.get(_IFA_FLAGS, b""), "little") or answer[2]
        if index == link.ifindex and scope == _SCOPE_GLOBAL and flags & _IFA_F_PERMANENT:
            kept.append(
                (bytes((family, prefix)), {kind: attributes[kind] for kind in _KEPT if kind in attributes})
            )
    return _Device(name, inside, link.ifindex, link.up, kept)


def _move(here: netlink.Socket, device: _Device, target: int) -> None:
    body = _IFINFO.pack(0, 0, device.ifindex, 0, 0)
    body += netlink.attribute(_IFLA_NET_NS_FD, struct.pack("=I", target))
    body += netlink.attribute(_IFLA_IFNAME, device.inside.encode() + b"\0")
    with step(f"move the interface {device.name} into the container"):
        here.run(netlink.Request(_RTM_NEWLINK, 0, body, device.name))


def _settle(devices: list[_Device], target: int) -> None:
    """In a process of its own, since it joins the namespace."""
    told, tell = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if pid == 0:
        try:
            setns(target, CLONE_NEWNET)
            with netlink.Socket() as there:
                for device in devices:
                    _restore(there, device)
        except BaseException as error:  # noqa: BLE001 - whatever it is, the parent must learn of it
            report(tell, error)
        finally:
            os._exit(0)
    os.close(tell)
    try:
        message = read_all(told)
    finally:
        os.close(told)
        os.waitpid(pid, 0)
    if message:
        raise_reported(message)


def _restore(there: netlink.Socket, device: _Device) -> None:
    link = there.link(device.inside)
    if link is None:
        raise EngineError(f"the interface {device.name} did not arrive in the container")
    with step(f"give the interface {device.inside} its addresses"):
        for (family, prefix), attributes in device.addresses:
            body = _IFADDR.pack(family, prefix, 0, _SCOPE_GLOBAL, link.ifindex)
            body += b"".join(netlink.attribute(kind, data) for kind, data in attributes.items())
            there.run(netlink.Request(_RTM_NEWADDR, _NLM_F_CREATE | _NLM_F_EXCL, body, device.inside))
        if device.up:
            there.run(netlink.set_link(device.inside, up=True))
