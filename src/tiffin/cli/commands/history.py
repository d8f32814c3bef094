"""`tiffin history`."""

from tiffin.cli import output
from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from tiffin.cli.main import Session
    from tiffin.cli.parser import CommandParser, Namespace

DESCRIPTION = "Show the steps that an image was made by, newest first."
EXAMPLES = "tiffin history web\n"
_HEADINGS = ("IMAGE", "CREATED", "CREATED BY", "SIZE", "COMMENT")
_STEP_WIDTH = 45


def arguments(parser: "CommandParser") -> None:
    parser.switch("-q", "--quiet", help="IDs only")
    parser.switch("--no-trunc", help="whole IDs and steps")
    parser.add_argument("image", metavar="IMAGE")


def run(args: "Namespace", session: "Session") -> int:
    rows = session.engine.images.history(args.image)
    if args.quiet:
        output.lines(_identifier(str(row["Id"]), full=args.no_trunc) for row in rows)
        return 0
    output.table(
        _HEADINGS,
        (
            (
                _identifier(row["Id"], full=args.no_trunc),
                output.since(row["Created"] * 1_000_000_000) if row["Created"] else "N/A",
                _step(row["CreatedBy"], full=args.no_trunc),
                output.size(row["Size"]),
                row["Comment"],
            )
            for row in rows
        ),
    )
    return 0


def _identifier(text: str, *, full: bool) -> str:
    return text if full or text == "<missing>" else text.removeprefix("sha256:")[:12]


def _step(text: str, *, full: bool) -> str:
    line = " ".join(text.split())
    return line if full or len(line) <= _STEP_WIDTH else line[: _STEP_WIDTH - 1] + "…"
