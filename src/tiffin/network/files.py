"""/etc/hosts and /etc/resolv.conf of a container, as texts. Host files are read up to a bound."""

from __future__ import annotations

import os

from tiffin.errors import InvalidArgument
from tiffin.network.addresses import to_number
from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_LIMIT = 64 * 1024
_RESOLV = "/etc/resolv.conf"
_SYSTEMD_RESOLV = "/run/systemd/resolve/resolv.conf"  # what the stub at 127.0.0.53 itself asks
_HOSTS = """\
127.0.0.1\tlocalhost
::1\tlocalhost ip6-localhost ip6-loopback
fe00::\tip6-localnet
ff00::\tip6-mcastprefix
ff02::1\tip6-allnodes
ff02::2\tip6-allrouters
"""


def hosts(
    address: str, names: Iterable[str], extra: Iterable[tuple[str, str]] = (), address6: str = ""
) -> str:
    """The text of /etc/hosts: the loopback, `extra` (name, address) lines, and the container's own names at
    its addresses. Without an address ("none") its names are not listed."""
    lines = [f"{ip}\t{name}\n" for name, ip in extra]
    own = " ".join(dict.fromkeys(name for name in names if name))
    lines += [f"{one}\t{own}\n" for one in (address, address6) if one and own]
    return _HOSTS + "".join(lines)


def resolv_conf(
    *, servers: Iterable[str] = (), search: Iterable[str] = (), options: Iterable[str] = ()
) -> str:
    """The text of /etc/resolv.conf for a container with its own network: the host's, less name servers that
    only the host can reach. Arguments that are given take the place of the host's."""
    lines = host_resolv_conf().splitlines()
    chosen = list(servers) or _reachable(lines)
    own = {"nameserver": chosen, "search": list(search), "options": list(options)}
    kept = [line for line in lines if _replaces(line, own)]
    if own["search"] and own["search"] != ["."]:
        kept.append("search " + " ".join(own["search"]))
    kept += [f"nameserver {server}" for server in chosen]
    if own["options"]:
        kept.append("options " + " ".join(own["options"]))
    if not chosen:
        kept.append("# the host names no server that a container can reach; give one with --dns")
    return "\n".join(kept) + "\n"


def named_resolv_conf(search: Iterable[str] = (), options: Iterable[str] = ()) -> str:
    """The text of /etc/resolv.conf for a container whose names our resolver knows: it is asked for a short name before
    the search list is tried."""
    given = list(options)
    if not any(option.startswith("ndots:") for option in given):
        given.append("ndots:0")
    return resolv_conf(servers=["127.0.0.11"], search=search, options=given)


def host_resolv_conf() -> str:
    """The host's resolv.conf; systemd-resolved's own where the host asks that alone; "" without any."""
    text = _read(_RESOLV)
    if not _reachable(text.splitlines()):
        systemd = _read(_SYSTEMD_RESOLV)
        if _reachable(systemd.splitlines()):
            return systemd
    return text


def host_nameservers() -> list[str]:
    """The name servers that a container would be given."""
    return _reachable(host_resolv_conf().splitlines())


def _replaces(line: str, own: dict[str, list[str]]) -> bool:
    """Whether a line of the host's file stays: comments go, and what `own` says itself."""
    words = line.split()
    if not words or words[0][0] in "#;":
        return False
    if words[0] == "domain":
        return not own["search"]
    return words[0] != "nameserver" and not own.get(words[0])


def _reachable(lines: Iterable[str]) -> list[str]:
    """The name servers beyond the host: no loopback, and no IPv6, which the bridge does not carry."""
    found: list[str] = []
    for line in lines:
        words = line.split()
        if len(words) < 2 or words[0] != "nameserver" or words[1] in found:
            continue
        try:
            if to_number(words[1]) >> 24 != 127:
                found.append(words[1])
        except InvalidArgument:
            continue  # IPv6, or no address at all
    return found


def _read(path: str) -> str:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return ""
    try:
        return os.read(fd, _LIMIT).decode(errors="replace")
    except OSError:
        return ""
    finally:
        os.close(fd)
