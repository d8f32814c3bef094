"""`tiffin volume import`."""

import sys

from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from tiffin.cli.main import Session
    from tiffin.cli.parser import CommandParser, Namespace

DESCRIPTION = """\
Unpack a tar archive, plain or compressed, into a volume. Files of the same names are replaced, all others stay."""
EXAMPLES = "tiffin volume import data data.tar\ncat data.tar.gz | tiffin volume import data\n"


def arguments(parser: "CommandParser") -> None:
    parser.add_argument("volume", metavar="VOLUME")
    parser.add_argument(
        "file", metavar="FILE|-", nargs="?", default="-", help="archive to read (default: standard input)"
    )


def run(args: "Namespace", session: "Session") -> int:
    volumes = session.engine.volumes
    if args.file == "-":
        volumes.import_(args.volume, sys.stdin.buffer)
        return 0
    with open(args.file, "rb") as file:
        volumes.import_(args.volume, file)
    return 0
