"""`tiffin save`."""

import os
import sys

from tiffin.errors import InvalidArgument
from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from tiffin.cli.main import Session
    from tiffin.cli.parser import CommandParser, Namespace

DESCRIPTION = """\
Save images to one archive. The default is read as an OCI archive and as a docker-archive alike, whichever the reader
prefers."""
EXAMPLES = """\
tiffin save -o web.tar web
tiffin save web | ssh other docker load
skopeo inspect oci-archive:web.tar
"""


def arguments(parser: "CommandParser") -> None:
    add = parser.add_argument
    add("-o", "--output", default="", metavar="FILE", help="archive to write (default: standard output)")
    add("--format", choices=("oci-archive", "docker-archive"), default="", help="write one form only")
    add("images", nargs="+", metavar="IMAGE")


def run(args: "Namespace", session: "Session") -> int:
    images = session.engine.images
    if not args.output:
        if sys.stdout.isatty():
            raise InvalidArgument("cowardly refusing to save to a terminal; use the -o flag or redirect")
        images.save(args.images, sys.stdout.buffer, args.format)
        return 0
    aside = f"{args.output}.{os.getpid()}.partial"
    try:
        with open(aside, "xb") as file:
            images.save(args.images, file, args.format)
        os.rename(aside, args.output)
    except BaseException:
        if os.path.exists(aside):
            os.unlink(aside)
        raise
    return 0
