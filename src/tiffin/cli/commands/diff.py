"""`tiffin diff`."""

from tiffin.cli import output
from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from tiffin.cli.main import Session
    from tiffin.cli.parser import CommandParser, Namespace

DESCRIPTION = "Show what a container changed in its files: A added, C changed, D deleted."
EXAMPLES = "tiffin diff web\n"


def arguments(parser: "CommandParser") -> None:
    parser.add_argument("container", metavar="CONTAINER")


def run(args: "Namespace", session: "Session") -> int:
    output.lines(f"{change.kind} {change.path}" for change in session.engine.containers.diff(args.container))
    return 0
