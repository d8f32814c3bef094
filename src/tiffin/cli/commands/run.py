"""`tiffin run`."""

from tiffin.cli import terminal
from tiffin.cli.commands.create import create_container
from tiffin.cli.container_options import add_container_options
from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from tiffin.cli.main import Session
    from tiffin.cli.parser import CommandParser, Namespace

DESCRIPTION = """\
Create a container from an image and run it. Without -d the command's output comes here and its exit code is
tiffin's; 125 means that tiffin failed before the command, 126 that the command cannot be executed, 127 that there is
no such command."""
EXAMPLES = """\
# a shell in a throw-away container
tiffin run -it --rm debian bash
# a server in the background, its port 80 on the host's 8080
tiffin run -d --name web -p 8080:80 web
# limits: half a CPU, 256 MiB, no network, a read-only root
tiffin run --rm --cpus 0.5 -m 256m --network none --read-only job ./work
"""


def arguments(parser: "CommandParser") -> None:
    parser.switch("-d", "--detach", help="run in the background and print the container's ID")
    parser.switch("--sig-proxy", default=True, help="pass signals on to the command (default true)")
    parser.add_argument(
        "--detach-keys", default="ctrl-p,ctrl-q", metavar="KEYS", help="keys that leave the container"
    )
    add_container_options(parser)


def run(args: "Namespace", session: "Session") -> int:
    if not args.detach:
        terminal.check_terminal(stdin=args.interactive, tty=args.tty)
    identifier = create_container(args, session, detached=args.detach)
    containers = session.engine.containers
    if args.detach:
        containers.start(identifier)
        print(identifier)
        return 0
    streams = terminal.streams(
        stdin=args.interactive, tty=args.tty, sig_proxy=args.sig_proxy, detach_keys=args.detach_keys
    )
    code = terminal.attached(
        lambda: containers.start_attached(identifier, streams), stdin=args.interactive, tty=args.tty
    )
    return code or 0
