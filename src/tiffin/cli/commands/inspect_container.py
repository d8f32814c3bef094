"""`tiffin container inspect`."""

from tiffin.cli.inspection import add_format, show
from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from tiffin.cli.main import Session
    from tiffin.cli.parser import CommandParser, Namespace

DESCRIPTION = "Show everything about containers, as a JSON array or as a template says."
EXAMPLES = "tiffin container inspect web\ntiffin container inspect -f '{{.State.ExitCode}}' web\n"


def arguments(parser: "CommandParser") -> None:
    add_format(parser)
    parser.switch("-s", "--size", help="add what it wrote (SizeRw), and that with its image (SizeRootFs)")
    parser.add_argument("names", nargs="+", metavar="CONTAINER")


def run(args: "Namespace", session: "Session") -> int:
    containers = session.engine.containers
    return show(args.names, lambda name: containers.inspect(name, size=args.size), args.format)
