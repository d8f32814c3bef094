"""What `--network` and its companions say of a new container: names resolved, contradictions refused."""

from __future__ import annotations

from tiffin.containers.store import Containers
from tiffin.engine.networks import canonical_join, check_join, check_mac, find_network
from tiffin.errors import InvalidArgument
from tiffin.network.records import DEFAULT_NETWORK, UNADDRESSED, Join
from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from tiffin.engine.options import CreateOptions
    from tiffin.state import Store

_CONTAINER = "container:"


def settle(store: Store, options: CreateOptions) -> CreateOptions:
    """The options with `network` the first network's name, a mode, or "container:ID", and `joins` with the IDs of all;
    no joins where the record alone tells. Raises NotFound, InvalidArgument in Docker's words."""
    asked = options.joins or (Join("", options.network),)
    if any(join.name.startswith(_CONTAINER) or join.name in UNADDRESSED for join in asked):
        if len(asked) > 1:
            raise InvalidArgument(
                "conflicting options: cannot attach both user-defined and non-user-defined network-modes"
            )
        if asked[0].name.startswith(_CONTAINER):
            return _shared(store, options, asked[0])
        return _unaddressed(options, asked[0])
    joins: list[Join] = []
    for join in asked:
        network = find_network(store, DEFAULT_NETWORK if join.name == "default" else join.name)
        if network.name in UNADDRESSED:
            return _unaddressed(options, join._replace(name=network.name))
        key = DEFAULT_NETWORK if network.name == DEFAULT_NETWORK else network.id
        if any(one.network == key for one in joins):
            raise InvalidArgument(f'network "{network.name}" is specified more than once')
        joins.append(canonical_join(join._replace(network=key, name=network.name)))
        check_join(network, joins[-1])
    return options._replace(network=joins[0].name, joins=tuple(joins))


def _unaddressed(options: CreateOptions, join: Join) -> CreateOptions:
    if join.address or join.address6 or join.aliases:
        raise InvalidArgument(
            f"invalid config for network {join.name}: invalid endpoint settings: "
            "user specified IP address and aliases are supported on user defined networks only"
        )
    if join.mac:
        check_mac(join.mac)
        raise InvalidArgument("conflicting options: mac-address and the network mode")
    return options._replace(network=join.name, joins=())


def _shared(store: Store, options: CreateOptions, join: Join) -> CreateOptions:
    refused = {
        "hostname": options.hostname,
        "dns": options.dns,
        "custom host-to-IP mapping": options.extra_hosts,
        "mac-address": join.mac or join.address or join.address6 or join.aliases,
    }
    for what, given in refused.items():
        if given:
            raise InvalidArgument(f"conflicting options: {what} and the network mode")
    if options.publish or options.publish_all:
        raise InvalidArgument("conflicting options: port publishing and the container type network mode")
    if options.expose:
        raise InvalidArgument("conflicting options: port exposing and the container type network mode")
    reference = join.name.removeprefix(_CONTAINER)
    if not reference:
        raise InvalidArgument("--network: invalid container format container:<name|id>")
    target = Containers(store).find(reference)
    if target.record.network == "host" or target.record.network.startswith(_CONTAINER):
        # What it has is another's: that one is meant, and its names too.
        return options._replace(
            network=target.record.network, joins=(), hostname=_name(target.record.hostname, options)
        )
    return options._replace(
        network=f"{_CONTAINER}{target.id}",
        joins=(),
        hostname=_name(target.record.hostname, options),
        domainname=target.record.domainname,
    )


def _name(hostname: str, options: CreateOptions) -> str:
    return "" if options.uts == "host" else hostname
