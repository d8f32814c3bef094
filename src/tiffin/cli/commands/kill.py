"""`tiffin kill`."""

from tiffin.cli.several import each
from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from tiffin.cli.main import Session
    from tiffin.cli.parser import CommandParser, Namespace

DESCRIPTION = "Send a signal to the first process of running containers."
EXAMPLES = "tiffin kill web\ntiffin kill -s HUP web\n"


def arguments(parser: "CommandParser") -> None:
    parser.add_argument(
        "-s", "--signal", default="KILL", metavar="SIGNAL", help="name or number (default KILL)"
    )
    parser.add_argument("containers", nargs="+", metavar="CONTAINER")


def run(args: "Namespace", session: "Session") -> int:
    containers = session.engine.containers
    return each(args.containers, lambda name: containers.kill(name, args.signal))
