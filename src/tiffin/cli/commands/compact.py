"""`tiffin image compact`."""

from tiffin.cli import output
from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from tiffin.cli.main import Session
    from tiffin.cli.parser import CommandParser, Namespace

DESCRIPTION = """\
Remove the compressed copies of layers that are unpacked. Containers and builds do not need them; push and save make
them again to the byte, or fetch them from where they came. A copy that nobody could give back stays, and so says the
output. `keep-compressed = false` in the [images] section of the settings file does it whenever an image arrives."""
EXAMPLES = "tiffin image compact\ntiffin image compact debian\n"


def arguments(parser: "CommandParser") -> None:
    parser.switch("-q", "--quiet", help="print the space that was freed and nothing else")
    parser.add_argument("images", nargs="*", metavar="IMAGE", help="images to compact (default: all)")


def run(args: "Namespace", session: "Session") -> int:
    done = session.engine.images.compact(args.images)
    if not args.quiet:
        lines = [f"Removed: {layer.blob} ({output.size(layer.blob_size)})" for layer in done.gone]
        lines += [
            f"Kept: {layer.blob} ({output.size(layer.blob_size)}), the only copy" for layer in done.kept
        ]
        output.lines(lines)
    print(f"Total reclaimed space: {output.size(done.freed)}")
    return 0
