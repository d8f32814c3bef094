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
# in the background, with variables from a file
tiffin exec -d --env-file job.env web ./job
# input from a pipe
tiffin exec -i db psql < dump.sql
"""


def arguments(parser: "CommandParser") -> None:
    add = parser.add_argument
    parser.switch("-d", "--detach", help="do not wait for it")
    parser.switch("-t", "--tty", help="give it a terminal")
    parser.switch("-i", "--interactive", help="pass standard input to it")
    add(
        "-e", "--env", action="append", default=[], metavar="NAME[=VALUE]", help="set an environment variable"
    )
    add(
        "--env-file",
        action="append",
        default=[],
        metavar="FILE",
        help="read environment variables from a file",
    )
    add("-w", "--workdir", default="", metavar="DIR", help="working directory (default: the container's)")
    add("-u", "--user", default="", metavar="USER[:GROUP]", help="user (default: the container's)")
    parser.switch("--privileged", help="give it every capability")
    terminal.add_detach_keys(parser, "command")
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
        env=(*_env_files(args.env_file), *args.env),
        user=args.user,
        workdir=args.workdir,
        privileged=args.privileged,
    )
    containers = session.engine.containers
    terminal.check_detach_keys(args.detach_keys)
    if args.detach:
        containers.exec_detached(args.container, options)
        return 0
    terminal.check_terminal(stdin=args.interactive, tty=args.tty)
    streams = terminal.streams(stdin=args.interactive, tty=args.tty, detach_keys=args.detach_keys)
    code = containers.exec(args.container, options, streams)
    if code is None:
        terminal.left()
    return code or 0


def _env_files(names: list[str]) -> list[str]:
    if not names:
        return []
    from tiffin.cli.container_options import env_files

    return env_files(names)
