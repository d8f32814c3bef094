"""`tiffin system prune`."""

from tiffin.cli import output
from tiffin.cli.pruning import add_prune_options, approved, report
from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from tiffin.cli.main import Session
    from tiffin.cli.parser import CommandParser, Namespace
    from tiffin.engine.prune import PrunePlan

DESCRIPTION = """\
Remove stopped containers, networks that no container is left in, images without a name, and the build cache of steps
that no image has; with -a every image that no container was made from and the whole build cache, with --volumes
anonymous volumes that no container has. What would go is listed first, by name and size, and nothing else goes.
"""
EXAMPLES = """\
tiffin system prune
tiffin system prune -af --volumes
tiffin system prune --filter until=24h
"""


def arguments(parser: "CommandParser") -> None:
    parser.switch("-a", "--all", help="all images without a container, and the whole build cache")
    parser.switch("--volumes", help="anonymous volumes too")
    add_prune_options(parser)


def run(args: "Namespace", session: "Session") -> int:
    from tiffin.engine.prune import PruneRequest

    output.check_filters(args.filter)
    system = session.engine.system
    plan = system.plan_prune(PruneRequest(args.all, args.volumes, tuple(args.filter)))
    if plan.is_empty:
        report(reclaimed=0)
        return 0
    if not approved(args, "", lambda: _show(plan), f"{output.size(plan.reclaims)} in all"):
        return 1
    done = system.prune(plan)
    report(
        ("Deleted Containers:", done.containers),
        ("Deleted Networks:", done.networks),
        ("Deleted Images:", [f"{what}: {name}" for what, name in done.images]),
        ("Deleted Volumes:", done.volumes),
        ("Deleted build cache objects:", (*done.cache, *done.cache_mounts)),
        reclaimed=plan.reclaims,
    )
    return 0


def _show(plan: "PrunePlan") -> None:
    if plan.containers:
        rows = [
            (one.id[:12], one.name, one.image, one.status, output.size(one.size)) for one in plan.containers
        ]
        output.table(("CONTAINER ID", "NAMES", "IMAGE", "STATUS", "SIZE"), rows)
        print()
    if plan.networks:
        output.table(("NETWORK",), [(name,) for name in plan.networks])
        print()
    if plan.images:
        from tiffin.oci.reference import parse_reference

        names = [[parse_reference(name).familiar() for name in image.names] for image in plan.images]
        output.table(
            ("IMAGE", "IMAGE ID", "SIZE", "UNIQUE SIZE"),
            [
                (
                    ", ".join(shown) or "<none>",
                    one.id.removeprefix("sha256:")[:12],
                    output.size(one.size),
                    output.size(one.unique),
                )
                for one, shown in zip(plan.images, names, strict=True)
            ],
        )
        print()
    if plan.volumes:
        output.table(("VOLUME NAME", "SIZE"), [(one.name, output.size(one.size)) for one in plan.volumes])
        print()
    if plan.cache or plan.cache_mounts:
        steps = [
            (one.key.removeprefix("sha256:")[:12], output.size(one.size), one.created_by[:60])
            for one in plan.cache
        ]
        steps += [(one.name[:12], output.size(one.size), one.id[:60]) for one in plan.cache_mounts]
        output.table(("CACHE ID", "SIZE", "STEP"), steps)
        print()
    if plan.leftover:
        print(f"what nothing names, {output.size(plan.leftover)}\n")
