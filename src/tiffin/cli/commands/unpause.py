"""`tiffin unpause`."""

from tiffin.cli.several import each
from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from tiffin.cli.main import Session
    from tiffin.cli.parser import CommandParser, Namespace

DESCRIPTION = "Let the processes of paused containers go on."
EXAMPLES = "tiffin unpause web\n"


def arguments(parser: "CommandParser") -> None:
    parser.add_argument("containers", nargs="+", metavar="CONTAINER")


def run(args: "Namespace", session: "Session") -> int:
    return each(args.containers, session.engine.containers.unpause)
