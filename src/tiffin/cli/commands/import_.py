"""`tiffin import`."""

import sys

from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from tiffin.cli.main import Session
    from tiffin.cli.parser import CommandParser, Namespace

DESCRIPTION = (
    "Make a one-layer image from a tarball of a root filesystem, plain or compressed; - is standard input."
)
EXAMPLES = """\
tiffin import rootfs.tar.gz base:1
tar -C rootfs -c . | tiffin import - base
"""


def arguments(parser: "CommandParser") -> None:
    parser.add_argument(
        "-m", "--message", default="", metavar="TEXT", help="message, kept in the image's history"
    )
    parser.add_argument("file", metavar="FILE|-")
    parser.add_argument("repository", metavar="REPOSITORY[:TAG]", nargs="?", default="")


def run(args: "Namespace", session: "Session") -> int:
    images = session.engine.images
    if args.file == "-":
        image = images.import_(sys.stdin.buffer, args.repository, args.message)
    else:
        with open(args.file, "rb") as file:
            image = images.import_(file, args.repository, args.message)
    print(image.id)
    return 0
