"""`tiffin builder export`."""

from tiffin.cli.archive_output import archive_output
from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from tiffin.cli.main import Session
    from tiffin.cli.parser import CommandParser, Namespace

DESCRIPTION = """\
Write what RUN --mount=type=cache has gathered under an id, which is the mount's target unless the mount says another,
to a tar archive. Waits for steps that have it for themselves."""
EXAMPLES = """\
tiffin builder export -o pip.tar /root/.cache/pip
tiffin builder export npm | zstd > npm.tar.zst
"""


def arguments(parser: "CommandParser") -> None:
    parser.add_argument("-o", "--output", metavar="FILE", help="archive to write (default: standard output)")
    parser.add_argument("id", metavar="ID")


def run(args: "Namespace", session: "Session") -> int:
    builder = session.engine.builder
    builder.find_cache_mount(args.id)  # before there is a file
    with archive_output(args.output) as file:
        builder.export_cache_mount(args.id, file)
    return 0
