"""`tiffin builder prune`."""

from tiffin.cli import output
from tiffin.cli.pruning import add_prune_options, approved, report
from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from tiffin.cli.main import Session
    from tiffin.cli.parser import CommandParser, Namespace
    from tiffin.engine.build_cache import CachePrunePlan

DESCRIPTION = """\
Remove the build cache: the results of steps that no image has, and the directories of RUN --mount=type=cache; with -a
also what images have, whose layers stay. What would go is listed first, with what each takes, and nothing else goes.
With --reserved-space, --max-used-space or --min-free-space what was used longest ago goes first, and only as much as
they ask for."""
EXAMPLES = """\
tiffin builder prune
tiffin builder prune -af
tiffin builder prune -f --reserved-space 5g --filter type=regular
tiffin builder prune -f --max-used-space 20g --min-free-space 10g
tiffin builder prune --filter unused-for=168h
"""

FILTERS = "id, type=regular|exec.cachemount, unused-for=TIME, until=TIME, shared, inuse"


def arguments(parser: "CommandParser") -> None:
    parser.switch("-a", "--all", help="also the results of steps that images have")
    add = parser.add_argument
    add("--reserved-space", "--keep-storage", metavar="BYTES", help="what may stay in any case, such as 5g")
    add("--max-used-space", metavar="BYTES", help="the most that may stay")
    add("--min-free-space", metavar="BYTES", help="what is to be free on the disk")
    add_prune_options(parser, FILTERS)


def run(args: "Namespace", session: "Session") -> int:
    from tiffin.engine.build_cache import CachePruneRequest

    output.check_filters(args.filter)
    builder = session.engine.builder
    plan = builder.plan_cache_prune(
        CachePruneRequest(
            args.all,
            tuple(args.filter),
            _bytes(args.reserved_space, "--reserved-space"),
            _bytes(args.max_used_space, "--max-used-space"),
            _bytes(args.min_free_space, "--min-free-space"),
        )
    )
    count = f"{len(plan.records)} object{'' if len(plan.records) == 1 else 's'}"
    total = f"\n{count}, {output.size(plan.frees)} in all"
    if not plan.is_empty and not approved(args, "from the build cache", lambda: _show(plan), total):
        return 1
    gone = builder.prune_cache(plan)
    names = [record.id.removeprefix("sha256:") for record in gone]
    report(("Deleted build cache objects:", names), reclaimed=plan.frees)
    return 0


def _bytes(text: str, option: str) -> int:
    if not text:
        return -1
    from tiffin.cli.container_options import size

    return size(text, option)


def _show(plan: "CachePrunePlan") -> None:
    rows = [
        (
            one.id.removeprefix("sha256:")[:12],
            one.kind,
            output.size(one.size),
            output.since(one.used),
            one.description[:60],
        )
        for one in plan.records
    ]
    output.table(("CACHE ID", "TYPE", "SIZE", "LAST USED", "DESCRIPTION"), rows)
