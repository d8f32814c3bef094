"""`tiffin restart`."""

from tiffin.cli.commands.stop import add_ending_options
from tiffin.cli.several import each
from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from tiffin.cli.main import Session
    from tiffin.cli.parser import CommandParser, Namespace

DESCRIPTION = """\
Stop containers and start them again. One that does not run is started; one made with --rm is not removed on the way."""
EXAMPLES = "tiffin restart web\n# give it two seconds to end\ntiffin restart -t 2 web worker\n"


def arguments(parser: "CommandParser") -> None:
    add_ending_options(parser)


def run(args: "Namespace", session: "Session") -> int:
    containers = session.engine.containers
    return each(args.containers, lambda name: containers.restart(name, args.time, args.signal))
