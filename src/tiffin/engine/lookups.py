"""What a new container is told about names: `--add-host`, `--dns` and its companions, checked."""

from __future__ import annotations

from tiffin.errors import InvalidArgument
from tiffin.network.addresses import canonical
from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from tiffin.engine.options import CreateOptions


def checked_host(entry: str) -> str:
    """ "name:address" or "name=address" in the former notation; an IPv6 address may have brackets."""
    name, sign, address = entry.partition("=" if "=" in entry else ":")
    if not name or not sign or not address or any(character.isspace() for character in entry):
        raise InvalidArgument(f"bad format for add-host: {entry!r}")
    if address.startswith("[") and address.endswith("]"):
        address = address[1:-1]
    if address != "host-gateway":
        address = _checked_address(address, f"invalid IP address in add-host: {address!r}")
    return f"{name}:{address}"


def check_dns(options: CreateOptions) -> None:
    """Raises InvalidArgument for what a name server's address or a domain cannot be."""
    for server in options.dns:
        _checked_address(server, f"invalid argument {server!r} for --dns: {server} is not an ip address")
    for domain in options.dns_search:
        plain = domain.rstrip(".").replace("-", "").replace("_", "").replace(".", "")
        if domain != "." and not (
            plain.isascii() and plain.isalnum() and ".." not in domain and len(domain) < 254
        ):
            raise InvalidArgument(
                f"invalid argument {domain!r} for --dns-search: {domain} is not a valid domain"
            )
    for option in options.dns_options:
        if not option or any(character.isspace() for character in option):
            raise InvalidArgument(f"invalid argument {option!r} for --dns-option: write NAME or NAME:VALUE")


def _checked_address(text: str, refusal: str) -> str:
    try:
        return canonical(text)
    except InvalidArgument:
        raise InvalidArgument(refusal) from None
