"""`tiffin builder du`."""

from tiffin.cli import output
from tiffin.cli.formatting import OPTION_HELP, Listing
from tiffin.typed import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tiffin.cli.main import Session
    from tiffin.cli.parser import CommandParser, Namespace
    from tiffin.engine.build_cache import CacheRecord

DESCRIPTION = """\
Show what the build cache holds: the layers of steps, and the directories of RUN --mount=type=cache. Private bytes are
what system df says of the build cache; shared ones belong to images too, and stay with these."""
EXAMPLES = """\
tiffin builder du
tiffin builder du -v --filter type=exec.cachemount
tiffin builder du --filter unused-for=168h --format '{{.ID}} {{.Size}}'
"""
_HEADINGS = {
    "ID": "ID",
    "Reclaimable": "RECLAIMABLE",
    "Size": "SIZE",
    "LastUsed": "LAST ACCESSED",
    "Type": "TYPE",
    "CreatedSince": "CREATED",
    "Shared": "SHARED",
    "InUse": "IN USE",
    "Description": "DESCRIPTION",
}


def arguments(parser: "CommandParser") -> None:
    parser.switch("-v", "--verbose", help="everything that is known of each")
    parser.add_argument(
        "--filter",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="id, type=regular|exec.cachemount, unused-for=TIME, until=TIME, shared, inuse",
    )
    parser.add_argument("--format", metavar="FORMAT", help=OPTION_HELP)


def run(args: "Namespace", session: "Session") -> int:
    output.check_filters(args.filter)
    usage = session.engine.builder.cache_usage(tuple(args.filter))
    records = sorted(usage.records, key=lambda record: (-record.size, record.id))
    if args.verbose and not args.format:
        for record in records:
            print("\n".join(_block(record)), end="\n\n")
    else:
        columns = ("ID", "Reclaimable", "Size", "LastUsed", "Description")
        Listing(args.format, _HEADINGS, columns).print([_row(record) for record in records])
    if not args.format:
        print()
        for name, size in (
            ("Shared", usage.shared),
            ("Private", usage.private),
            ("Reclaimable", usage.reclaimable),
            ("Total", usage.shared + usage.private),
        ):
            print(f"{name + ':':<13}{output.size(size)}")
    return 0


def _row(record: "CacheRecord") -> dict[str, Any]:
    return {
        "ID": record.id.removeprefix("sha256:")[:12],
        "Reclaimable": str(not record.in_use).lower(),
        "Size": output.size(record.size),
        "LastUsed": output.since(record.used),
        "Type": record.kind,
        "CreatedSince": output.since(record.created),
        "Shared": str(record.shared).lower(),
        "InUse": str(record.in_use).lower(),
        "Description": record.description[:80],
    }


def _block(record: "CacheRecord") -> list[str]:
    facts = [
        ("ID", record.id),
        ("Created at", output.clock(record.created)),
        ("Mutable", str(record.kind != "regular").lower()),
        ("Reclaimable", str(not record.in_use).lower()),
        ("Shared", str(record.shared).lower()),
        ("Size", output.size(record.size)),
        ("Description", output.escape(record.description)),
        ("Last used", output.since(record.used)),
        ("Type", record.kind),
    ]
    return [f"{name + ':':<14}{value}" for name, value in facts]
