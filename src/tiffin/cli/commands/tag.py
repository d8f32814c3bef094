"""`tiffin tag`."""

from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from tiffin.cli.main import Session
    from tiffin.cli.parser import CommandParser, Namespace

DESCRIPTION = "Give an image another name. A name that another image had moves to this one."
EXAMPLES = "tiffin tag web registry.example/team/web:2\n"


def arguments(parser: "CommandParser") -> None:
    parser.add_argument("source", metavar="SOURCE_IMAGE[:TAG]")
    parser.add_argument("target", metavar="TARGET_IMAGE[:TAG]")


def run(args: "Namespace", session: "Session") -> int:
    session.engine.images.tag(args.source, args.target)
    return 0
