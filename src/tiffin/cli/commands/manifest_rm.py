"""`tiffin manifest rm`."""

from tiffin.cli.several import each
from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from tiffin.cli.main import Session
    from tiffin.cli.parser import CommandParser, Namespace

DESCRIPTION = """\
Forget manifest lists that were made here. Registries keep what they have."""
EXAMPLES = """\
tiffin manifest rm registry.example/web:2
"""


def arguments(parser: "CommandParser") -> None:
    parser.add_argument("lists", nargs="+", metavar="MANIFEST_LIST")


def run(args: "Namespace", session: "Session") -> int:
    return each(args.lists, session.engine.manifests.remove)
