"""`tiffin save`."""

from tiffin.cli.archive_output import archive_output
from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from tiffin.cli.main import Session
    from tiffin.cli.parser import CommandParser, Namespace

DESCRIPTION = """\
Save images to one archive. The default is read as an OCI archive and as a docker-archive alike, whichever the reader
prefers."""
EXAMPLES = """\
tiffin save -o web.tar web
tiffin save -o all.tar web:1 web:2 debian
tiffin save web | ssh other docker load
skopeo inspect oci-archive:web.tar
"""


def arguments(parser: "CommandParser") -> None:
    add = parser.add_argument
    add("-o", "--output", default="", metavar="FILE", help="archive to write (default: standard output)")
    add("--format", choices=("oci-archive", "docker-archive"), default="", help="write one form only")
    add("--platform", metavar="OS/ARCHITECTURE", help="the images for it, of names that stand for several")
    add("images", nargs="+", metavar="IMAGE")


def run(args: "Namespace", session: "Session") -> int:
    with archive_output(args.output) as file:
        session.engine.images.save(args.images, file, args.format, platform=args.platform)
    return 0
