"""`tiffin network rm`."""

from tiffin.cli.output import escape, print_error
from tiffin.errors import NotFound, TiffinError
from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from tiffin.cli.main import Session
    from tiffin.cli.parser import CommandParser, Namespace

DESCRIPTION = "Remove networks in which no container runs."
EXAMPLES = "tiffin network rm front back\n"


def arguments(parser: "CommandParser") -> None:
    parser.switch("-f", "--force", help="no error for a network that is not there")
    parser.add_argument("names", nargs="+", metavar="NETWORK")


def run(args: "Namespace", session: "Session") -> int:
    failed = 0
    for name in args.names:
        try:
            session.engine.networks.remove(name)
        except TiffinError as error:
            if not (args.force and isinstance(error, NotFound)):
                print_error(str(error))
                failed = 1
        else:
            print(escape(name), flush=True)
    return failed
