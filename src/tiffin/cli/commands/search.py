"""`tiffin search`."""

from tiffin.errors import InvalidArgument
from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tiffin.cli.main import Session
    from tiffin.cli.parser import CommandParser, Namespace
    from tiffin.registry.search import SearchResult

DESCRIPTION = """\
Search Docker Hub for images, or the registry that TERM begins with. A registry without a search of its own is asked for
the list of its repositories."""
EXAMPLES = """\
tiffin search --filter is-official=true --limit 5 postgres
tiffin search --format '{{.Name}} {{.StarCount}}' postgres
tiffin search localhost:5000/web
"""
_HEADINGS = {
    "Name": "NAME",
    "Description": "DESCRIPTION",
    "StarCount": "STARS",
    "IsOfficial": "OFFICIAL",
    "IsAutomated": "AUTOMATED",
}
_COLUMNS = ("Name", "Description", "StarCount", "IsOfficial")
_DESCRIPTION_WIDTH = 45


def arguments(parser: "CommandParser") -> None:
    from tiffin.cli.formatting import OPTION_HELP

    parser.add_argument(
        "-f",
        "--filter",
        action="append",
        default=[],
        metavar="FILTER",
        help="stars=N (at least), is-official=true|false, is-automated=true|false",
    )
    parser.add_argument("--format", metavar="FORMAT", help=OPTION_HELP)
    parser.add_argument("--limit", type=int, default=25, metavar="N", help="at most so many, up to 100 (25)")
    parser.switch("--no-trunc", help="whole descriptions")
    parser.add_argument("term", metavar="TERM")


def run(args: "Namespace", session: "Session") -> int:
    from tiffin.cli.formatting import Listing

    listing = Listing(args.format, _HEADINGS, _COLUMNS)
    found = session.engine.registry.search(args.term, limit=args.limit, filters=_filters(args.filter))
    listing.print(_rows(found, whole=args.no_trunc, words=args.format == "json"))
    return 0


def _filters(words: list[str]) -> dict[str, list[str]]:
    filters: dict[str, list[str]] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals:
            raise InvalidArgument(f"bad format of filter {word!r} (expected name=value)")
        filters.setdefault(name.strip().lower(), []).append(value.strip())
    return filters


def _rows(found: "list[SearchResult]", *, whole: bool, words: bool) -> "Iterator[dict[str, str]]":
    """What templates are offered; as in Docker, all of it is text, and a yes is [OK] but in JSON."""
    no, yes = ("false", "true") if words else ("", "[OK]")
    for one in found:
        description = " ".join(one.description.splitlines())
        if not whole and len(description) > _DESCRIPTION_WIDTH:
            description = f"{description[: _DESCRIPTION_WIDTH - 1]}…"
        yield {
            "Name": one.name,
            "Description": description,
            "StarCount": str(one.stars),
            "IsOfficial": yes if one.official else no,
            "IsAutomated": yes if one.automated else no,
        }
