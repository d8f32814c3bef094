"""`tiffin network prune`."""

from tiffin.cli import output
from tiffin.cli.pruning import add_prune_options, approved, report
from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from tiffin.cli.main import Session
    from tiffin.cli.parser import CommandParser, Namespace

DESCRIPTION = (
    "Remove every network that no container has, running or not. They are listed first, and no other goes."
)
EXAMPLES = "tiffin network prune\ntiffin network prune -f --filter until=24h --filter label=stage=test\n"


def arguments(parser: "CommandParser") -> None:
    add_prune_options(parser)


def run(args: "Namespace", session: "Session") -> int:
    output.check_filters(args.filter)
    networks = session.engine.networks
    plan = networks.plan_prune(args.filter)
    if not plan:
        return 0
    what = "all custom networks not used by at least one container"
    if not approved(args, what, lambda: output.lines(plan)):
        return 1
    report(("Deleted Networks:", networks.prune(args.filter, only=plan)), reclaimed=-1)
    return 0
