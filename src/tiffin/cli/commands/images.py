"""`tiffin images`."""

from tiffin.cli import output
from tiffin.cli.formatting import OPTION_HELP, Listing
from tiffin.typed import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tiffin.cli.main import Session
    from tiffin.cli.parser import CommandParser, Namespace
    from tiffin.images.records import Summary

DESCRIPTION = """\
List images, newest first. A REPOSITORY[:TAG] may have wildcards (* ? [a-z]), and lists only the names that match."""
EXAMPLES = """\
tiffin images
tiffin images 'registry.example/team/*'
tiffin images --filter dangling=true -q
tiffin images --filter label=stage=test --filter until=24h
tiffin images --format 'table {{.Repository}}\\t{{.Size}}'
tiffin images --tree
"""
_HEADINGS = {
    "ID": "IMAGE ID",
    "Repository": "REPOSITORY",
    "Tag": "TAG",
    "Digest": "DIGEST",
    "CreatedSince": "CREATED",
    "CreatedAt": "CREATED AT",
    "Size": "SIZE",
    "Containers": "CONTAINERS",
    "VirtualSize": "SIZE",
    "SharedSize": "SHARED SIZE",
    "UniqueSize": "UNIQUE SIZE",
}
_COLUMNS = ("Repository", "Tag", "ID", "CreatedSince", "Size")
_WITH_DIGESTS = ("Repository", "Tag", "Digest", "ID", "CreatedSince", "Size")
_NONE = "<none>"


def arguments(parser: "CommandParser") -> None:
    parser.switch("-a", "--all", help="also those that only an index leads to, for other platforms")
    parser.switch("--digests", help="show by which digests registries have them")
    parser.add_argument(
        "-f",
        "--filter",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="dangling=true|false, label=NAME[=VALUE], before=IMAGE, since=IMAGE, reference=PATTERN, until=TIME",
    )
    parser.add_argument("--format", metavar="FORMAT", help=OPTION_HELP)
    parser.switch("--no-trunc", help="whole IDs")
    parser.switch("-q", "--quiet", help="IDs only")
    parser.switch("--tree", help="show which images stand on the same layers, and what each adds")
    parser.add_argument("reference", metavar="REPOSITORY[:TAG]", nargs="?", default="")


def run(args: "Namespace", session: "Session") -> int:
    output.check_filters(args.filter)
    if args.tree and (args.quiet or args.format or args.digests):
        raise output.UsageError("--tree cannot be used with --quiet, --format or --digests", 1)
    listing = Listing(args.format, _HEADINGS, _WITH_DIGESTS if args.digests else _COLUMNS)
    filters = [*args.filter, *([f"reference={args.reference}"] if args.reference else [])]
    images = [
        image for image in session.engine.images.list(filters) if args.all or image.names or not image.within
    ]
    if args.tree:
        from tiffin.cli.image_tree import print_tree

        print_tree(images, session.engine.images.stacks(), full=args.no_trunc)
    elif args.quiet and listing.is_default:
        output.lines(
            row["ID"] for row in _rows(images, args, listing, session)
        )  # again for each name, as Docker does
    else:
        listing.print(_rows(images, args, listing, session))
    return 0


def _identifier(image: "Summary", *, full: bool) -> str:
    return image.id if full else image.id.removeprefix("sha256:")[:12]


def _rows(
    images: "list[Summary]", args: "Namespace", listing: Listing, session: "Session"
) -> "Iterator[dict[str, Any]]":
    """A row for each name; an image without one is <none>."""
    shared: dict[str, int] = {}
    if listing.wants("SharedSize") or listing.wants("UniqueSize"):
        shared = _shared_sizes(session)
    for image in images:
        facts = {
            "ID": _identifier(image, full=args.no_trunc),
            "CreatedSince": output.since(image.created) if image.created else "N/A",
            "Size": output.size(image.size),
        }
        if (
            not listing.is_default
        ):  # whose columns are the above: the rest is most of the work for ten thousand images
            bytes_shared = shared.get(image.id, 0)
            facts |= {
                "CreatedAt": output.clock(image.created) if image.created else "N/A",
                "VirtualSize": facts["Size"],
                "Containers": str(image.containers),
                "SharedSize": output.size(bytes_shared),
                "UniqueSize": output.size(image.size - bytes_shared),
            }
        for repository, tag, digest in _names(image, with_digests=listing.wants("Digest")):
            yield {"Repository": repository, "Tag": tag, "Digest": digest, **facts}


def _names(image: "Summary", *, with_digests: bool) -> "list[tuple[str, str, str]]":
    """(repository, tag, digest) of each row, as Docker pairs them: every tag with every digest of its repository."""
    from tiffin.oci.reference import split_full

    tags: dict[str, list[str]] = {}
    digests: dict[str, list[str]] = {}
    for name in image.names:
        reference = split_full(name)
        tags.setdefault(reference.familiar_name(), []).append(reference.tag)
    for name in image.digests:
        reference = split_full(name)
        digests.setdefault(reference.familiar_name(), []).append(reference.digest)
    for name in image.within:
        tags.setdefault(split_full(name).familiar_name(), [_NONE])
    rows = []
    for repository in dict.fromkeys((*tags, *digests)):
        shown = digests.get(repository, []) if with_digests else []
        rows += [
            (repository, tag, digest) for tag in tags.get(repository, [_NONE]) for digest in shown or [_NONE]
        ]
    return rows or [(_NONE, _NONE, _NONE)]


def _shared_sizes(session: "Session") -> dict[str, int]:
    """The bytes of each image's layers that another image has too."""
    stacks = session.engine.images.stacks()
    users: dict[str, int] = {}
    for stack in stacks.values():
        for diff_id in {diff_id for diff_id, _ in stack.layers}:
            users[diff_id] = users.get(diff_id, 0) + 1
    return {
        image: sum(size for diff_id, size in stack.layers if users[diff_id] > 1)
        for image, stack in stacks.items()
    }
