"""`tiffin rmi`."""

from tiffin.cli.output import escape, print_error
from tiffin.errors import NotFound, TiffinError
from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from tiffin.cli.main import Session
    from tiffin.cli.parser import CommandParser, Namespace

DESCRIPTION = """\
Remove names of images, and the images and layers that nothing names or uses any more. An image is named by a tag, a
digest, its ID or the beginning of that; an ID takes all names along."""
EXAMPLES = """\
tiffin rmi web:1 web:2
tiffin rmi -f 5d0da3dc9764
tiffin rmi $(tiffin images -q --filter dangling=true)
"""


def arguments(parser: "CommandParser") -> None:
    parser.switch("-f", "--force", help="also when it has several names or a stopped container uses it")
    parser.switch("--no-prune", help="keep untagged parents: there are none, since images share layers alone")
    parser.add_argument("images", nargs="+", metavar="IMAGE")


def run(args: "Namespace", session: "Session") -> int:
    failed = 0
    for name in args.images:
        try:
            for what, text in session.engine.images.remove(name, args.force):
                print(f"{what}: {escape(text)}")
        except TiffinError as error:
            print_error(str(error))
            failed = failed or (0 if args.force and isinstance(error, NotFound) else 1)
    return failed
