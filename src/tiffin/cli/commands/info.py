"""`tiffin info`."""

from tiffin.cli import output
from tiffin.typed import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tiffin.cli.main import Session
    from tiffin.cli.parser import CommandParser, Namespace

DESCRIPTION = "Show facts about this engine and the machine that it is on."
EXAMPLES = """\
tiffin info
tiffin info --format '{{.Driver}} on {{.KernelVersion}}'
tiffin info --format json
"""
_LINES = (
    ("Storage Driver", "Driver"),
    ("Logging Driver", "LoggingDriver"),
    ("Cgroup Driver", "CgroupDriver"),
    ("Cgroup Version", "CgroupVersion"),
    ("Kernel Version", "KernelVersion"),
    ("Operating System", "OperatingSystem"),
    ("OSType", "OSType"),
    ("Architecture", "Architecture"),
    ("CPUs", "NCPU"),
    ("Total Memory", "MemTotal"),
    ("Name", "Name"),
    ("ID", "ID"),
    ("Root Dir", "DockerRootDir"),
    ("Run Dir", "RunDir"),
)


def arguments(parser: "CommandParser") -> None:
    parser.add_argument("-f", "--format", metavar="FORMAT", help="json, or a Go template")


def run(args: "Namespace", session: "Session") -> int:
    facts = session.engine.system.info()
    if args.format:
        return show(facts, args.format)
    print(f"Client:\n Version:    {facts['ServerVersion']}\n\nServer:")
    print(f" Containers: {facts['Containers']}")
    for state in ("Running", "Paused", "Stopped"):
        print(f"  {state}: {facts[f'Containers{state}']}")
    print(f" Images: {facts['Images']}\n Server Version: {facts['ServerVersion']}")
    for title, key in _LINES:
        value = _memory(facts[key]) if key == "MemTotal" else str(facts[key])
        print(f" {title}: {output.escape(value)}")
        if key == "Driver":
            for name, text in facts["DriverStatus"]:
                print(f"  {name}: {text}")
    print(" Security Options:")
    for option in facts["SecurityOptions"]:
        name, _, profile = option.removeprefix("name=").partition(",profile=")
        print(f"  {name}\n   Profile: {profile}")
    for line in facts["Warnings"]:
        output.print_warning(line.removeprefix("WARNING: "))
    return 0


def show(facts: dict[str, Any], form: str) -> int:
    """One document as `--format` asks: json, or a template."""
    from tiffin.cli.formatting import template
    from tiffin.cli.template import Struct, json_text

    if form == "json":
        print(json_text(Struct(facts)))
    else:
        print(template(form).render(Struct(facts), clean=output.escape))
    return 0


def _memory(count: int) -> str:
    """Bytes in binary units, as Docker shows memory alone."""
    value = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{value:.4g}{unit}"
        value /= 1024
    return f"{value:.4g}TiB"
