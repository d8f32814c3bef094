"""What `--link` says of a new container."""

from __future__ import annotations

from tiffin.containers.store import Containers
from tiffin.errors import InvalidArgument, NotFound
from tiffin.network.links import Link, parse_link
from tiffin.network.records import DEFAULT_NETWORK, UNADDRESSED
from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from tiffin.engine.options import CreateOptions
    from tiffin.state import Store

_CONFLICT = "conflicting options: {} can't be used with links. This would result in undefined behavior"


def settle(store: Store, options: CreateOptions) -> tuple[Link, ...]:
    """The links of settled options, on the first of the networks. Raises NotFound, InvalidArgument, as Docker does."""
    network = options.joins[0].network if options.joins else options.network
    if network in UNADDRESSED or network.startswith("container:"):
        kind = "container type network" if network.startswith("container:") else f"{network} type networking"
        raise InvalidArgument(_CONFLICT.format(kind))
    if network == "default":
        network = DEFAULT_NETWORK
    found = []
    for text in options.links:
        name, alias = parse_link(text)
        found.append(Link(network, alias, _target(store, name) if network == DEFAULT_NETWORK else name))
    return tuple(found)


def _target(store: Store, name: str) -> str:
    """The ID of a container of the default network."""
    try:
        other = Containers(store).find(name)
    except NotFound as error:
        raise NotFound(f"could not get container for {name}: {error}") from error
    if other.record.network == "host":
        raise InvalidArgument(_CONFLICT.format("host type networking"))
    return other.id
