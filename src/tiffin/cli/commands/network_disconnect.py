"""`tiffin network disconnect`."""

from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from tiffin.cli.main import Session
    from tiffin.cli.parser import CommandParser, Namespace

DESCRIPTION = "Take a container out of a network."
EXAMPLES = "tiffin network disconnect back web\n"


def arguments(parser: "CommandParser") -> None:
    parser.switch("-f", "--force", help="also a container that is no more, by its ID")
    parser.add_argument("network", metavar="NETWORK")
    parser.add_argument("container", metavar="CONTAINER")


def run(args: "Namespace", session: "Session") -> int:
    session.engine.networks.disconnect(args.network, args.container, force=args.force)
    return 0
