"""`tiffin container prune`."""

from tiffin.cli import output
from tiffin.cli.pruning import add_prune_options, approved, report
from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

    from tiffin.cli.main import Session
    from tiffin.cli.parser import CommandParser, Namespace

DESCRIPTION = "Remove every container that does not run. They are listed first, and no other goes."
EXAMPLES = "tiffin container prune\ntiffin container prune -f --filter until=24h --filter label=stage=test\n"


def arguments(parser: "CommandParser") -> None:
    add_prune_options(parser)


def run(args: "Namespace", session: "Session") -> int:
    output.check_filters(args.filter)
    containers = session.engine.containers
    plan = containers.plan_prune(args.filter)
    removed: Collection[str] = ()
    reclaimed = 0
    if plan:
        rows = [(one.id[:12], one.image, one.status, one.name) for one in plan]
        headings = ("CONTAINER ID", "IMAGE", "STATUS", "NAMES")
        if not approved(args, "all stopped containers", lambda: output.table(headings, rows)):
            return 1
        removed, reclaimed = containers.prune(args.filter, only=[container.id for container in plan])
    report(("Deleted Containers:", removed), reclaimed=reclaimed)
    return 0
