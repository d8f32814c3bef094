"""Address arithmetic, and the choice of a subnet. Pure. (`ipaddress` would cost a short command 5 ms.)

An address is a number and the family it is of, told by its width: 32 bits or 128. Texts are in the one form that the
kernel, nft and the store show.
"""

from zlib import crc32

from tiffin.errors import InvalidArgument, Unsupported
from tiffin.typed import Iterable, Iterator, NamedTuple

_ULA = 0xFD  # the first byte of every locally assigned address (RFC 4193)


class Subnet(NamedTuple):
    """A subnet: its first address as a number, its prefix length, and the width of its family's addresses."""

    base: int
    prefix: int
    bits: int = 32

    def __str__(self) -> str:
        return f"{to_text(self.base, self.bits)}/{self.prefix}"

    @property
    def size(self) -> int:
        return 1 << (self.bits - self.prefix)

    def overlaps(self, other: "Subnet") -> bool:
        if self.bits != other.bits:
            return False
        shift = self.bits - min(self.prefix, other.prefix)
        return self.base >> shift == other.base >> shift

    def holds(self, address: str) -> bool:
        """Whether an address lies in it. Raises InvalidArgument for what is none."""
        number, bits = parse_address(address)
        return bits == self.bits and number >> (bits - self.prefix) == self.base >> (bits - self.prefix)


def parse_address(text: str) -> tuple[int, int]:
    """An address of either family as its number and its width. Raises InvalidArgument."""
    if ":" not in text:
        return to_number(text), 32
    from tiffin.kernel import sockets as socket

    try:
        return int.from_bytes(socket.inet_pton(socket.AF_INET6, text), "big"), 128
    except (OSError, ValueError) as error:
        raise InvalidArgument(f"invalid IPv6 address {text!r}; write it as fd00::1") from error


def canonical(text: str) -> str:
    """An address in the form in which it is kept and compared. Raises InvalidArgument."""
    return to_text(*parse_address(text))


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


def to_text(number: int, bits: int = 32) -> str:
    if bits == 32:
        return f"{number >> 24}.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
    from tiffin.kernel import sockets as socket

    return socket.inet_ntop(socket.AF_INET6, number.to_bytes(16, "big"))


def subnet(address: str, prefix: int) -> Subnet:
    """The subnet that an address with that prefix length lies in."""
    number, bits = parse_address(address)
    return Subnet(number >> (bits - prefix) << (bits - prefix), prefix, bits)


def parse_subnet(text: str, *, longest: bool = False) -> Subnet:
    """ "10.210.0.0/16" or "fd00:1::/64" as a Subnet. Raises InvalidArgument; also for one too small for a gateway and a
    container, which with `longest` is allowed."""
    address, _, prefix = text.partition("/")
    most = 128 if ":" in address else 32
    if not (prefix.isascii() and prefix.isdigit() and len(prefix) <= 3) or not (
        1 <= int(prefix) <= (most if longest else most - 2)
    ):
        example = "fd00:1::/64" if ":" in address else "10.210.0.0/16"
        raise InvalidArgument(f"invalid subnet {text!r}; write an address and a length, as {example}")
    return subnet(address, int(prefix))


def mac_for(address: str) -> str:
    """The MAC of the container at `address`: locally administered, and the same whenever the address is used
    again, so that no neighbour is left with a stale entry."""
    number, bits = parse_address(address)
    if bits > 32:  # a sum, in which the addresses of a /96 differ
        number = crc32(number.to_bytes(16, "big"))
    return "02:42:" + number.to_bytes(4, "big").hex(":")


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


def choose_subnet6(used: Iterable[Subnet], seed: int) -> Subnet:
    """A free /64 of the engine's own unique local /48 (RFC 4193), whose 40 bits `seed` fixes."""
    taken = list(used)
    site = _ULA << 120 | (seed & (1 << 40) - 1) << 80
    for number in range(1 << 16):
        candidate = Subnet(site | number << 64, 64, 128)
        if not any(candidate.overlaps(other) for other in taken):
            return candidate
    raise Unsupported(f"no free IPv6 subnet in {Subnet(site, 48, 128)}: the host has routes for all of it")


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
