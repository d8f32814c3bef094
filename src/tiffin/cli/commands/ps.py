"""`tiffin ps`."""

from tiffin.cli import output
from tiffin.cli.formatting import OPTION_HELP, Listing
from tiffin.typed import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tiffin.cli.main import Session
    from tiffin.cli.parser import CommandParser, Namespace
    from tiffin.engine.options import Summary

DESCRIPTION = "List containers: those that run, or every one with -a."
EXAMPLES = """\
tiffin ps
tiffin ps -a --filter status=exited --filter label=job
tiffin ps --format 'table {{.Names}}\\t{{.Status}}\\t{{.Ports}}'
tiffin ps -a --format json
tiffin rm $(tiffin ps -aq)
"""
_HEADINGS = {
    "ID": "CONTAINER ID",
    "Image": "IMAGE",
    "Command": "COMMAND",
    "CreatedAt": "CREATED AT",
    "RunningFor": "CREATED",
    "Status": "STATUS",
    "State": "STATE",
    "Ports": "PORTS",
    "Names": "NAMES",
    "Labels": "LABELS",
    "Mounts": "MOUNTS",
    "LocalVolumes": "LOCAL VOLUMES",
    "Networks": "NETWORKS",
    "Size": "SIZE",
}
_COLUMNS = ("ID", "Image", "Command", "RunningFor", "Status", "Ports", "Names")
_COMMAND_WIDTH = 20
_MOUNT_WIDTH = 15


def arguments(parser: "CommandParser") -> None:
    add = parser.add_argument
    parser.switch("-a", "--all", help="those that do not run, too")
    add(
        "-f",
        "--filter",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="id, name, label, status, exited, ancestor, before, since, volume, network, publish, expose, ...",
    )
    add("--format", metavar="FORMAT", help=OPTION_HELP)
    add("-n", "--last", type=int, default=-1, metavar="N", help="the N created last, whatever their state")
    parser.switch("-l", "--latest", help="the one created last, whatever its state")
    parser.switch("--no-trunc", help="whole IDs and commands")
    parser.switch("-q", "--quiet", help="IDs only")
    parser.switch("-s", "--size", help="what each wrote, and that with its image")


def run(args: "Namespace", session: "Session") -> int:
    output.check_filters(args.filter)
    listing = Listing(args.format, _HEADINGS, (*_COLUMNS, "Size") if args.size else _COLUMNS)
    quiet = args.quiet and listing.is_default
    sized = args.size or (not quiet and listing.wants("Size") and args.format != "json")
    last = 1 if args.latest else args.last
    rows = session.engine.containers.list(
        show_all=args.all, last=last, filters=args.filter, size=sized and not quiet
    )
    if quiet:
        output.lines(row.id if args.no_trunc else row.id[:12] for row in rows)
    else:
        listing.print(_fields(row, full=args.no_trunc) for row in rows)
    return 0


def _fields(row: "Summary", *, full: bool) -> dict[str, Any]:
    labels = row.labels
    mounts = [mount if full else _cut(mount, _MOUNT_WIDTH) for mount in row.mounts if mount]
    return {
        "ID": row.id if full else row.id[:12],
        "Image": row.image,
        "Command": _command(row.command, full=full),
        "CreatedAt": output.clock(row.created),
        "RunningFor": output.since(row.created),
        "Status": row.status,
        "State": row.state,
        "Ports": row.ports,
        "Names": row.name,
        "Labels": ",".join(f"{key}={labels[key]}" for key in sorted(labels)),
        "Label": lambda name: labels.get(name, ""),
        "Mounts": ",".join(mounts),
        "LocalVolumes": str(sum(1 for mount in row.record.mounts if mount.get("name"))),
        "Networks": row.network,
        "Size": f"{output.size(row.size.written)} (virtual {output.size(row.size.whole)})"
        if row.size
        else "0B",
    }


def _command(words: tuple[str, ...], *, full: bool) -> str:
    """Docker's: words with spaces in quotes, cut, and the whole in quotes."""
    text = " ".join((*words[:1], *(f"'{word}'" if " " in word else word for word in words[1:])))
    text = text if full else _cut(text, _COMMAND_WIDTH)
    for plain, shown in (("\\", "\\\\"), ('"', '\\"'), ("\n", "\\n"), ("\t", "\\t")):
        text = text.replace(plain, shown)
    return f'"{text}"'


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"
