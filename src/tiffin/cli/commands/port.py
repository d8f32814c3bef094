"""`tiffin port`."""

from tiffin.cli import output
from tiffin.errors import InvalidArgument, NotFound
from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from tiffin.cli.main import Session
    from tiffin.cli.parser import CommandParser, Namespace

DESCRIPTION = "List where a running container's ports are published, or where one of them is."
EXAMPLES = "tiffin port web\ntiffin port web 80/tcp\n"


def arguments(parser: "CommandParser") -> None:
    parser.add_argument("container", metavar="CONTAINER")
    parser.add_argument("port", metavar="PORT[/PROTO]", nargs="?", default="")


def run(args: "Namespace", session: "Session") -> int:
    bindings = session.engine.containers.port(args.container)
    if not args.port:
        output.lines(
            f"{b.container_port}/{b.protocol} -> {_address(b.host_ip)}:{b.host_port}" for b in bindings
        )
        return 0
    number, _, protocol = args.port.partition("/")
    if not number.isdigit():
        raise InvalidArgument(f"invalid port '{args.port}': want a number such as 80 or 53/udp")
    found = [b for b in bindings if b.container_port == int(number) and b.protocol == (protocol or "tcp")]
    if not found:
        raise NotFound(f"no public port '{number}/{protocol or 'tcp'}' published for {args.container}")
    output.lines(f"{_address(b.host_ip)}:{b.host_port}" for b in found)
    return 0


def _address(text: str) -> str:
    return f"[{text}]" if ":" in text else text or "0.0.0.0"  # noqa: S104 - shown, not bound
