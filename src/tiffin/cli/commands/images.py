"""`tiffin images`."""

from tiffin.cli import output
from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from tiffin.cli.main import Session
    from tiffin.cli.parser import CommandParser, Namespace

DESCRIPTION = "List images, newest first."
EXAMPLES = "tiffin images\ntiffin images -q web\n"
_HEADINGS = ("REPOSITORY", "TAG", "IMAGE ID", "CREATED", "SIZE")


def arguments(parser: "CommandParser") -> None:
    parser.switch("-q", "--quiet", help="IDs only")
    parser.switch("--no-trunc", help="whole IDs")
    parser.add_argument("reference", metavar="REPOSITORY[:TAG]", nargs="?", default="")


def run(args: "Namespace", session: "Session") -> int:
    rows = _rows(args, session)
    if args.quiet:
        output.lines(dict.fromkeys(row[2] for row in rows))
    else:
        output.table(_HEADINGS, rows)
    return 0


def _rows(args: "Namespace", session: "Session") -> list[tuple[str, ...]]:
    """A row for each name; an image without one is <none>, and left out when a reference was asked for."""
    rows: list[tuple[str, ...]] = []
    for image in session.engine.images.list():
        identifier = image.id if args.no_trunc else image.id.removeprefix("sha256:")[:12]
        facts = (identifier, output.since(image.created) if image.created else "N/A", output.size(image.size))
        names = [_split(name) for name in image.names]
        if args.reference:
            wanted, _, tag = args.reference.partition(":")
            names = [
                (repository, have) for repository, have in names if repository == wanted and tag in ("", have)
            ]
        elif not names:
            names = [("<none>", "<none>")]
        rows += [(repository, tag, *facts) for repository, tag in names]
    return rows


def _split(name: str) -> tuple[str, str]:
    from tiffin.oci.reference import parse_reference

    reference = parse_reference(name)
    familiar = reference.familiar()
    if reference.digest:
        return familiar.partition("@")[0], "<none>"
    repository, _, tag = familiar.rpartition(":")
    return repository, tag
