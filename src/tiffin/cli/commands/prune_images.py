"""`tiffin image prune`."""

from tiffin.cli import output
from tiffin.cli.pruning import add_prune_options, approved, report
from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tiffin.cli.main import Session
    from tiffin.cli.parser import CommandParser, Namespace
    from tiffin.images.prune import Doomed

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
    add_prune_options(parser)


def run(args: "Namespace", session: "Session") -> int:
    output.check_filters(args.filter)
    images = session.engine.images
    plan = images.plan_prune(args.all, args.filter)
    if not plan.images:
        images.prune(only=())  # no image; but what killed commands left is nobody's
        report(reclaimed=0)
        return 0
    what = "all images without a container" if args.all else "all images without a name"
    count = f"{len(plan.images)} image{'' if len(plan.images) == 1 else 's'}"
    headings = ("IMAGE", "IMAGE ID", "SIZE", "FREES")
    total = f"\n{count}, {output.size(plan.frees)} in all"
    if not approved(args, what, lambda: output.table(headings, _rows(plan.images)), total):
        return 1
    pruned = images.prune(args.all, args.filter, only=[image.id for image in plan.images])
    gone = [f"{what}: {name}" for what, name in pruned.records]
    report(("Deleted Images:", gone), reclaimed=pruned.reclaimed)
    return 0


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
