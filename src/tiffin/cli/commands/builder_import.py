"""`tiffin builder import`."""

import sys

from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from tiffin.cli.main import Session
    from tiffin.cli.parser import CommandParser, Namespace

DESCRIPTION = """\
Unpack a tar archive, plain or compressed, into the cache mount with an id, so that the next RUN --mount=type=cache
finds it there. Files of the same names are replaced, all others stay; devices are left out."""
EXAMPLES = """\
tiffin builder import /root/.cache/pip pip.tar
zstd -dc npm.tar.zst | tiffin builder import npm
"""


def arguments(parser: "CommandParser") -> None:
    parser.add_argument("id", metavar="ID")
    parser.add_argument(
        "file", metavar="FILE|-", nargs="?", default="-", help="archive to read (default: standard input)"
    )


def run(args: "Namespace", session: "Session") -> int:
    builder = session.engine.builder
    if args.file == "-":
        builder.import_cache_mount(args.id, sys.stdin.buffer)
        return 0
    with open(args.file, "rb") as file:
        builder.import_cache_mount(args.id, file)
    return 0
