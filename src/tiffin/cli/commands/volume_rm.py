"""`tiffin volume rm`."""

from tiffin.cli.several import each
from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from tiffin.cli.main import Session
    from tiffin.cli.parser import CommandParser, Namespace

DESCRIPTION = "Remove volumes and all that is in them. One that any container has, running or not, stays."
EXAMPLES = "tiffin volume rm data\ntiffin volume rm -f data scratch\n"


def arguments(parser: "CommandParser") -> None:
    parser.switch("-f", "--force", help="a name that does not exist is no failure")
    parser.add_argument("volumes", nargs="+", metavar="VOLUME")


def run(args: "Namespace", session: "Session") -> int:
    volumes = session.engine.volumes
    return each(args.volumes, lambda name: volumes.remove(name, force=args.force))
