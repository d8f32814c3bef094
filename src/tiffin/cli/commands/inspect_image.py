"""`tiffin image inspect`."""

from tiffin.cli.commands.inspect import show
from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from tiffin.cli.main import Session
    from tiffin.cli.parser import CommandParser, Namespace

DESCRIPTION = "Show everything about images as a JSON array."
EXAMPLES = "tiffin image inspect web\n"


def arguments(parser: "CommandParser") -> None:
    parser.add_argument("names", nargs="+", metavar="IMAGE")


def run(args: "Namespace", session: "Session") -> int:
    return show(args.names, session.engine.images.inspect)
