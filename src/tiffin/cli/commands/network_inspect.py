"""`tiffin network inspect`."""

from tiffin.cli.inspection import add_format, show
from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from tiffin.cli.main import Session
    from tiffin.cli.parser import CommandParser, Namespace

DESCRIPTION = "Show everything about networks, as a JSON array or as a template says."
EXAMPLES = """\
tiffin network inspect front
tiffin network inspect -f '{{range .Containers}}{{.Name}} {{.IPv4Address}} {{end}}' front
"""


def arguments(parser: "CommandParser") -> None:
    add_format(parser)
    parser.add_argument("names", nargs="+", metavar="NETWORK")


def run(args: "Namespace", session: "Session") -> int:
    return show(args.names, session.engine.networks.inspect, args.format)
