"""`tiffin manifest push`."""

import sys

from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from tiffin.cli.main import Session
    from tiffin.cli.parser import CommandParser, Namespace

DESCRIPTION = """\
Send a manifest list to the registry that its name says. What its repository lacks of the images listed is mounted from
where they are, or carried over."""
EXAMPLES = """\
tiffin manifest push --purge registry.example/web:2
"""


def arguments(parser: "CommandParser") -> None:
    parser.switch(
        "--insecure", help="its registry may speak http, or have a certificate that nobody vouches for"
    )
    parser.switch("-p", "--purge", help="forget the list here afterwards")
    parser.add_argument("list", metavar="MANIFEST_LIST")


def run(args: "Namespace", session: "Session") -> int:
    from tiffin.cli.transfer_progress import choose

    with choose(False, sys.stderr) as report:
        pushed = session.engine.manifests.push(
            args.list, purge=args.purge, insecure=args.insecure, report=report
        )
    print(pushed.digest)
    return 0
