"""`tiffin logout`."""

from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from tiffin.cli.main import Session
    from tiffin.cli.parser import CommandParser, Namespace

DESCRIPTION = "Forget the password that is kept for a registry, Docker Hub when none is named."
EXAMPLES = "tiffin logout ghcr.io\n"


def arguments(parser: "CommandParser") -> None:
    parser.add_argument("server", metavar="SERVER", nargs="?", default="")


def run(args: "Namespace", session: "Session") -> int:
    name, known = session.engine.registry.logout(args.server)
    print(f"Removing login credentials for {name}" if known else f"Not logged in to {name}")
    return 0
