"""From a registry's name to the addresses to ask, in order, and how far each is trusted.

    docker.io, index.docker.io    https://registry-1.docker.io, never anything weaker
    any other HOST[:PORT]         https://HOST[:PORT]
    one that is insecure          the same with whatever certificate it shows, then http://HOST[:PORT]

Insecure is what the settings list as such, by name or by network, and this machine's own loopback (`localhost`,
`*.localhost`, 127.0.0.0/8, ::1) unless certs.d holds an authority for it: who says what to trust wants it checked.
Mirrors are asked before the registry, by pulls only, and exactly as their URL is written.
"""

from __future__ import annotations

import os
import re

from tiffin.errors import InvalidArgument, PermissionDenied
from tiffin.typed import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable
    from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

    from tiffin.config import RegistrySettings

    Address = IPv4Address | IPv6Address
    Network = IPv4Network | IPv6Network

HUB = "docker.io"
HUB_HOST = "registry-1.docker.io"
HUB_AUTH_KEY = "https://index.docker.io/v1/"
"""The name under which Docker's configuration file and credential helpers know Docker Hub."""

_HUB_NAMES = ("docker.io", "index.docker.io")
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9_-]*[A-Za-z0-9])?"
_HOST = rf"{_LABEL}(?:\.{_LABEL})*\.?"
_NAME_MAX = 255


class Endpoint(NamedTuple):
    """One address of a registry."""

    url: str
    """`https://registry-1.docker.io`: a scheme, a host, perhaps a port and (mirrors) a path; no slash at its end"""
    registry: str
    """the registry's name as references have it, also for its mirrors"""
    insecure: bool = False
    """whatever certificate it shows will do"""
    ca_files: tuple[str, ...] = ()
    """PEM files of authorities that are trusted for it besides the system's"""
    client_certificates: tuple[tuple[str, str], ...] = ()
    """(certificate, key) PEM files to show when it asks"""
    mirror: bool = False

    @property
    def host(self) -> str:
        """HOST[:PORT] of the URL."""
        return self.url.partition("://")[2].partition("/")[0]

    @property
    def credential_name(self) -> str:
        """Whose credentials belong here: a mirror is somebody else, and never sees the registry's own."""
        return self.host if self.mirror else self.registry


def registry_of(server: str) -> str:
    """The registry that a user or a configuration file means by `server`: HOST[:PORT], with or without a scheme and a
    path; "" and each name of Docker Hub are `docker.io`. Raises InvalidArgument when no host could be called so."""
    host = re.sub(r"^https?://", "", server.strip()).partition("/")[0]
    if not host and not server.strip():
        return HUB
    if host.lower() in _HUB_NAMES:
        return HUB
    split_host(host)
    return host


def split_host(registry: str) -> tuple[str, str]:
    """("example.com", "5000") of `example.com:5000`, ("::1", "") of `[::1]`. Raises InvalidArgument."""
    found = re.fullmatch(rf"(?:({_HOST})|\[([0-9A-Fa-f:.]+)\])(?::([0-9]{{1,5}}))?", registry)
    if found is None or len(registry) > _NAME_MAX or int(found[3] or 1) not in range(1, 65536):
        shown = "".join(c if c.isprintable() else "?" for c in registry[:100])
        raise InvalidArgument(
            f"invalid registry {shown!r}: want HOST or HOST:PORT, as in registry.example:5000"
        )
    if found[2] is not None and _address(found[2]) is None:
        raise InvalidArgument(f"invalid registry {registry!r}: what is in brackets must be an IPv6 address")
    return found[1] or found[2], found[3] or ""


def endpoints_of(registry: str, settings: RegistrySettings, *, push: bool = False) -> tuple[Endpoint, ...]:
    """Where `registry` is asked, first to last; `push` leaves out mirrors. May look up the host's addresses, only when
    the settings list a network as insecure. Raises InvalidArgument for a name or a setting that makes no sense,
    naming it."""
    registry = registry_of(registry)
    mirrors = (
        () if push else tuple(_mirror(registry, url, settings) for url in _mirrors_of(registry, settings))
    )
    if registry == HUB:
        return (*mirrors, _trusted(f"https://{HUB_HOST}", HUB, (HUB, HUB_HOST), settings))
    own = _trusted(f"https://{registry}", registry, (registry,), settings)
    if not own.insecure:
        return (*mirrors, own)
    return (*mirrors, own, own._replace(url=f"http://{registry}", ca_files=(), client_certificates=()))


def _trusted(url: str, registry: str, names: tuple[str, ...], settings: RegistrySettings) -> Endpoint:
    """The endpoint with what certs.d has under the first of `names` that it knows."""
    authorities, pairs = certificates_of(names, settings.certs_dirs)
    insecure = HUB not in names and is_insecure(names[0], settings, loopback=not authorities)
    return Endpoint(url, registry, insecure, authorities, pairs)


# ---- mirrors


def _mirrors_of(registry: str, settings: RegistrySettings) -> Iterable[str]:
    for name, urls in settings.mirrors.items():
        if registry_of(name) == registry:
            yield from urls


def _mirror(registry: str, text: str, settings: RegistrySettings) -> Endpoint:
    """A mirror's URL, checked; without a scheme it is https."""
    from urllib.parse import urlsplit

    where = "registries.mirrors in the settings"
    try:
        parts = urlsplit(text if "://" in text else f"https://{text}")
    except ValueError as error:
        raise InvalidArgument(f"{where}: a mirror of {registry} is not a valid URL: {error}") from None
    if "@" in parts.netloc:  # not shown: what stands before the @ is a password
        raise InvalidArgument(
            f"{where}: a mirror of {registry} has a user name or password in its URL; use 'tiffin login'"
        )
    if parts.scheme not in ("http", "https"):
        raise InvalidArgument(f"{where}: {text!r}: want http:// or https://")
    if parts.query or parts.fragment or not text.isascii() or not text.isprintable() or " " in text:
        raise InvalidArgument(f"{where}: {text!r}: a URL ends with its host or path; no query, no fragment")
    split_host(parts.netloc)
    url = f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"
    found = _trusted(url, registry, (parts.netloc,), settings)
    if parts.scheme == "http":
        return found._replace(mirror=True, ca_files=(), client_certificates=())
    return found._replace(mirror=True)


# ---- trust


def is_insecure(registry: str, settings: RegistrySettings, *, loopback: bool = True) -> bool:
    """Whether `registry` (HOST[:PORT]) may be spoken to without proof of who it is: it is listed, or all its addresses
    are in a listed network, or, with `loopback`, it is this machine by its very name.

    Only a listed network makes a host's addresses matter, and no name but localhost is loopback for what it resolves
    to: else whoever answers our DNS could first say 127.0.0.1, and have certificates go unchecked."""
    names, networks = _insecure_lists(settings)
    host, _ = split_host(registry)
    if registry.lower() in names:
        return True
    address = _address(host)
    if loopback and _is_loopback(host, address):
        return True
    if not networks:
        return False
    addresses = [address] if address is not None else _resolve(host)
    return bool(addresses) and all(any(one in network for network in networks) for one in addresses)


def _insecure_lists(settings: RegistrySettings) -> tuple[set[str], list[Network]]:
    from ipaddress import ip_network

    names: set[str] = set()
    networks: list[Network] = []
    for entry in settings.insecure:
        bare = re.sub(r"^https?://", "", entry)
        try:
            if "/" in bare.rstrip("/"):
                networks.append(ip_network(bare, strict=False))
            else:
                split_host(bare.rstrip("/"))
                names.add(bare.rstrip("/").lower())
        except (ValueError, InvalidArgument):
            raise InvalidArgument(
                f"registries.insecure in the settings: {entry!r}: want HOST, HOST:PORT or a network as in 10.0.0.0/8"
            ) from None
    return names, networks


def _is_loopback(host: str, address: Address | None) -> bool:
    if address is not None:
        return address.is_loopback
    name = host.lower().rstrip(".")
    return name == "localhost" or name.endswith(".localhost")


def _address(host: str) -> Address | None:
    from ipaddress import ip_address

    try:
        return ip_address(host)
    except ValueError:
        return None


def _resolve(host: str) -> list[Address]:
    """The host's addresses; none when nobody knows it, which the connection will tell better."""
    import socket

    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError:
        return []
    return [
        one for one in (_address(str(entry[4][0]).partition("%")[0]) for entry in found) if one is not None
    ]


# ---- certs.d


def certificates_of(
    names: tuple[str, ...], directories: tuple[str, ...]
) -> tuple[tuple[str, ...], tuple[tuple[str, str], ...]]:
    """What Docker's layout of certificates holds for a registry: authorities (*.crt), and the client's certificates
    with their keys (NAME.cert, NAME.key). The first of `directories` that knows one of `names` answers; the files'
    contents are for who loads them. Raises InvalidArgument for half a pair."""
    for directory in directories:
        for name in names:
            path = f"{directory}/{name}"
            try:
                files = sorted(os.listdir(path))
            except (FileNotFoundError, NotADirectoryError):
                continue
            except OSError as error:
                raise PermissionDenied(f"cannot read the certificates in {path}: {error.strerror}") from error
            return _sorted_out(path, files)
    return (), ()


def _sorted_out(path: str, files: list[str]) -> tuple[tuple[str, ...], tuple[tuple[str, str], ...]]:
    for file in files:
        stem, extension = os.path.splitext(file)
        if extension == ".cert" and f"{stem}.key" not in files:
            raise InvalidArgument(
                f"missing key {stem}.key for client certificate {file} in {path}; "
                "CA certificates must use the extension .crt"
            )
        if extension == ".key" and f"{stem}.cert" not in files:
            raise InvalidArgument(f"missing client certificate {stem}.cert for key {file} in {path}")
    authorities = tuple(f"{path}/{file}" for file in files if file.endswith(".crt"))
    stems = [file.removesuffix(".cert") for file in files if file.endswith(".cert")]
    return authorities, tuple((f"{path}/{stem}.cert", f"{path}/{stem}.key") for stem in stems)
