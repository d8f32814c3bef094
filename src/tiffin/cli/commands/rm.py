"""`tiffin rm`."""

from tiffin.cli.several import each
from tiffin.errors import NotFound
from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from tiffin.cli.main import Session
    from tiffin.cli.parser import CommandParser, Namespace

DESCRIPTION = "Remove containers and their writable layers. A running one needs -f, which kills it first."
EXAMPLES = "tiffin rm job\ntiffin rm -f -v web\n"


def arguments(parser: "CommandParser") -> None:
    parser.switch(
        "-f", "--force", help="kill it first when it runs; a name that does not exist is no failure"
    )
    parser.switch("-v", "--volumes", help="remove its anonymous volumes too")
    parser.add_argument("containers", nargs="+", metavar="CONTAINER")


def run(args: "Namespace", session: "Session") -> int:
    containers = session.engine.containers
    missing: list[str] = []

    def remove(name: str) -> None:
        try:
            containers.remove(name, force=args.force, volumes=args.volumes)
        except NotFound:
            missing.append(name)
            raise

    code = each(args.containers, remove)
    # Docker: with -f, names that are already gone are reported and are no failure.
    if args.force and code and len(missing) == len(args.containers):
        return 0
    return code
