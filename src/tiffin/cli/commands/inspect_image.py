"""`tiffin image inspect`."""

from tiffin.cli.inspection import add_format, show
from tiffin.errors import InvalidArgument
from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from tiffin.cli.main import Session
    from tiffin.cli.parser import CommandParser, Namespace

DESCRIPTION = """\
Show everything about images, as a JSON array or as a template says; with --remote about images in their registries,
which are not pulled."""
EXAMPLES = """\
tiffin image inspect web
tiffin image inspect -f '{{.Config.Cmd}} {{.Size}}' web
tiffin image inspect --remote debian:bookworm
tiffin image inspect --remote --platform linux/arm64 debian:bookworm
"""


def arguments(parser: "CommandParser") -> None:
    add_format(parser)
    parser.switch("--remote", help="ask the registry; Size is then that of the compressed layers")
    parser.add_argument(
        "--platform", default="", metavar="OS/ARCH", help="with --remote: of the image for this one"
    )
    parser.add_argument("names", nargs="+", metavar="IMAGE")


def run(args: "Namespace", session: "Session") -> int:
    images = session.engine.images
    if not args.remote:
        if args.platform:
            raise InvalidArgument("--platform chooses among what a registry has: give --remote too")
        return show(args.names, images.inspect, args.format)
    return show(args.names, lambda name: images.inspect_remote(name, args.platform), args.format)
