"""`tiffin volume create`."""

from tiffin.cli.output import UsageError, escape
from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from tiffin.cli.main import Session
    from tiffin.cli.parser import CommandParser, Namespace

DESCRIPTION = """\
Make a volume: a directory that outlives containers. Without a name it is given one, and goes with `volume prune`. The
options type, o and device give it a filesystem of its own, as mount(8) takes them, which is mounted while a container
uses the volume. Another driver is a plugin with a socket such as /run/docker/plugins/NAME.sock, which is given the
options as they are."""
EXAMPLES = """\
tiffin volume create data
tiffin volume create --label team=web data
tiffin volume create -o type=tmpfs -o device=tmpfs -o o=size=64m,uid=1000 scratch
tiffin volume create -o type=none -o o=bind -o device=/srv/data shared
tiffin volume create -o type=nfs -o o=addr=10.0.0.7,rw -o device=:/export far
tiffin volume create -d sshfs -o sshcmd=user@host:/path remote
"""


def arguments(parser: "CommandParser") -> None:
    parser.add_argument(
        "-d", "--driver", default="local", metavar="NAME", help="driver: local, or a plugin's name"
    )
    parser.add_argument("--label", action="append", default=[], metavar="NAME[=VALUE]", help="a label")
    parser.add_argument("--name", metavar="NAME", help="the name, as the operand gives it")
    parser.add_argument(
        "-o",
        "--opt",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="driver option; the local driver's are type, o and device",
    )
    parser.add_argument("volume", nargs="?", default="", metavar="VOLUME")


def run(args: "Namespace", session: "Session") -> int:
    if args.name and args.volume and args.name != args.volume:
        raise UsageError(
            "conflicting options: cannot specify a volume name through both --name and as a positional arg", 1
        )
    made = session.engine.volumes.create(
        args.volume or args.name, driver=args.driver, labels=_pairs(args.label), options=_pairs(args.opt)
    )
    print(escape(made.name))
    return 0


def _pairs(words: list[str]) -> dict[str, str]:
    return {key: value for key, _, value in (word.partition("=") for word in words)}
