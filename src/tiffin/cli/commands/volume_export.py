"""`tiffin volume export`."""

from tiffin.cli.archive_output import archive_output
from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from tiffin.cli.main import Session
    from tiffin.cli.parser import CommandParser, Namespace

DESCRIPTION = "Write all that a volume holds, with owners, modes and attributes, to a tar archive."
EXAMPLES = "tiffin volume export -o data.tar data\ntiffin volume export data | gzip > data.tar.gz\n"


def arguments(parser: "CommandParser") -> None:
    parser.add_argument("-o", "--output", metavar="FILE", help="archive to write (default: standard output)")
    parser.add_argument("volume", metavar="VOLUME")


def run(args: "Namespace", session: "Session") -> int:
    volumes = session.engine.volumes
    volumes.inspect(args.volume)  # before there is a file
    with archive_output(args.output) as file:
        volumes.export(args.volume, file)
    return 0
