"""`tiffin image prune`."""

from tiffin.cli import output
from tiffin.cli.confirm import confirmed
from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tiffin.cli.main import Session
    from tiffin.cli.parser import CommandParser, Namespace
    from tiffin.images.prune import Doomed, PrunePlan

DESCRIPTION = """\
Remove images that have no name, or with -a every image, except those that a container was made from. What would go is
listed first, with what each takes, and nothing else goes."""
EXAMPLES = """\
tiffin image prune
tiffin image prune -a --filter until=720h
tiffin image prune -af --filter label=stage=test --filter 'label!=keep'
"""


def arguments(parser: "CommandParser") -> None:
    parser.switch("-a", "--all", help="also images that have a name, when no container was made from them")
    parser.add_argument(
        "--filter",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="until=TIME, label=NAME[=VALUE], label!=NAME[=VALUE]",
    )
    parser.switch("-f", "--force", help="do not ask")


def run(args: "Namespace", session: "Session") -> int:
    output.check_filters(args.filter)
    images = session.engine.images
    plan = images.plan_prune(args.all, args.filter)
    if plan.images:
        _show(plan, "all images without a container" if args.all else "all images without a name")
        if not args.force and not confirmed():
            return 1
        pruned = images.prune(args.all, args.filter, only=[image.id for image in plan.images])
        if pruned.records:
            print("Deleted Images:")
            output.lines(f"{what}: {name}" for what, name in pruned.records)
            print()
        reclaimed = pruned.reclaimed
    else:
        images.prune(only=())  # no image; but what killed commands left is nobody's
        reclaimed = 0
    print(f"Total reclaimed space: {output.size(reclaimed)}")
    return 0


def _show(plan: "PrunePlan", what: str) -> None:
    print(f"WARNING! This will remove {what}:\n")
    output.table(("IMAGE", "IMAGE ID", "SIZE", "FREES"), _rows(plan.images))
    count = f"{len(plan.images)} image{'' if len(plan.images) == 1 else 's'}"
    print(f"\n{count}, {output.size(plan.frees)} in all", flush=True)


def _rows(images: "Sequence[Doomed]") -> "list[tuple[str, str, str, str]]":
    return [
        (
            ", ".join(image.names or image.digests) or "<none>",
            image.id.removeprefix("sha256:")[:12],
            output.size(image.size),
            output.size(image.frees),
        )
        for image in images
    ]
