"""`tiffin import`."""

import sys

from tiffin.errors import InvalidArgument
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
tiffin import -c 'CMD ["/bin/sh"]' -c 'ENV LANG=C.UTF-8' rootfs.tar base:2
"""


def arguments(parser: "CommandParser") -> None:
    parser.add_argument(
        "-c",
        "--change",
        action="append",
        default=[],
        metavar="INSTRUCTION",
        help="a Dockerfile instruction that gives the image settings (CMD, ENV, LABEL, ...); may be repeated",
    )
    parser.add_argument(
        "--platform", metavar="OS/ARCHITECTURE", help="what it runs on (default: this machine)"
    )
    parser.add_argument(
        "-m", "--message", default="", metavar="TEXT", help="message, kept in the image's history"
    )
    parser.add_argument("file", metavar="FILE|-")
    parser.add_argument("repository", metavar="REPOSITORY[:TAG]", nargs="?", default="")


def run(args: "Namespace", session: "Session") -> int:
    if args.file.startswith(("http://", "https://")):
        raise InvalidArgument(
            f"import reads files: curl -L {args.file} | tiffin import - {args.repository}".rstrip()
        )
    images = session.engine.images
    chosen = {"changes": args.change, "platform": args.platform}
    if args.file == "-":
        image = images.import_(sys.stdin.buffer, args.repository, args.message, **chosen)
    else:
        with open(args.file, "rb") as file:
            image = images.import_(file, args.repository, args.message, **chosen)
    print(image.id)
    return 0
