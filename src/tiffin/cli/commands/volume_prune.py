"""`tiffin volume prune`."""

from tiffin.cli import output
from tiffin.cli.confirm import confirmed
from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from tiffin.cli.main import Session
    from tiffin.cli.parser import CommandParser, Namespace

DESCRIPTION = """\
Remove anonymous volumes that no container has, with -a named ones too. They are listed first, by name and size, and no
other goes."""
EXAMPLES = "tiffin volume prune\ntiffin volume prune -af --filter label=team=web --filter 'label!=keep'\n"


def arguments(parser: "CommandParser") -> None:
    parser.switch("-a", "--all", help="also volumes that were given a name")
    parser.add_argument(
        "--filter",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="label=NAME[=VALUE], label!=NAME[=VALUE]",
    )
    parser.switch("-f", "--force", help="do not ask")


def run(args: "Namespace", session: "Session") -> int:
    output.check_filters(args.filter)
    volumes = session.engine.volumes
    plan = volumes.plan_prune(args.all, args.filter)
    reclaimed = 0
    if plan:
        what = "all" if args.all else "anonymous"
        print(f"WARNING! This will remove {what} local volumes not used by at least one container:\n")
        output.table(("VOLUME NAME", "SIZE"), [(one.name, output.size(one.size)) for one in plan])
        print(flush=True)
        if not args.force and not confirmed():
            return 1
        removed, reclaimed = volumes.prune(plan)
        if removed:
            print("Deleted Volumes:")
            output.lines(removed)
            print()
    print(f"Total reclaimed space: {output.size(reclaimed)}")
    return 0
