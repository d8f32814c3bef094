"""What `-p` and `--expose` say, as values. Docker's grammar: [[ip:][hostPort]:]containerPort[/protocol], each
port a number or a range, an IPv6 address in brackets."""

from typing import NamedTuple

from tiffin.errors import InvalidArgument, Unsupported


class PortSpec(NamedTuple):
    """One published port. `host_port` 0 asks for a free one; `host_ip` "" is every address."""

    container_port: int
    protocol: str = "tcp"
    host_ip: str = ""
    host_port: int = 0


def parse_publish(text: str) -> tuple[PortSpec, ...]:
    """The ports that one `-p` publishes. Raises InvalidArgument in Docker's words, Unsupported for a protocol
    that cannot be published."""
    rest, protocol = _protocol(text)
    host_ip, host, container = _split(text, rest)
    first, last = _range(container, f"Invalid containerPort: {container}")
    if not host:
        return tuple(PortSpec(port, protocol, host_ip, 0) for port in range(first, last + 1))
    host_first, host_last = _range(host, f"Invalid hostPort: {host}")
    if host_last - host_first != last - first:
        raise InvalidArgument(
            f"Invalid ranges specified for container and host Ports: {container} and {host}"
        )
    return tuple(PortSpec(first + n, protocol, host_ip, host_first + n) for n in range(last - first + 1))


def parse_expose(text: str) -> tuple[str, ...]:
    """`80`, `80/udp`, `8000-8002` as Docker's keys: ("80/tcp", ...)."""
    rest, _, protocol = text.partition("/")
    protocol = protocol.lower() or "tcp"
    if protocol not in ("tcp", "udp", "sctp"):
        raise InvalidArgument(f"Invalid proto: {protocol}")
    first, last = _range(rest, f"invalid range format for --expose: {text}")
    return tuple(f"{port}/{protocol}" for port in range(first, last + 1))


def _protocol(text: str) -> tuple[str, str]:
    rest, _, protocol = text.partition("/")
    protocol = protocol.lower() or "tcp"
    if protocol == "sctp":
        raise Unsupported(f"cannot publish {text}: only tcp and udp ports can be published")
    if protocol not in ("tcp", "udp"):
        raise InvalidArgument(f"Invalid proto: {protocol}")
    return rest, protocol


def _split(text: str, rest: str) -> tuple[str, str, str]:
    if rest.startswith("["):
        address, closed, tail = rest[1:].partition("]")
        if not closed or not tail.startswith(":"):
            raise InvalidArgument(f"Invalid ip address: {text}")
        host, _, container = tail[1:].rpartition(":")
    else:
        address, host, container = "", "", rest
        parts = rest.split(":")
        if len(parts) > 3:
            raise InvalidArgument(f"Invalid proto or ip in {text}; write an IPv6 address in brackets")
        if len(parts) == 3:
            address, host, container = parts
        elif len(parts) == 2:
            host, container = parts
    if not container:
        raise InvalidArgument(f"No port specified: {text}<empty>")
    if address and not _is_address(address):
        raise InvalidArgument(f"Invalid ip address: {address}")
    return address, host, container


def _is_address(text: str) -> bool:
    import socket

    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, text)
        except (OSError, ValueError):
            continue
        return True
    return False


def _range(text: str, refusal: str) -> tuple[int, int]:
    low, dash, high = text.partition("-")
    first, last = _port(low, refusal), _port(high, refusal) if dash else _port(low, refusal)
    if last < first:
        raise InvalidArgument(refusal)
    return first, last


def _port(text: str, refusal: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and 0 < int(text) <= 65535):
        raise InvalidArgument(refusal)
    return int(text)
