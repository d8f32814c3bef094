"""`tiffin network connect`."""

from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from tiffin.cli.main import Session
    from tiffin.cli.parser import CommandParser, Namespace

DESCRIPTION = "Let a container join a network: at once when it runs, else when it starts."
EXAMPLES = """\
tiffin network connect back web
tiffin network connect --link db:store back web
tiffin network connect --ip 10.77.0.9 --alias db fixed postgres
tiffin network connect --ip6 fd00:77::9 dual web
tiffin network connect --gw-priority 1 out web
"""


def arguments(parser: "CommandParser") -> None:
    add = parser.add_argument
    add("--alias", action="append", default=[], metavar="NAME", help="a further name in the network")
    add(
        "--gw-priority",
        default="0",
        metavar="NUMBER",
        help="the container's way out is its network with the highest",
    )
    add("--ip", metavar="ADDRESS", help="its address in the network")
    add("--ip6", metavar="ADDRESS", help="its IPv6 address in the network")
    add(
        "--link",
        action="append",
        default=[],
        metavar="NAME[:ALIAS]",
        help="another container under a name of its own",
    )
    add("network", metavar="NETWORK")
    add("container", metavar="CONTAINER")


def run(args: "Namespace", session: "Session") -> int:
    from tiffin.cli import output
    from tiffin.cli.network_values import priority
    from tiffin.network.records import Join

    join = Join("", args.network, args.ip, "", tuple(args.alias), args.ip6, priority(args.gw_priority))
    for notice in session.engine.networks.connect(args.network, args.container, join, links=args.link):
        output.print_warning(notice)
    return 0
