"""Where a URL leads, and whether a registry may lead us there (T14, T15, T17).

An *origin* is scheme, host and port. Credentials belong to one origin and go nowhere else. A URL that a registry
names (a redirect, an upload's location, a token realm) is checked here before anything is sent to it.
"""

from __future__ import annotations

from tiffin.errors import TransferError
from tiffin.oci.reference import shown
from tiffin.typed import NamedTuple

URL_MAX = 16 << 10  # characters; signed URLs of object stores have 2,000
_PORTS = {"http": 80, "https": 443}


class Origin(NamedTuple):
    """Scheme, host (lower case, an IPv6 address without brackets) and port."""

    scheme: str
    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        usual = self.port == _PORTS.get(self.scheme)
        return f"{self.scheme}://{host}" + ("" if usual else f":{self.port}")


def origin_of(url: str) -> Origin:
    """The origin of an absolute http or https URL. Raises TransferError for any other, for one that carries a user
    or a password, and for one with characters that a URL has not."""
    from urllib.parse import urlsplit

    if len(url) > URL_MAX or not url.isascii() or any(not 0x21 <= ord(c) <= 0x7E for c in url) or "\\" in url:
        raise TransferError(f"malformed URL {shown(url)!r}")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise TransferError(f"malformed URL {shown(url)!r}") from None
    scheme, host = parts.scheme.lower(), (parts.hostname or "").lower()
    if scheme not in _PORTS:
        raise TransferError(f"URL {shown(url)!r} is neither http nor https")
    if not host or "@" in parts.netloc or "%" in host:
        raise TransferError(f"malformed URL {shown(url)!r}")
    return Origin(scheme, host, _PORTS[scheme] if port is None else port)


def target_of(url: str) -> str:
    """The path and query of a URL, without its fragment, as they go into a request line."""
    from urllib.parse import urlsplit

    parts = urlsplit(url)
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


def resolve_location(base: str, location: str) -> str:
    """The absolute URL that a Location or Link header means at `base` (RFC 3986, section 5). Raises TransferError."""
    from urllib.parse import urldefrag, urljoin

    if not location or len(location) > URL_MAX:
        raise TransferError(f"{origin_of(base)} names no usable location")
    try:
        found = urldefrag(urljoin(base, location.strip().replace(" ", "%20"))).url
    except ValueError:
        raise TransferError(f"{origin_of(base)} names a malformed location {shown(location)!r}") from None
    origin_of(found)
    return found


# --- how far inside an address is -----------------------------------------------------------------------------------

PUBLIC, PRIVATE, LOOPBACK, LINK_LOCAL = range(4)
_KIND_NAMES = ("public", "private", "loopback", "link-local")


def address_kind(text: str) -> int:
    """How far inside of a network an IP address leads: PUBLIC, PRIVATE, LOOPBACK (this machine) or LINK_LOCAL (where
    clouds keep their metadata). Addresses that embed an IPv4 address are taken for that one.
    Raises ValueError for what is no address."""
    import ipaddress

    address = ipaddress.ip_address(text.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if inner is None and address in ipaddress.IPv6Network("64:ff9b::/96"):
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            address = inner
    if address.is_loopback or address.is_unspecified:
        return LOOPBACK
    if address.is_link_local or address.is_multicast or str(address) in _METADATA:
        return LINK_LOCAL
    return PUBLIC if address.is_global else PRIVATE


_METADATA = frozenset(
    {"100.100.100.200", "fd00:ec2::254", "192.0.0.192"}
)  # clouds' own, outside of 169.254/16


def host_kinds(host: str, port: int) -> set[int]:
    """The kinds of all addresses of a host name or address; empty when it has none here (a proxy may know more)."""
    try:
        return {address_kind(host)}
    except ValueError:
        pass
    if host == "localhost" or host.endswith(".localhost"):
        return {LOOPBACK}
    import socket

    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return set()
    return {address_kind(str(entry[4][0])) for entry in found}


def may_lead(from_kinds: set[int], to_kinds: set[int]) -> bool:
    """Whether somebody at addresses of `from_kinds` may send us to addresses of `to_kinds`: never further inside
    than it stands itself. An unknown asker counts as public."""
    standing = from_kinds or {PUBLIC}
    if PUBLIC in standing:
        return to_kinds <= {PUBLIC}
    return to_kinds <= standing | {PUBLIC, PRIVATE}


def kind_name(kinds: set[int]) -> str:
    """For messages: the innermost of `kinds`."""
    return _KIND_NAMES[max(kinds)] if kinds else "unknown"
