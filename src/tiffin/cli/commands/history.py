"""`tiffin history`."""

import time

from tiffin.cli import output
from tiffin.cli.formatting import OPTION_HELP, Listing
from tiffin.typed import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tiffin.cli.main import Session
    from tiffin.cli.parser import CommandParser, Namespace

DESCRIPTION = "Show the steps that an image was made by, newest first."
EXAMPLES = """\
tiffin history web
tiffin history --no-trunc --format '{{.Size}}: {{.CreatedBy}}' web
"""
_HEADINGS = {
    "ID": "IMAGE",
    "CreatedSince": "CREATED",
    "CreatedAt": "CREATED AT",
    "CreatedBy": "CREATED BY",
    "Size": "SIZE",
    "Comment": "COMMENT",
}
_STEP_WIDTH = 45


def arguments(parser: "CommandParser") -> None:
    parser.add_argument("--format", metavar="FORMAT", help=OPTION_HELP)
    parser.switch(
        "-H", "--human", default=True, help="ages and rounded sizes, not dates and bytes (default true)"
    )
    parser.switch("--no-trunc", help="whole IDs and steps")
    parser.switch("-q", "--quiet", help="IDs only")
    parser.add_argument("image", metavar="IMAGE")


def run(args: "Namespace", session: "Session") -> int:
    when = "CreatedSince" if args.human else "CreatedAt"
    listing = Listing(args.format, _HEADINGS, ("ID", when, "CreatedBy", "Size", "Comment"))
    rows = [_fields(row, args) for row in session.engine.images.history(args.image)]
    if args.quiet and listing.is_default:
        output.lines(row["ID"] for row in rows)
        return 0
    if listing.is_default:  # one line for each
        for row in rows:
            row["CreatedBy"] = row["CreatedBy"].replace("\n", " ")
    listing.print(rows)
    return 0


def _fields(row: "Mapping[str, Any]", args: "Namespace") -> dict[str, Any]:
    identifier, step, seconds = str(row["Id"]), str(row["CreatedBy"]).replace("\t", " "), row["Created"]
    if not args.no_trunc:
        identifier = identifier.removeprefix("sha256:")[:12] if identifier != "<missing>" else identifier
        step = step if len(step) <= _STEP_WIDTH else step[: _STEP_WIDTH - 1] + "…"
    moment = _moment(seconds)
    age = output.since(seconds * 1_000_000_000) if seconds else "N/A"
    return {
        "ID": identifier,
        "CreatedSince": age if args.human else moment,
        "CreatedAt": moment,
        "CreatedBy": step,
        "Size": output.size(row["Size"]) if args.human else str(row["Size"]),
        "Comment": row["Comment"],
    }


def _moment(seconds: int) -> str:
    """RFC 3339 in the time zone of here."""
    text = time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(seconds))
    return f"{text[:-2]}:{text[-2:]}".replace("+00:00", "Z") if seconds else ""
