"""`tiffin start`."""

from tiffin.cli import terminal
from tiffin.cli.several import each
from tiffin.errors import InvalidArgument
from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from tiffin.cli.main import Session
    from tiffin.cli.parser import CommandParser, Namespace

DESCRIPTION = (
    "Start containers that exist and do not run. With -a the output comes here, with -i the input goes there."
)
EXAMPLES = """\
tiffin start web
tiffin start -ai shell
"""


def arguments(parser: "CommandParser") -> None:
    parser.switch("-a", "--attach", help="show its output, pass signals on, and exit with its exit code")
    parser.switch("-i", "--interactive", help="pass standard input to it")
    terminal.add_detach_keys(parser)
    parser.add_argument("containers", nargs="+", metavar="CONTAINER")


def run(args: "Namespace", session: "Session") -> int:
    containers = session.engine.containers
    if not (args.attach or args.interactive):
        return each(args.containers, containers.start)
    if len(args.containers) > 1:
        raise InvalidArgument("you cannot start and attach multiple containers at once; name one")
    reference = args.containers[0]
    config = containers.inspect(reference)["Config"]
    tty = bool(config["Tty"])
    streams = terminal.streams(
        stdin=args.interactive and bool(config["OpenStdin"]),
        tty=tty,
        sig_proxy=not tty,
        detach_keys=args.detach_keys,
    )
    return containers.start_attached(reference, streams) or 0
