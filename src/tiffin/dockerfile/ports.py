"""What EXPOSE names: `80`, `80/udp`, `8000-8010/tcp`."""

from __future__ import annotations

import re

_RANGE = re.compile(r"([0-9]{1,5})(?:-([0-9]{1,5}))?")
_PROTOCOLS = ("tcp", "udp", "sctp")


def expand_port(text: str) -> list[str]:
    """`number/protocol` for each port of the range, as image configs have it. Raises ValueError.

    A host part (`127.0.0.1:8080:80`) is taken and dropped, as Docker does: an image cannot publish.
    """
    ports, _, protocol = text.partition("/")
    protocol = protocol.lower() or "tcp"
    if protocol not in _PROTOCOLS:
        raise ValueError("unknown protocol: use tcp, udp or sctp")
    container = ports.rpartition(":")[2]
    found = _RANGE.fullmatch(container)
    if found is None:
        raise ValueError("not a port: use a number from 0 to 65535 or a range")
    low = int(found[1])
    high = int(found[2] or found[1])
    if high > 65535:
        raise ValueError("not a port: larger than 65535")
    if low > high:
        raise ValueError("range of ports ends before it starts")
    return [f"{port}/{protocol}" for port in range(low, high + 1)]
