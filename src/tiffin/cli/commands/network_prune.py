"""`tiffin network prune`."""

from tiffin.cli import output
from tiffin.cli.confirm import confirmed
from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from tiffin.cli.main import Session
    from tiffin.cli.parser import CommandParser, Namespace

DESCRIPTION = (
    "Remove every network that no container has, running or not. They are listed first, and no other goes."
)
EXAMPLES = "tiffin network prune\ntiffin network prune -f --filter until=24h --filter label=stage=test\n"


def arguments(parser: "CommandParser") -> None:
    parser.add_argument(
        "--filter",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="until=TIME, label=NAME[=VALUE], label!=...",
    )
    parser.switch("-f", "--force", help="do not ask")


def run(args: "Namespace", session: "Session") -> int:
    output.check_filters(args.filter)
    networks = session.engine.networks
    plan = networks.plan_prune(args.filter)
    if not plan:
        return 0
    print("WARNING! This will remove all custom networks not used by at least one container:\n")
    output.lines(plan)
    print(flush=True)
    if not args.force and not confirmed():
        return 1
    removed = networks.prune(args.filter, only=plan)
    if removed:
        print("Deleted Networks:")
        output.lines(removed)
    return 0
