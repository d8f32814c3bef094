"""`tiffin container prune`."""

from tiffin.cli import output
from tiffin.cli.confirm import confirmed
from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from tiffin.cli.main import Session
    from tiffin.cli.parser import CommandParser, Namespace

DESCRIPTION = "Remove every container that does not run. They are listed first, and no other goes."
EXAMPLES = "tiffin container prune\ntiffin container prune -f --filter until=24h --filter label=stage=test\n"


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
    containers = session.engine.containers
    plan = containers.plan_prune(args.filter)
    reclaimed = 0
    if plan:
        print("WARNING! This will remove all stopped containers:\n")
        rows = [(one.id[:12], one.image, one.status, one.name) for one in plan]
        output.table(("CONTAINER ID", "IMAGE", "STATUS", "NAMES"), rows)
        print(flush=True)
        if not args.force and not confirmed():
            return 1
        removed, reclaimed = containers.prune(args.filter, only=[container.id for container in plan])
        if removed:
            print("Deleted Containers:")
            output.lines(removed)
            print()
    print(f"Total reclaimed space: {output.size(reclaimed)}")
    return 0
