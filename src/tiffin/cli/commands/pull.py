"""`tiffin pull`, and the pulls that `run` and `create` begin."""

import sys

from tiffin.errors import InvalidArgument, NotFound
from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from tiffin.cli.main import Session
    from tiffin.cli.parser import CommandParser, Namespace

DESCRIPTION = """\
Fetch an image from its registry: several layers at once, each verified and unpacked while it arrives. What is here
already is not fetched again; a pull that broke off goes on where it stopped. Docker's names are understood: `alpine` is
docker.io/library/alpine:latest."""
EXAMPLES = """\
tiffin pull alpine
tiffin pull --platform linux/arm64 registry.example:5000/team/web:2
# by digest: exactly this image, whatever the tag means tomorrow
tiffin pull alpine@sha256:4bcff63911fcb4448bd4fdacec207030997caf25e9bea4045fa6c8c44de311d1
"""


def arguments(parser: "CommandParser") -> None:
    parser.switch("-a", "--all-tags", help="fetch every tag of the repository")
    parser.add_argument(
        "--platform", default="", metavar="OS/ARCH", help="platform of an image that is for several"
    )
    parser.switch("-q", "--quiet", help="print the image's name only")
    parser.add_argument("name", metavar="NAME[:TAG|@DIGEST]")


def run(args: "Namespace", session: "Session") -> int:
    from tiffin.cli.transfer_progress import choose
    from tiffin.engine.pulling import is_exact
    from tiffin.oci.reference import parse_reference

    reference = parse_reference(args.name)
    exact = is_exact(args.name)
    if args.all_tags and exact:
        raise InvalidArgument("tag can't be used with --all-tags/-a")
    if not (exact or args.all_tags or args.quiet):
        print(f"Using default tag: {reference.tag}", flush=True)
    with choose(args.quiet, sys.stdout) as report:
        session.engine.images.pull(args.name, platform=args.platform, all_tags=args.all_tags, report=report)
    print(reference.name if args.all_tags else str(reference))
    return 0


def pull_for_run(session: "Session", name: str, platform: str, *, quiet: bool = False) -> None:
    """Fetch an image that a container is to be made of; told on standard error, for the container's output is not to be
    mixed with it."""
    from tiffin.cli.transfer_progress import choose

    with choose(quiet, sys.stderr) as report:
        session.engine.images.pull(name, platform=platform, report=report)


def pull_missing(session: "Session", name: str, platform: str, *, quiet: bool = False) -> bool:
    """Fetch the image if it is not here, saying so as Docker does; False when it is here, and something else was not
    found, or when the name is an ID, which no registry knows."""
    from tiffin.cli.output import escape
    from tiffin.oci.digest import is_digest
    from tiffin.oci.reference import parse_reference

    if is_digest(name):
        return False
    try:
        session.engine.images.resolve(name, platform)
    except NotFound:
        pass
    else:
        return False
    try:
        reference = parse_reference(name)
    except InvalidArgument:
        return False
    if not quiet:
        print(f"Unable to find image '{escape(reference.familiar())}' locally", file=sys.stderr, flush=True)
    pull_for_run(session, name, platform, quiet=quiet)
    return True
