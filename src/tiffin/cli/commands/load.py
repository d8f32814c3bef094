"""`tiffin load`."""

import sys

from tiffin.errors import InvalidArgument
from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from tiffin.cli.main import Session
    from tiffin.cli.parser import CommandParser, Namespace

DESCRIPTION = "Load images from an archive of save, of Docker's or Podman's save, or of an OCI layout."
EXAMPLES = """\
tiffin load -i web.tar
ssh other docker save web | tiffin load
"""


def arguments(parser: "CommandParser") -> None:
    parser.add_argument("-i", "--input", default="", metavar="FILE", help="archive (default: standard input)")
    parser.switch("-q", "--quiet", help="print nothing but errors and names")


def run(args: "Namespace", session: "Session") -> int:
    from tiffin.oci.digest import is_digest

    if not args.input and sys.stdin.isatty():
        raise InvalidArgument("requested load from stdin, but stdin is a terminal; name the archive with -i")
    if args.input:
        with open(args.input, "rb") as file:
            names = session.engine.images.load(file)
    else:
        names = session.engine.images.load(sys.stdin.buffer)
    for name in names:
        print(f"Loaded image ID: {name}" if is_digest(name) else f"Loaded image: {name}")
    return 0
