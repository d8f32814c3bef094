"""How much a container may send and receive: a token bucket on each end of its veth pair.

What goes to the container leaves the host by the host's end; what it sends leaves by its own. Both buckets end with
the pair, so that nothing is to be taken down. Control groups have no limit for the network.
"""

from __future__ import annotations

from tiffin.errors import EngineError, InvalidArgument
from tiffin.kernel import netlink
from tiffin.network.bridge import socket_in
from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from tiffin.state import Store

_LEAST_BURST = 32 * 1024
_MOST_BURST = 64 << 20
_QUEUE_SECONDS = 0.05  # what waits longer than that is dropped: TCP then slows down


def shape(store: Store, container_id: str, netns_fd: int, inward: int, outward: int) -> None:
    """Limit each interface of an attached container to so many bits a second; 0 is no limit. Idempotent: what
    was set before is replaced. Raises InvalidArgument for a container without an interface of its own, EngineError."""
    query = (
        "SELECT veth, interface, driver FROM endpoints JOIN networks ON networks.id = endpoints.network"
        " WHERE container = ?"
    )
    rows = store.db.execute(query, (container_id,)).fetchall()
    if not rows or netns_fd < 0:
        raise InvalidArgument("--bandwidth needs a network of the container's own; use --network bridge")
    try:
        with netlink.Socket() as host, socket_in(netns_fd) as inside:
            for veth, interface, driver in rows:
                if driver == "bridge":
                    _set(host, str(veth), inward)
                elif inward:
                    raise InvalidArgument(
                        f"--bandwidth cannot limit what reaches a container on a {driver} network"
                    )
                _set(inside, str(interface), outward)
    except OSError as error:
        raise EngineError(f"cannot limit the container's bandwidth: {error}") from error


def _set(where: netlink.Socket, name: str, bits: int) -> None:
    link = where.link(name)
    if link is None:
        raise EngineError(f"interface {name} is not there; start the container again")
    if bits:
        rate = max(bits // 8, 1)
        # A bucket must hold what comes between two ticks of the kernel's clock, and the largest packet.
        burst = min(max(rate // 100, _LEAST_BURST), _MOST_BURST)
        queue = min(max(int(rate * _QUEUE_SECONDS), _LEAST_BURST), _MOST_BURST)
        where.run(netlink.shape_output(link.ifindex, rate, burst, queue))
        return
    try:
        where.run(netlink.unshape_output(link.ifindex))
    except FileNotFoundError:
        pass
