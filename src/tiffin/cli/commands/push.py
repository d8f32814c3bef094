"""`tiffin push`."""

import sys

from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from tiffin.cli.main import Session
    from tiffin.cli.parser import CommandParser, Namespace

DESCRIPTION = """\
Send an image to the registry that its name says. Only what is missing there is sent, several layers at once, each as it
lies in the store; what another repository of the same registry has is mounted from it. Of an image for several
platforms everything that is here is sent."""
EXAMPLES = """\
tiffin tag web registry.example/team/web:2
tiffin push registry.example/team/web:2
tiffin push -a registry.example/team/web
tiffin push --platform linux/arm64 registry.example/team/web:2
"""


def arguments(parser: "CommandParser") -> None:
    parser.switch("-a", "--all-tags", help="push every tag that the repository has here")
    parser.add_argument(
        "--platform", default="", metavar="OS/ARCH", help="push the image for this platform only"
    )
    parser.switch("-q", "--quiet", help="print the name alone, once it is there")
    parser.add_argument("name", metavar="NAME[:TAG]")


def run(args: "Namespace", session: "Session") -> int:
    from tiffin.cli.transfer_progress import choose
    from tiffin.oci.reference import parse_reference

    with choose(args.quiet, sys.stdout) as report:
        session.engine.images.push(args.name, all_tags=args.all_tags, platform=args.platform, report=report)
    if args.quiet:
        reference = parse_reference(args.name)
        print(reference.name if args.all_tags else reference)
    return 0
