"""`tiffin wait`."""

from tiffin.cli.output import print_error
from tiffin.errors import TiffinError
from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from tiffin.cli.main import Session
    from tiffin.cli.parser import CommandParser, Namespace

DESCRIPTION = "Wait until containers have stopped, and print the exit code of each."
EXAMPLES = "tiffin wait job\n"


def arguments(parser: "CommandParser") -> None:
    parser.add_argument("containers", nargs="+", metavar="CONTAINER")


def run(args: "Namespace", session: "Session") -> int:
    failed = 0
    for name in args.containers:
        try:
            print(session.engine.containers.wait(name), flush=True)
        except TiffinError as error:
            print_error(str(error))
            failed = 1
    return failed
