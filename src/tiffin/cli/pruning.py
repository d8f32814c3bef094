"""What the prune commands share: their options, the question before anything goes, and what is said afterwards."""

from tiffin.cli import output
from tiffin.cli.confirm import confirmed
from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from tiffin.cli.parser import CommandParser, Namespace


def add_prune_options(
    parser: "CommandParser", filters: str = "until=TIME, label=NAME[=VALUE], label!=NAME[=VALUE]"
) -> None:
    """--filter, of which `filters` is the help, and --force."""
    parser.add_argument("--filter", action="append", default=[], metavar="KEY=VALUE", help=filters)
    parser.switch("-f", "--force", help="do not ask")


def approved(args: "Namespace", what: str, show: "Callable[[], None]", sum_up: str = "") -> bool:
    """List what would go, and ask unless --force says yes. `what` names it where it is all of a kind, `show` prints
    it, `sum_up` is a last line."""
    print(f"WARNING! This will remove{' ' if what else ''}{what}:\n")
    show()
    print(sum_up, flush=True)
    return args.force or confirmed()


def report(*sections: "tuple[str, Collection[str]]", reclaimed: int) -> None:
    """What went, a title and names each, and how many bytes came free; -1 when they do not count."""
    for title, names in sections:
        if names:
            print(title)
            output.lines(names)
            if reclaimed >= 0:
                print()
    if reclaimed >= 0:
        print(f"Total reclaimed space: {output.size(reclaimed)}")
