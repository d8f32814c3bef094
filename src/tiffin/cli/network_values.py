"""The values of `--network` and its companions. Loaded only when more than one plain name is given."""

from tiffin.errors import InvalidArgument
from tiffin.network.records import Join
from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from tiffin.cli.parser import Namespace

_KEYS = ("name", "alias", "ip", "ip6", "mac-address", "gw-priority")


def joins(args: "Namespace") -> tuple[Join, ...]:
    """`--network NAME` and `--network name=NAME,alias=X,ip=ADDRESS,ip6=ADDRESS,mac-address=MAC,gw-priority=N`, in
    order; `--ip`, `--ip6`, `--network-alias` and `--mac-address` go with the only one. Raises InvalidArgument in
    Docker's words."""
    found = [_join(text) for text in args.network] or [Join("", "bridge")]
    for option, given in (
        ("--ip", args.ip),
        ("--ip6", args.ip6),
        ("--network-alias", args.network_alias),
        ("--mac-address", args.mac_address),
    ):
        if given and len(found) > 1 and option != "--network-alias":
            raise InvalidArgument(f"conflicting options: cannot specify both {option} and several --network")
    first = found[0]
    found[0] = first._replace(
        address=args.ip or first.address,
        address6=args.ip6 or first.address6,
        mac=args.mac_address or first.mac,
        aliases=(*first.aliases, *args.network_alias),
    )
    return tuple(found)


def priority(text: str) -> int:
    """A number by which networks are compared. Raises InvalidArgument."""
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdigit() and len(digits) < 10):
        raise InvalidArgument(f"invalid gw-priority {text!r}; write a whole number")
    return int(text)


def _join(text: str) -> Join:
    if "=" not in text:
        return Join("", text)
    join = Join("", "")
    for field in text.split(","):
        key, equals, value = field.partition("=")
        key = key.strip().lower()
        if not equals or key not in _KEYS:
            raise InvalidArgument(f"invalid field key {key}; known: {', '.join(_KEYS)}")
        if key == "alias":
            join = join._replace(aliases=(*join.aliases, value))
        elif key == "ip":
            join = join._replace(address=value)
        elif key == "ip6":
            join = join._replace(address6=value)
        elif key == "mac-address":
            join = join._replace(mac=value)
        elif key == "gw-priority":
            join = join._replace(gw_priority=priority(value))
        else:
            join = join._replace(name=value)
    if not join.name:
        raise InvalidArgument("network name or ID must be specified")
    return join
