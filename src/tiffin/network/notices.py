"""What is said to the user about the machine's other firewalls, each thing once until the next boot."""

from __future__ import annotations

import os
from zlib import crc32

from tiffin.kernel import nftables
from tiffin.network import beside
from tiffin.network.records import ANY_ADDRESS
from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tiffin.network.records import PortMapping
    from tiffin.state import Layout

_EVERYWHERE = (ANY_ADDRESS, "::")
_UFW = "/etc/ufw/ufw.conf"


def of_refusals(layout: Layout, owner: str) -> list[str]:
    """What keeps the containers of the engine whose table is `owner` from the world."""
    return _new(layout, beside.refusals(owner))


def of_ports(layout: Layout, ports: Sequence[PortMapping]) -> list[str]:
    """That published ports are open although a firewall of the user's would have them shut: Docker's users are
    surprised by that again and again."""
    open_ports = [port for port in ports if port.host_ip in _EVERYWHERE]
    name = _active_firewall() if open_ports else ""
    if not name:
        return []
    return _new(
        layout,
        [
            f"published ports are reachable from everywhere, past {name}: it does not see what is forwarded to"
            " containers; publish at an address (-p 127.0.0.1:8080:80), or set default-address in the settings file"
        ],
    )


def _active_firewall() -> str:
    """Of ufw and firewalld the one that is at work. No process is started."""
    if nftables.find_chain("inet", "firewalld", "filter_INPUT") is not None:
        return "firewalld"
    if nftables.find_chain("ip", "filter", "ufw-before-input") is not None or _says_enabled():
        return "ufw"
    return ""


def _says_enabled() -> bool:
    """By its settings: its rules may be iptables-legacy's."""
    try:
        with open(_UFW, encoding="utf-8", errors="replace") as file:
            lines = file.read(1 << 16).splitlines()
    except OSError:
        return False
    return any(line.replace(" ", "").lower() == "enabled=yes" for line in lines)


def _new(layout: Layout, texts: Iterable[str]) -> list[str]:
    """Those that were not said before; the run directory remembers."""
    found = []
    for text in texts:
        os.makedirs(f"{layout.run}/said", mode=0o700, exist_ok=True)
        try:
            os.close(
                os.open(
                    f"{layout.run}/said/{crc32(text.encode()):08x}", os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
                )
            )
        except FileExistsError:
            continue
        found.append(text)
    return found
