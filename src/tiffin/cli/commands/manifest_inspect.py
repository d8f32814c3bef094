"""`tiffin manifest inspect`."""

import json

from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from tiffin.cli.main import Session
    from tiffin.cli.parser import CommandParser, Namespace

DESCRIPTION = """\
Show the manifest, or the list of manifests, that a name stands for in its registry. Nothing is pulled. A manifest list
made here is shown as it would be pushed."""
EXAMPLES = """\
tiffin manifest inspect debian:bookworm
tiffin manifest inspect --verbose registry.example/team/web:2
"""


def arguments(parser: "CommandParser") -> None:
    parser.switch(
        "--insecure", help="its registry may speak http, or have a certificate that nobody vouches for"
    )
    parser.switch("-v", "--verbose", help="show for each image what it is, and its manifest whole")
    parser.add_argument("first", metavar="[MANIFEST_LIST] MANIFEST")
    parser.add_argument("second", metavar="MANIFEST", nargs="?", default="")


def run(args: "Namespace", session: "Session") -> int:
    within, name = (args.first, args.second) if args.second else ("", args.first)
    found = session.engine.manifests.inspect(
        name, within=within, verbose=args.verbose, insecure=args.insecure
    )
    print(json.dumps(found, indent="\t", ensure_ascii=True))
    return 0
