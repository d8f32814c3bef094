"""`tiffin system start-containers`."""

from tiffin.cli.output import escape, print_error
from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from tiffin.cli.main import Session
    from tiffin.cli.parser import CommandParser, Namespace

DESCRIPTION = (
    "Start the containers whose restart policy says so, in the order of their creation: what the unit of `tiffin "
    "system install-units` does after a boot. Prints the name of each; one that does not start holds up no other."
)
EXAMPLES = "tiffin system start-containers\n"


def arguments(parser: "CommandParser") -> None:
    pass


def run(args: "Namespace", session: "Session") -> int:  # noqa: ARG001 - one signature for all commands
    booted = session.engine.system.start_containers()
    for name in booted.started:
        print(escape(name))
    for name, error in booted.failed:
        print_error(f"{name}: {error}")
    return 1 if booted.failed else 0
