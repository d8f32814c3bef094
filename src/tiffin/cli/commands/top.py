"""`tiffin top`."""

from tiffin.cli import output
from tiffin.cli.parser import REST
from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from tiffin.cli.main import Session
    from tiffin.cli.parser import CommandParser, Namespace

DESCRIPTION = "Show the processes of a container, by the host's ps and with its options (default -ef)."
EXAMPLES = "tiffin top web\ntiffin top web -o pid,rss,args\n"


def arguments(parser: "CommandParser") -> None:
    parser.add_argument("container", metavar="CONTAINER")
    parser.add_argument(
        "options", nargs=REST, metavar="PS OPTIONS", help="options of ps; one column must be PID"
    )


def run(args: "Namespace", session: "Session") -> int:
    titles, rows = session.engine.containers.top(args.container, args.options)
    output.table(titles, rows)
    return 0
