"""Whether a registry may send our credentials to the token server that it names (T15).

A registry chooses its *realm* freely, and the user's password goes there: it must be https, unless the registry itself
is spoken to without proof (then the network could have sent us anywhere anyway), and no further inside the network than
the registry stands. Another public host is normal: registry-1.docker.io names auth.docker.io.
"""

from __future__ import annotations

from tiffin.errors import TransferError
from tiffin.registry.origin import LOOPBACK, PRIVATE, PUBLIC, host_kinds, kind_name, may_lead, origin_of
from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from tiffin.registry.endpoints import Endpoint


def check_realm(endpoint: Endpoint, realm: str) -> str:
    """`realm` itself when a token may be asked for there. Raises TransferError naming what is wrong with it; nothing
    has been sent then. Looks up addresses."""
    home = origin_of(endpoint.url)
    try:
        there = origin_of(realm)
    except TransferError as error:
        raise TransferError(f"{home} sends logins to a place that is refused: {error}") from None
    if there.scheme != "https" and not endpoint.insecure and home.scheme == "https":
        raise TransferError(f"{home} sends logins to {there}, which is not https: refused")
    if there.host != home.host:
        kinds = host_kinds(there.host, there.port)
        if not may_lead(host_kinds(home.host, home.port), kinds):
            raise TransferError(
                f"{home} sends logins to {there}, a {kind_name(kinds)} address: refused, "
                "as the registry itself is elsewhere"
            )
    return realm


def kinds_allowed(endpoint: Endpoint, realm: str) -> frozenset[int] | None:
    """The kinds of addresses that a connection to a checked `realm` may turn out to have; None: any, at the
    registry's own host."""
    home, there = origin_of(endpoint.url), origin_of(realm)
    if home.host == there.host:
        return None
    standing = host_kinds(home.host, home.port)
    inside = () if PUBLIC in (standing or {PUBLIC}) else (PRIVATE, *(standing & {LOOPBACK}))
    return frozenset((PUBLIC, *inside))
