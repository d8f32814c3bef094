"""`tiffin inspect`."""

from collections.abc import Callable

from tiffin.cli.inspection import add_format, show
from tiffin.cli.output import UsageError
from tiffin.errors import NotFound
from tiffin.typed import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tiffin.cli.main import Session
    from tiffin.cli.parser import CommandParser, Namespace

DESCRIPTION = "Show everything about containers, images, volumes or networks, as JSON or as a template says."
EXAMPLES = """\
tiffin inspect web
tiffin inspect --type image debian
tiffin inspect -f '{{.State.Status}} {{.NetworkSettings.IPAddress}}' web
tiffin inspect -f '{{range $port, $bound := .NetworkSettings.Ports}}{{$port}} {{end}}' web
tiffin inspect -f '{{json .Config.Env}}' web
"""
_TYPES = ("container", "image", "volume", "network")


def arguments(parser: "CommandParser") -> None:
    add_format(parser)
    parser.switch(
        "-s", "--size", help="add what containers wrote (SizeRw), and with their image (SizeRootFs)"
    )
    parser.add_argument("--type", metavar="container|image|volume|network", help="what the names name")
    parser.add_argument("names", nargs="+", metavar="NAME|ID")


def run(args: "Namespace", session: "Session") -> int:
    if args.type and args.type not in _TYPES:
        known = ", ".join(f'"{name}"' for name in _TYPES)
        raise UsageError(f'unknown type: "{args.type}": must be one of {known}', 1)
    engine = session.engine

    def container(name: str) -> dict[str, Any]:
        return engine.containers.inspect(name, size=args.size)

    def either(name: str) -> dict[str, Any]:
        try:
            return container(name)
        except NotFound:
            pass
        try:
            return engine.images.inspect(name)
        except NotFound:
            pass
        try:
            return engine.volumes.inspect(name)
        except NotFound:
            pass
        try:
            return engine.networks.inspect(name)
        except NotFound:
            raise NotFound(f"No such object: {name}") from None

    def network(name: str) -> dict[str, Any]:
        return engine.networks.inspect(name)

    calls: dict[str, Callable[[str], dict[str, Any]]] = {
        "": either,
        "container": container,
        "volume": engine.volumes.inspect,
        "network": network,
    }
    return show(args.names, calls.get(args.type, engine.images.inspect), args.format)
