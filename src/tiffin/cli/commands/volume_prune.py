"""`tiffin volume prune`."""

from tiffin.cli import output
from tiffin.cli.pruning import add_prune_options, approved, report
from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

    from tiffin.cli.main import Session
    from tiffin.cli.parser import CommandParser, Namespace

DESCRIPTION = """\
Remove anonymous volumes that no container has, with -a named ones too. They are listed first, by name and size, and no
other goes."""
EXAMPLES = "tiffin volume prune\ntiffin volume prune -af --filter label=team=web --filter 'label!=keep'\n"


def arguments(parser: "CommandParser") -> None:
    parser.switch("-a", "--all", help="also volumes that were given a name")
    add_prune_options(parser, "label=NAME[=VALUE], label!=NAME[=VALUE]")


def run(args: "Namespace", session: "Session") -> int:
    output.check_filters(args.filter)
    volumes = session.engine.volumes
    plan = volumes.plan_prune(args.all, args.filter)
    removed: Collection[str] = ()
    reclaimed = 0
    if plan:
        what = f"{'all' if args.all else 'anonymous'} local volumes not used by at least one container"
        rows = [(one.name, output.size(one.size)) for one in plan]
        if not approved(args, what, lambda: output.table(("VOLUME NAME", "SIZE"), rows)):
            return 1
        removed, reclaimed = volumes.prune(plan)
    report(("Deleted Volumes:", removed), reclaimed=reclaimed)
    return 0
