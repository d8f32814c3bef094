"""`tiffin volume inspect`."""

from tiffin.cli.inspection import add_format, show
from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from tiffin.cli.main import Session
    from tiffin.cli.parser import CommandParser, Namespace

DESCRIPTION = "Show everything about volumes, as a JSON array or as a template says."
EXAMPLES = "tiffin volume inspect data\ntiffin volume inspect -f '{{.Mountpoint}}' data\n"


def arguments(parser: "CommandParser") -> None:
    add_format(parser)
    parser.add_argument("names", nargs="+", metavar="VOLUME")


def run(args: "Namespace", session: "Session") -> int:
    return show(args.names, session.engine.volumes.inspect, args.format)
