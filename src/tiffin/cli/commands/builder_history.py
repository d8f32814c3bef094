"""`tiffin builder history`."""

import time

from tiffin.cli import output
from tiffin.cli.formatting import OPTION_HELP, Listing
from tiffin.typed import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tiffin.build.results.history import BuildRecord
    from tiffin.cli.main import Session
    from tiffin.cli.parser import CommandParser, Namespace

DESCRIPTION = """\
List the builds whose logs are kept, the newest first: the last 50, fewer when the logs hold more than 100 MB."""
EXAMPLES = """\
tiffin builder history
tiffin builder history -q
tiffin builder history --format '{{.ID}} {{.Status}} {{.Error}}'
"""
_HEADINGS = {
    "ID": "BUILD ID", "Name": "NAME", "Status": "STATUS", "CreatedAt": "CREATED AT", "Duration": "DURATION",
    "Error": "ERROR", "Size": "SIZE",
}  # fmt: skip


def arguments(parser: "CommandParser") -> None:
    parser.add_argument("--format", metavar="FORMAT", help=OPTION_HELP)
    parser.switch("-q", "--quiet", help="IDs only")


def run(args: "Namespace", session: "Session") -> int:
    listing = Listing(args.format, _HEADINGS, ("ID", "Name", "Status", "CreatedAt", "Duration"))
    records = session.engine.builder.history()
    if args.quiet and listing.is_default:
        output.lines(record.id for record in records)
    else:
        listing.print(map(_row, records))
    return 0


def _row(record: "BuildRecord") -> dict[str, Any]:
    seconds = ((record.ended or time.time_ns()) - record.started) / 1e9
    return {
        "ID": record.id,
        "Name": record.name,
        "Status": record.status,
        "CreatedAt": output.since(record.started),
        "Duration": f"{seconds:.1f}s",
        "Error": record.error,
        "Size": output.size(record.size),
    }
