"""`tiffin load`."""

import sys
from contextlib import contextmanager

from tiffin.errors import InvalidArgument
from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

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
    from tiffin.oci.reference import parse_reference

    if not args.input and sys.stdin.isatty():
        raise InvalidArgument("requested load from stdin, but stdin is a terminal; name the archive with -i")
    images = session.engine.images
    with _progress(quiet=args.quiet) as progress:
        if args.input:
            with open(args.input, "rb") as file:
                names = images.load(file, progress)
        else:
            names = images.load(sys.stdin.buffer, progress)
    for name in names:
        if is_digest(name):
            print(f"Loaded image ID: {name}")
        else:
            print(f"Loaded image: {parse_reference(name).familiar()}")
    return 0


@contextmanager
def _progress(*, quiet: bool) -> "Iterator[Callable[[str, int, int], None] | None]":
    """Bytes of each layer, on a terminal; there is nothing else to tell."""
    if quiet or not sys.stderr.isatty():
        yield None
        return
    from tiffin.cli.transfer_progress import choose
    from tiffin.images.transfer import TransferEvent

    with choose(quiet, sys.stderr) as report:

        def tell(diff_id: str, done: int, total: int) -> None:
            report(TransferEvent("Loading layer", diff_id.removeprefix("sha256:")[:12], done, total))

        yield tell
