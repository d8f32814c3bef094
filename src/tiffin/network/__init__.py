"""Networks of containers: the bridge, addresses, published ports, /etc/hosts and /etc/resolv.conf.

`Networks` attaches and detaches; `parse_publish` reads `-p`; `files` writes the two texts. The way of packets
is told in `firewall`, the interfaces are made in `bridge`. Each name is loaded when it is first used: a container
without a network needs two small modules of them.
"""

from tiffin.typed import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tiffin.network.manager import Networks
    from tiffin.network.ports import format_port, parse_publish
    from tiffin.network.records import DEFAULT_NETWORK, Attachment, Endpoint, Network, PortMapping

_HOMES = {
    "manager": ("Networks",),
    "ports": ("format_port", "parse_publish"),
    "records": ("DEFAULT_NETWORK", "Attachment", "Endpoint", "Network", "PortMapping"),
}

__all__ = [
    "DEFAULT_NETWORK",
    "Attachment",
    "Endpoint",
    "Network",
    "Networks",
    "PortMapping",
    "format_port",
    "parse_publish",
]


def __getattr__(name: str) -> Any:
    for home, names in _HOMES.items():
        if name in names:
            import importlib

            return getattr(importlib.import_module(f"{__name__}.{home}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
