"""`tiffin volume update`."""

from tiffin.cli.output import UsageError, escape
from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from tiffin.cli.main import Session
    from tiffin.cli.parser import CommandParser, Namespace

DESCRIPTION = "Change the labels of a volume. What it holds, and who uses it, is not touched."
EXAMPLES = "tiffin volume update --label-add backup=daily --label-rm draft data\n"


def arguments(parser: "CommandParser") -> None:
    parser.add_argument(
        "--label-add", action="append", default=[], metavar="NAME[=VALUE]", help="add or change a label"
    )
    parser.add_argument("--label-rm", action="append", default=[], metavar="NAME", help="remove a label")
    parser.add_argument("--availability", metavar="STATE", help="refused: only cluster volumes have one")
    parser.add_argument("volume", metavar="VOLUME")


def run(args: "Namespace", session: "Session") -> int:
    if args.availability:
        raise UsageError(
            f"--availability is for cluster volumes, and {args.volume} is a local one; leave it out", 1
        )
    labels = {key: value for key, _, value in (word.partition("=") for word in args.label_add)}
    session.engine.volumes.update(args.volume, labels=labels, remove_labels=args.label_rm)
    print(escape(args.volume))
    return 0
