"""`tiffin run`."""

from tiffin.cli import terminal
from tiffin.cli.commands.create import create_container
from tiffin.cli.container_options import add_container_options
from tiffin.cli.output import UsageError
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
# a filter in a pipe; its errors alone
generate | tiffin run -i --rm tools sort > sorted
tiffin run --rm -a stderr job ./work
# a shell that ctrl-x x leaves running, for `tiffin attach`
tiffin run -it --name shell --detach-keys ctrl-x,x debian bash
"""


def arguments(parser: "CommandParser") -> None:
    parser.switch("-d", "--detach", help="run in the background and print the container's ID")
    terminal.add_sig_proxy(parser)
    terminal.add_detach_keys(parser)
    terminal.add_attach(parser)
    add_container_options(parser)


def run(args: "Namespace", session: "Session") -> int:
    stdin, stdout, stderr = terminal.attached_streams(args)
    if args.detach:
        if args.attach:
            raise UsageError("conflicting options: cannot specify both --attach and --detach", 1)
        identifier = create_container(args, session, attach=(False, False, False))
        session.engine.containers.start(identifier)
        print(identifier)
        return 0
    terminal.check_terminal(stdin=stdin, tty=args.tty)
    terminal.check_detach_keys(args.detach_keys)
    streams = terminal.streams(
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        tty=args.tty,
        sig_proxy=args.sig_proxy,
        detach_keys=args.detach_keys,
    )
    identifier = create_container(args, session, attach=(stdin, stdout, stderr))
    code = session.engine.containers.start_attached(identifier, streams)
    if not (stdout or stderr):
        print(identifier)
    return code or 0
