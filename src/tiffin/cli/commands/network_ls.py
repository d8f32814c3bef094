"""`tiffin network ls`."""

from tiffin.cli import output
from tiffin.cli.formatting import OPTION_HELP, Listing
from tiffin.typed import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tiffin.cli.main import Session
    from tiffin.cli.parser import CommandParser, Namespace
    from tiffin.network.records import Network

DESCRIPTION = "List networks."
EXAMPLES = """\
tiffin network ls
tiffin network ls --filter type=custom --filter label=stage=test
tiffin network ls --format '{{.Name}} {{.Driver}}'
"""
_HEADINGS = {
    "ID": "NETWORK ID",
    "Name": "NAME",
    "Driver": "DRIVER",
    "Scope": "SCOPE",
    "IPv4": "IPV4",
    "IPv6": "IPV6",
    "Internal": "INTERNAL",
    "Labels": "LABELS",
    "CreatedAt": "CREATED AT",
}


def arguments(parser: "CommandParser") -> None:
    add = parser.add_argument
    add(
        "-f",
        "--filter",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="driver, id, label, name, scope, type=custom|builtin, dangling",
    )
    add("--format", metavar="FORMAT", help=OPTION_HELP)
    parser.switch("--no-trunc", help="whole IDs")
    parser.switch("-q", "--quiet", help="IDs only")


def run(args: "Namespace", session: "Session") -> int:
    output.check_filters(args.filter)
    listing = Listing(args.format, _HEADINGS, ("ID", "Name", "Driver", "Scope"))
    found = session.engine.networks.all(args.filter)
    if args.quiet and listing.is_default:
        output.lines(one.id if args.no_trunc else one.id[:12] for one in found)
    else:
        listing.print(_fields(one, full=args.no_trunc) for one in found)
    return 0


def _fields(one: "Network", *, full: bool) -> dict[str, Any]:
    settings = one.settings
    return {
        "ID": one.id if full else one.id[:12],
        "Name": one.name,
        "Driver": one.driver,
        "Scope": "local",
        "IPv4": "true" if one.subnet or one.driver != "bridge" else "false",
        "IPv6": "true" if one.subnet6 else "false",
        "Internal": "true" if settings.internal else "false",
        "Labels": ",".join(f"{key}={settings.labels[key]}" for key in sorted(settings.labels)),
        "Label": lambda name: settings.labels.get(name, ""),
        "CreatedAt": output.clock(one.created),
    }
