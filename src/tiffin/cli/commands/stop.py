"""`tiffin stop`."""

from tiffin.cli.several import each
from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from tiffin.cli.main import Session
    from tiffin.cli.parser import CommandParser, Namespace

DESCRIPTION = (
    "Stop containers: the stop signal first, and SIGKILL to everything inside when the time is over."
)
EXAMPLES = "tiffin stop web\ntiffin stop -t 2 web worker\n"


def arguments(parser: "CommandParser") -> None:
    add_ending_options(parser)


def add_ending_options(parser: "CommandParser") -> None:
    """The containers that are to end, and how; `restart` has them, too."""
    add = parser.add_argument
    add(
        "-t",
        "--time",
        "--timeout",
        type=int,
        default=None,
        metavar="SECONDS",
        help="time to wait before it is killed (default 10)",
    )
    add(
        "-s",
        "--signal",
        default="",
        metavar="SIGNAL",
        help="signal to send (default: the container's stop signal)",
    )
    add("containers", nargs="+", metavar="CONTAINER")


def run(args: "Namespace", session: "Session") -> int:
    containers = session.engine.containers
    return each(args.containers, lambda name: containers.stop(name, args.time, args.signal))
