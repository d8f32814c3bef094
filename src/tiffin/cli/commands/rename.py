"""`tiffin rename`."""

from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from tiffin.cli.main import Session
    from tiffin.cli.parser import CommandParser, Namespace

DESCRIPTION = "Give a container another name."
EXAMPLES = "tiffin rename web web-old\n"


def arguments(parser: "CommandParser") -> None:
    parser.add_argument("container", metavar="CONTAINER")
    parser.add_argument("name", metavar="NEW_NAME")


def run(args: "Namespace", session: "Session") -> int:
    session.engine.containers.rename(args.container, args.name)
    return 0
