"""Which proxy a request goes through: HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY, in either case.

NO_PROXY is a list of host names (each with its subdomains; with a leading dot the subdomains alone), addresses and
networks (CIDR), each with an optional port, or `*` for everything. This machine is never asked through a proxy.
"""

from __future__ import annotations

from tiffin.errors import InvalidArgument
from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tiffin.registry.origin import Origin


def proxy_for(origin: Origin, environment: Mapping[str, str]) -> str:
    """The URL of the proxy for requests to `origin`, or "". Raises InvalidArgument for a proxy that is not http or
    https; the message never shows its password."""
    if _is_local(origin.host) or _excluded(origin, _variable(environment, "no_proxy")):
        return ""
    name = f"{origin.scheme}_proxy"
    if name == "http_proxy" and environment.get("REQUEST_METHOD"):
        found = environment.get(name, "")  # in CGI, HTTP_PROXY is what a client's header said
    else:
        found = _variable(environment, name)
    found = (found or _variable(environment, "all_proxy")).strip()
    if not found:
        return ""
    url = found if "://" in found else f"http://{found}"
    scheme = url.partition("://")[0].lower()
    if scheme not in ("http", "https"):
        raise InvalidArgument(
            f"${name.upper()} names a proxy of kind {scheme[:20]!r}; http or https is wanted"
        )
    return url


def _variable(environment: Mapping[str, str], name: str) -> str:
    return environment.get(name) or environment.get(name.upper()) or ""


def _is_local(host: str) -> bool:
    from tiffin.registry.origin import LOOPBACK, address_kind

    try:
        return address_kind(host) == LOOPBACK
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _excluded(origin: Origin, no_proxy: str) -> bool:
    return any(_matches(origin, entry) for entry in no_proxy.lower().replace(",", " ").split())


def _matches(origin: Origin, entry: str) -> bool:
    import ipaddress

    if entry == "*":
        return True
    if "/" in entry:
        try:
            return ipaddress.ip_address(origin.host) in ipaddress.ip_network(entry, strict=False)
        except ValueError:
            return False
    name, port = _split_port(entry)
    if port and port != str(origin.port):
        return False
    if name.startswith("*."):
        name = name[1:]
    if name.startswith("."):
        return origin.host.endswith(name)
    return origin.host == name or origin.host.endswith(f".{name}")


def _split_port(entry: str) -> tuple[str, str]:
    if entry.startswith("["):
        name, _, rest = entry[1:].partition("]")
        return name, rest.removeprefix(":")
    if entry.count(":") == 1:
        name, _, port = entry.partition(":")
        return name, port
    return entry, ""
