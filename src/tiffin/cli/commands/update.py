"""`tiffin update`."""

from tiffin.cli.container_flags import add_changeable_limits
from tiffin.cli.container_options import resources
from tiffin.cli.output import print_warning
from tiffin.cli.several import each
from tiffin.errors import InvalidArgument
from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from tiffin.cli.main import Session
    from tiffin.cli.parser import CommandParser, Namespace

DESCRIPTION = """\
Change the limits of containers, and whether they are started again: at once where they run, and for their next starts.
What is not named, or named with 0, stays; a change that cannot be made whole is not made at all. -1 lifts the limit of
--pids-limit, --memory-swap and --cpu-quota, and with the last that of --cpus."""
EXAMPLES = """\
tiffin update --memory 512m --cpus 1.5 web
tiffin update --restart unless-stopped web
tiffin update --pids-limit 100 --bandwidth 20mbit web worker
# as much CPU time and as many processes as there are
tiffin update --cpu-quota -1 --pids-limit -1 web
"""


def arguments(parser: "CommandParser") -> None:
    add_changeable_limits(parser)
    parser.add_argument(
        "--restart", metavar="POLICY", help="no, always, unless-stopped, on-failure[:MAX-RETRIES]"
    )
    parser.add_argument("containers", nargs="+", metavar="CONTAINER")


def run(args: "Namespace", session: "Session") -> int:
    if not args.given:
        raise InvalidArgument("you must provide one or more flags when using this command")
    wanted = resources(args)
    if args.bandwidth:
        from tiffin.cli.container_values import bandwidth

        to, out = bandwidth(args.bandwidth)
        wanted = wanted._replace(bandwidth_in=to, bandwidth_out=out)

    restart = None
    if args.restart:
        from tiffin.containers.policy import parse_restart

        restart = parse_restart(args.restart)

    def change(name: str) -> None:
        for warning in session.engine.containers.update(name, wanted, restart):
            print_warning(warning)

    return each(args.containers, change)
