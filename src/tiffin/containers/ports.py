"""Ports of a container as its record keeps them."""

from tiffin.errors import InvalidArgument
from tiffin.typed import NamedTuple

_PROTOCOLS = ("tcp", "udp", "sctp")


class PortSpec(NamedTuple):
    """One published port, as it was asked for. `host_port` 0 asks for any free one, `last_host_port` above it for
    one of a range."""

    host_ip: str
    host_port: int
    container_port: int
    protocol: str = "tcp"
    last_host_port: int = 0


def parse_expose(text: str) -> tuple[str, ...]:
    """`80`, `80/udp`, `8000-8002` as Docker's keys: ("80/tcp", ...). Raises InvalidArgument."""
    rest, _, protocol = text.partition("/")
    protocol = protocol.lower() or "tcp"
    low, dash, high = rest.partition("-")
    if protocol not in _PROTOCOLS or not (_is_port(low) and (not dash or _is_port(high))):
        raise InvalidArgument(f"invalid range format for --expose: {text}")
    last = int(high) if dash else int(low)
    if last < int(low):
        raise InvalidArgument(f"invalid range format for --expose: {text}")
    return tuple(f"{port}/{protocol}" for port in range(int(low), last + 1))


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 5 and 0 < int(text) <= 65535
