"""`tiffin version`."""

from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from tiffin.cli.main import Session
    from tiffin.cli.parser import CommandParser, Namespace

DESCRIPTION = (
    "Show the version of tiffin and of what it runs on. There is no daemon: client and server are one."
)
EXAMPLES = "tiffin version\ntiffin version --format '{{.Server.Version}}'\n"
_LINES = (
    ("Version", "Version"),
    ("Python version", "PythonVersion"),
    ("SQLite version", "SQLiteVersion"),
    ("Kernel version", "KernelVersion"),
)


def arguments(parser: "CommandParser") -> None:
    parser.add_argument("-f", "--format", metavar="FORMAT", help="json, or a Go template")


def run(args: "Namespace", session: "Session") -> int:
    facts = session.engine.system.version()
    if args.format:
        from tiffin.cli.commands.info import show
        from tiffin.cli.template import Struct

        return show({"Client": Struct(facts), "Server": Struct(facts)}, args.format)
    print("Client: tiffin")
    for title, key in _LINES:
        print(f" {title + ':':<18} {facts[key]}")
    print(f" {'OS/Arch:':<18} {facts['Os']}/{facts['Arch']}")
    return 0
