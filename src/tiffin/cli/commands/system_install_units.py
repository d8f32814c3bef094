"""`tiffin system install-units`."""

from tiffin.cli.output import print_error
from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from tiffin.cli.main import Session
    from tiffin.cli.parser import CommandParser, Namespace

DESCRIPTION = (
    "Write a systemd unit that starts containers with the machine, by their restart policies, and stops them with it. "
    "It runs this tiffin on these --root and --run directories. What remains to be done is printed."
)
EXAMPLES = """\
# look at it first
tiffin system install-units --dry-run
tiffin system install-units
# of a user who runs containers: at that user's first login, or with lingering at boot
tiffin system install-units --user
tiffin system install-units --remove
"""
_SYSTEMD = "/run/systemd/system"  # is there where systemd is init, see sd_booted(3)


def arguments(parser: "CommandParser") -> None:
    parser.switch("--user", help="a unit of this user's own service manager")
    parser.switch("--dry-run", help="print the unit and where it belongs; write nothing")
    parser.switch("--remove", help="take the unit away")
    parser.add_argument(
        "--directory", default="", metavar="DIR", help="where to write it (default: where systemd looks)"
    )


def run(args: "Namespace", session: "Session") -> int:
    from tiffin.engine import boot

    unit = boot.unit(session.engine.layout, boot.this_program(), user=args.user, directory=args.directory)
    if args.dry_run:
        print(f"# {unit.path}\n{unit.text}", end="")
        return 0
    if args.remove:
        if not boot.remove(unit):
            print_error(f"{unit.path} does not exist; nothing was removed")
            return 1
        print(f"removed {unit.path}")
        _advise("to have it forgotten now:", unit.disable)
        return 0
    boot.install(unit)
    print(f"wrote {unit.path}")
    _advise("to use it:", unit.enable)
    return 0


def _advise(what: str, commands: tuple[str, ...]) -> None:
    import os

    if not os.path.isdir(_SYSTEMD):
        print("systemd does not run here; where it does, " + what)
    else:
        print(what)
    for command in commands:
        print(f"  {command}")
