"""Networks of containers: the bridge, addresses, published ports, /etc/hosts and /etc/resolv.conf.

`Networks` attaches and detaches; `parse_publish` reads `-p`; `files` writes the two texts. The way of packets
is told in `firewall`, the interfaces are made in `bridge`.
"""

from tiffin.network.manager import DEFAULT_NETWORK, Networks
from tiffin.network.ports import format_port, parse_publish
from tiffin.network.records import Attachment, Endpoint, Network, PortMapping

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
