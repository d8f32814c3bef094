"""`tiffin ps`."""

from tiffin.cli import output
from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from tiffin.cli.main import Session
    from tiffin.cli.parser import CommandParser, Namespace
    from tiffin.engine.options import Summary

DESCRIPTION = "List containers: those that run, or every one with -a."
EXAMPLES = """\
tiffin ps
tiffin ps -a --filter status=exited
tiffin rm $(tiffin ps -aq)
"""
_HEADINGS = ("CONTAINER ID", "IMAGE", "COMMAND", "CREATED", "STATUS", "PORTS", "NAMES")
_COMMAND_WIDTH = 20


def arguments(parser: "CommandParser") -> None:
    add = parser.add_argument
    parser.switch("-a", "--all", help="those that do not run, too")
    parser.switch("-q", "--quiet", help="IDs only")
    parser.switch("--no-trunc", help="whole IDs and commands")
    parser.switch("-l", "--latest", help="the one created last, whatever its state")
    add("-n", "--last", type=int, default=0, metavar="N", help="the N created last, whatever their state")
    add(
        "-f",
        "--filter",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="id, name, label, status, ancestor, ...",
    )


def run(args: "Namespace", session: "Session") -> int:
    last = 1 if args.latest else args.last
    rows = session.engine.containers.list(show_all=args.all, last=last, filters=args.filter)
    if args.quiet:
        output.lines(row.id if args.no_trunc else row.id[:12] for row in rows)
    else:
        output.table(_HEADINGS, (_cells(row, full=args.no_trunc) for row in rows))
    return 0


def _cells(row: "Summary", *, full: bool) -> tuple[str, ...]:
    command = " ".join(row.command)
    if not full and len(command) > _COMMAND_WIDTH:
        command = command[: _COMMAND_WIDTH - 1] + "…"
    identifier = row.id if full else row.id[:12]
    return identifier, row.image, f'"{command}"', output.since(row.created), row.status, row.ports, row.name
