"""`tiffin export`."""

from tiffin.cli.archive_output import archive_output
from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from tiffin.cli.main import Session
    from tiffin.cli.parser import CommandParser, Namespace

DESCRIPTION = """\
Write all files of a container, running or not, to one tar archive. What its volumes hold is not among them."""
EXAMPLES = """\
tiffin export -o web.tar web
tiffin export web | tar -t
tiffin export web | tiffin import -c 'CMD ["serve"]' - flat:1
"""


def arguments(parser: "CommandParser") -> None:
    parser.add_argument("-o", "--output", metavar="FILE", help="archive to write (default: standard output)")
    parser.add_argument("container", metavar="CONTAINER")


def run(args: "Namespace", session: "Session") -> int:
    containers = session.engine.containers
    container = containers.resolve(args.container)
    with archive_output(args.output) as file:
        containers.export(container, file)
    return 0
