"""`tiffin attach`."""

from tiffin.cli import terminal
from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from tiffin.cli.main import Session
    from tiffin.cli.parser import CommandParser, Namespace

DESCRIPTION = """\
Attach to a running container: its output comes here, input goes there. Several may be attached at once. The detach keys
leave it running; else its exit code is tiffin's."""
EXAMPLES = """\
tiffin attach shell
# only look
tiffin attach --no-stdin --sig-proxy=false web
# leave with ctrl-x x
tiffin attach --detach-keys ctrl-x,x shell
"""


def arguments(parser: "CommandParser") -> None:
    parser.switch("--no-stdin", help="do not pass standard input on")
    terminal.add_sig_proxy(parser)
    terminal.add_detach_keys(parser)
    parser.add_argument("container", metavar="CONTAINER")


def run(args: "Namespace", session: "Session") -> int:
    containers = session.engine.containers
    config = containers.inspect(args.container)["Config"]
    tty = bool(config["Tty"])
    stdin = bool(config["OpenStdin"]) and not args.no_stdin
    terminal.check_terminal(stdin=stdin, tty=tty)
    streams = terminal.streams(
        stdin=stdin, tty=tty, sig_proxy=args.sig_proxy and not tty, detach_keys=args.detach_keys
    )
    code = containers.attach(args.container, streams)
    if code is None:
        terminal.left()
    return code or 0
