"""IPv4 arithmetic, and the choice of a subnet. Pure. (`ipaddress` would cost a short command 5 ms.)"""

from collections.abc import Iterable, Iterator

from tiffin.errors import InvalidArgument, Unsupported
from tiffin.typed import NamedTuple


class Subnet(NamedTuple):
    """An IPv4 subnet: its first address as a number, and its prefix length."""

    base: int
    prefix: int

    def __str__(self) -> str:
        return f"{to_text(self.base)}/{self.prefix}"

    @property
    def size(self) -> int:
        return 1 << (32 - self.prefix)

    def overlaps(self, other: "Subnet") -> bool:
        shift = 32 - min(self.prefix, other.prefix)
        return self.base >> shift == other.base >> shift


def to_number(text: str) -> int:
    """A dotted address as a number. Strict: four decimal parts, no leading zeros. Raises InvalidArgument."""
    parts = text.split(".")
    value = 0
    for part in parts:
        if not (part.isascii() and part.isdigit() and len(part) <= 3) or int(part) > 255:
            break
        if len(part) > 1 and part[0] == "0":
            break
        value = value << 8 | int(part)
    else:
        if len(parts) == 4:
            return value
    raise InvalidArgument(f"invalid IPv4 address {text!r}; write four numbers from 0 to 255, as 127.0.0.1")


def to_text(number: int) -> str:
    return f"{number >> 24}.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"


def subnet(address: str, prefix: int) -> Subnet:
    """The subnet that an address with that prefix length lies in."""
    return Subnet(to_number(address) & (0xFFFFFFFF << (32 - prefix)) & 0xFFFFFFFF, prefix)


def parse_subnet(text: str, longest: int = 30) -> Subnet:
    """ "10.210.0.0/16" as a Subnet. Raises InvalidArgument; also for a prefix beyond `longest`, by default that of the
    smallest network with a gateway and a container."""
    address, _, prefix = text.partition("/")
    if not (prefix.isascii() and prefix.isdigit() and len(prefix) <= 2 and 1 <= int(prefix) <= longest):
        raise InvalidArgument(f"invalid subnet {text!r}; write an address and a length, as 10.210.0.0/16")
    return subnet(address, int(prefix))


def mac_for(address: str) -> str:
    """The MAC of the container at `address`: locally administered, and the same whenever the address is used
    again, so that no neighbour is left with a stale entry."""
    return "02:42:" + to_number(address).to_bytes(4, "big").hex(":")


def choose_subnet(used: Iterable[Subnet], seed: int, avoid: int = 0) -> Subnet:
    """The first subnet, in an order that `seed` fixes, that overlaps nothing in `used`. Passes over the first
    `avoid` that would do. Raises Unsupported when there is none."""
    taken = list(used)
    for candidate in _candidates(seed):
        if any(candidate.overlaps(other) for other in taken):
            continue
        if not avoid:
            return candidate
        avoid -= 1
    raise Unsupported("no free private subnet for the bridge: the host has routes for all of them")


def _candidates(seed: int) -> Iterator[Subnet]:
    # Clear of what others take by default: Docker 172.17-31 and 192.168, Podman 10.88-89, k3s 10.42-43,
    # Kubernetes 10.96 and 10.244, libvirt 192.168.122. The seed keeps two engines of one machine apart.
    first, count = 128, 112
    for step in range(count):
        yield Subnet(10 << 24 | (first + (seed + step) % count) << 16, 16)
    for second in range(31, 15, -1):
        yield Subnet(172 << 24 | second << 16, 16)
    for third in range(255, -1, -1):
        yield Subnet(192 << 24 | 168 << 16 | third << 8, 24)
