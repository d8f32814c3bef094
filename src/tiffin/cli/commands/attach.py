"""`tiffin attach`."""

from tiffin.cli import terminal
from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from tiffin.cli.main import Session
    from tiffin.cli.parser import CommandParser, Namespace

DESCRIPTION = (
    "Attach to a running container: its output comes here, input goes there; leave with the detach keys."
)
EXAMPLES = "tiffin attach shell\n"


def arguments(parser: "CommandParser") -> None:
    parser.switch("--no-stdin", help="do not pass standard input on")
    parser.switch("--sig-proxy", default=True, help="pass signals on to the command (default true)")
    parser.add_argument(
        "--detach-keys", default="ctrl-p,ctrl-q", metavar="KEYS", help="keys that leave the container"
    )
    parser.add_argument("container", metavar="CONTAINER")


def run(args: "Namespace", session: "Session") -> int:
    containers = session.engine.containers
    config = containers.inspect(args.container)["Config"]
    stdin = bool(config["OpenStdin"]) and not args.no_stdin
    tty = bool(config["Tty"])
    terminal.check_terminal(stdin=stdin, tty=tty)
    streams = terminal.streams(stdin=stdin, tty=tty, sig_proxy=args.sig_proxy, detach_keys=args.detach_keys)
    code = terminal.attached(lambda: containers.attach(args.container, streams), stdin=stdin, tty=tty)
    return code or 0
