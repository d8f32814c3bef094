"""`tiffin system stop-containers`."""

from tiffin.cli.output import print_error
from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from tiffin.cli.main import Session
    from tiffin.cli.parser import CommandParser, Namespace

DESCRIPTION = (
    "Stop every container, all at once and each by its own stop signal: what the unit of `tiffin system install-units` "
    "does when the machine goes down. To their restart policies they have not been stopped by anybody: "
    "`tiffin system start-containers` starts them again."
)
EXAMPLES = "tiffin system stop-containers\n"


def arguments(parser: "CommandParser") -> None:
    pass


def run(args: "Namespace", session: "Session") -> int:  # noqa: ARG001 - one signature for all commands
    failed = session.engine.system.stop_containers()
    for name, error in failed:
        print_error(f"{name}: {error}")
    return 1 if failed else 0
