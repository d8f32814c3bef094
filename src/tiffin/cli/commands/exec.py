"""`tiffin exec`."""

from tiffin.cli import terminal
from tiffin.cli.parser import REST
from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from tiffin.cli.main import Session
    from tiffin.cli.parser import CommandParser, Namespace

DESCRIPTION = "Run a further command in a running container. The command's exit code is tiffin's."
EXAMPLES = """\
tiffin exec web ls -l /www
tiffin exec -it web sh
tiffin exec -u nobody -w /tmp -e DEBUG=1 web ./check
"""


def arguments(parser: "CommandParser") -> None:
    add = parser.add_argument
    parser.switch("-d", "--detach", help="do not wait for it")
    parser.switch("-t", "--tty", help="give it a terminal")
    parser.switch("-i", "--interactive", help="pass standard input to it")
    add(
        "-e", "--env", action="append", default=[], metavar="NAME[=VALUE]", help="set an environment variable"
    )
    add("-w", "--workdir", default="", metavar="DIR", help="working directory (default: the container's)")
    add("-u", "--user", default="", metavar="USER[:GROUP]", help="user (default: the container's)")
    parser.switch("--privileged", help="give it every capability")
    add("--detach-keys", default="ctrl-p,ctrl-q", metavar="KEYS", help="keys that leave the command")
    add("container", metavar="CONTAINER")
    add("command", metavar="COMMAND", nargs=REST)


def run(args: "Namespace", session: "Session") -> int:
    from tiffin.cli.output import UsageError
    from tiffin.engine.options import ExecOptions

    if not args.command:
        raise UsageError("exec requires a container and a command; see 'tiffin exec --help'", 1)
    options = ExecOptions(
        command=tuple(args.command),
        tty=args.tty,
        open_stdin=args.interactive,
        env=tuple(args.env),
        user=args.user,
        workdir=args.workdir,
        privileged=args.privileged,
    )
    containers = session.engine.containers
    if args.detach:
        containers.exec_detached(args.container, options)
        return 0
    terminal.check_terminal(stdin=args.interactive, tty=args.tty)
    streams = terminal.streams(
        stdin=args.interactive, tty=args.tty, sig_proxy=False, detach_keys=args.detach_keys
    )
    code = terminal.attached(
        lambda: containers.exec(args.container, options, streams), stdin=args.interactive, tty=args.tty
    )
    return code or 0
