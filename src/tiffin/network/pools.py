"""The subnets of a network that is being made: what its user chose, checked, or free ones."""

from __future__ import annotations

import os

from tiffin.errors import Conflict, InvalidArgument, Unsupported
from tiffin.kernel import sockets as socket
from tiffin.network import addresses, bridge
from tiffin.network.records import Pool
from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from tiffin.kernel import netlink
    from tiffin.network.definitions import NetworkRequest
    from tiffin.network.records import Network

_NO_POOL = "all predefined address pools have been fully subnetted; give one with --subnet"
_NONE = Pool("", "", "")
_FAMILIES = {32: socket.AF_INET, 128: socket.AF_INET6}


def choose_pools(
    host: netlink.Socket,
    known: Sequence[Network],
    engine: str,
    request: NetworkRequest,
    auxiliary: Mapping[str, str],
) -> tuple[Pool, Pool]:
    """The addresses of the network in IPv4 and in IPv6, a pool of empty texts for a family that it is not to have;
    apart from those of the other networks and of the machine. Raises InvalidArgument, Conflict, Unsupported."""
    if not (request.ipv4 or request.ipv6):
        raise InvalidArgument("IPv4 or IPv6 must be enabled; leave out --ipv4=false, or give --ipv6")
    wanted = {32: request.ipv4, 128: request.ipv6}
    subnets: dict[int, addresses.Subnet] = {}
    for text in request.subnets:
        own = addresses.parse_subnet(text)
        if own.bits in subnets:
            raise InvalidArgument(
                f"bridge driver doesn't support multiple subnets: {subnets[own.bits]} and {own}"
            )
        if not wanted[own.bits]:
            family, option = (
                ("IPv4", "leave out --ipv4=false") if own.bits == 32 else ("IPv6", "give --ipv6 too")
            )
            raise InvalidArgument(f"the network has no {family} for subnet {own}; {option}")
        _check_free(host if request.driver == "bridge" else None, known, own)
        subnets[own.bits] = own
    _check_places(request, subnets, auxiliary)
    pools = []
    for bits in (32, 128):
        if bits in subnets:
            pools.append(_pool(subnets[bits], request, auxiliary))
        elif wanted[bits]:
            free = _free(host, known, engine, bits)
            pools.append(Pool(str(free), addresses.to_text(free.base + 1, bits), ""))
        else:
            pools.append(_NONE)
    return pools[0], pools[1]


def _free(host: netlink.Socket, known: Sequence[Network], engine: str, bits: int) -> addresses.Subnet:
    used = bridge.used_subnets(host, "", _FAMILIES[bits])
    used += [addresses.parse_subnet(pool.subnet) for one in known for pool in one.pools]
    if bits == 128:
        return addresses.choose_subnet6(used, site_of(engine))
    try:
        return addresses.choose_subnet(used, int.from_bytes(os.urandom(2), "big"))
    except Unsupported as error:
        raise Unsupported(_NO_POOL) from error


def site_of(engine: str) -> int:
    """40 bits that no other engine has, of this machine or another (RFC 4193, section 3.2.2)."""
    import hashlib

    try:
        with open("/etc/machine-id", encoding="ascii", errors="replace") as file:
            machine = file.read(64).strip()
    except OSError:
        machine = os.uname().nodename
    return int.from_bytes(hashlib.sha256(f"tiffin {machine} {engine}".encode()).digest()[:5], "big")


def _check_free(host: netlink.Socket | None, known: Sequence[Network], own: addresses.Subnet) -> None:
    """`host` is None for a network that is on a wire of the machine's, and so has a subnet of its."""
    taken = "invalid pool request: Pool overlaps with other one on this address space: "
    for one in known:
        for pool in one.pools:
            if own.overlaps(addresses.parse_subnet(pool.subnet)):
                raise InvalidArgument(f"{taken}{own} with {pool.subnet} of network {one.name}")
    for address in host.addresses(_FAMILIES[own.bits]) if host else ():
        if own.overlaps(addresses.subnet(address.address, address.prefix)):
            raise InvalidArgument(f"{taken}{own} with {address.address}/{address.prefix} of this machine")


def _check_places(
    request: NetworkRequest, subnets: Mapping[int, addresses.Subnet], auxiliary: Mapping[str, str]
) -> None:
    """That what was given beside the subnets lies in one of them, and at most one gateway and range in each."""
    own = subnets.values()
    for what, texts in (("gateway", request.gateways), ("auxiliary address", tuple(auxiliary.values()))):
        for text in texts:
            if not any(subnet.holds(text) for subnet in own):
                raise InvalidArgument(f"no matching subnet for {what} {text}; give --subnet too")
    for text in request.ip_ranges:
        part = addresses.parse_subnet(text, longest=True)
        if not any(part.overlaps(subnet) and part.prefix >= subnet.prefix for subnet in own):
            raise InvalidArgument(f"no matching subnet for range {text}; give --subnet too")
    for what, families in (
        ("--gateway", [":" in text for text in request.gateways]),
        ("--ip-range", [":" in text for text in request.ip_ranges]),
    ):
        if len(families) > len(set(families)):
            raise InvalidArgument(f"{what} is given twice for one subnet; give one for each")


def _pool(own: addresses.Subnet, request: NetworkRequest, auxiliary: Mapping[str, str]) -> Pool:
    its = [addresses.canonical(address) for address in auxiliary.values() if own.holds(address)]
    gateway = next((text for text in request.gateways if own.holds(text)), "")
    gateway = addresses.canonical(gateway) if gateway else _first(own, its)
    for address in (gateway, *its):
        number, bits = addresses.parse_address(address)
        if number == own.base or (bits == 32 and number == own.base + own.size - 1):
            raise InvalidArgument(f"{address} is the first or last address of {own}; take another")
    if gateway in its:
        raise Conflict(f"Address already in use: {gateway} is the gateway")
    parts = [addresses.parse_subnet(text, longest=True) for text in request.ip_ranges]
    return Pool(str(own), gateway, next((str(part) for part in parts if part.overlaps(own)), ""))


def _first(own: addresses.Subnet, reserved: Iterable[str]) -> str:
    taken = set(reserved)
    candidates = (addresses.to_text(own.base + n, own.bits) for n in range(1, own.size))
    return next(text for text in candidates if text not in taken)
