"""`tiffin volume ls`."""

from tiffin.cli import output
from tiffin.cli.formatting import OPTION_HELP, Listing
from tiffin.typed import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tiffin.cli.main import Session
    from tiffin.cli.parser import CommandParser, Namespace
    from tiffin.volumes import Volume

DESCRIPTION = "List volumes, by name, with those that plugins have."
EXAMPLES = """\
tiffin volume ls
tiffin volume ls -q --filter dangling=true
tiffin volume ls --filter label=team=web --format '{{.Name}} {{.Mountpoint}}'
"""
_HEADINGS = {
    "Driver": "DRIVER", "Name": "VOLUME NAME", "Scope": "SCOPE", "Mountpoint": "MOUNTPOINT", "Labels": "LABELS",
    "Links": "LINKS", "Size": "SIZE", "Availability": "AVAILABILITY", "Group": "GROUP", "Status": "STATUS",
}  # fmt: skip


def arguments(parser: "CommandParser") -> None:
    parser.add_argument(
        "-f",
        "--filter",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="dangling=true|false, driver=NAME, label=NAME[=VALUE], name=PATTERN",
    )
    parser.add_argument("--format", metavar="FORMAT", help=OPTION_HELP)
    parser.switch("-q", "--quiet", help="names only")


def run(args: "Namespace", session: "Session") -> int:
    output.check_filters(args.filter)
    listing = Listing(args.format, _HEADINGS, ("Driver", "Name"))
    volumes, complaints = session.engine.volumes.listed(args.filter)
    for complaint in complaints:
        output.print_warning(complaint)
    if args.quiet and listing.is_default:
        output.lines(volume.name for volume in volumes)
    else:
        listing.print(map(_row, volumes))
    return 0


def _row(volume: "Volume") -> dict[str, Any]:
    from tiffin.engine.volumes import labels_of

    labels = labels_of(volume)
    unknown = dict.fromkeys(
        ("Links", "Size", "Availability", "Group", "Status"), "N/A"
    )  # Docker's, of every list
    return {
        "Driver": volume.driver,
        "Name": volume.name,
        "Scope": "local",
        "Mountpoint": volume.mountpoint,
        "Labels": ",".join(f"{key}={value}" for key, value in sorted(labels.items())),
        "Label": lambda name: labels.get(name, ""),
        **unknown,
    }
