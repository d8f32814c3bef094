"""`tiffin builder logs`."""

import sys

from tiffin.cli.output import escape
from tiffin.errors import InvalidArgument
from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from tiffin.cli.main import Session
    from tiffin.cli.parser import CommandParser, Namespace

DESCRIPTION = """\
Show what a build said, whole, as --progress plain would have shown it; of a build that runs, what it said so far. With
STEP, the number that the build gave it, show the output of that step alone. The newest build is taken without BUILD, ^1
is the one before it. The logs of the last 50 builds are kept, of fewer when they hold more than 100 MB."""
EXAMPLES = """\
tiffin builder logs
tiffin builder logs ^1
tiffin builder logs 019ab5c2d10f3a21 3
tiffin builder logs --raw 019ab5c2d10f3a21 3 > step.log
tiffin builder logs --progress rawjson ^2
"""
_PIECE = 1 << 20


def arguments(parser: "CommandParser") -> None:
    add = parser.add_argument
    add("--progress", choices=("plain", "rawjson"), default="plain", help="how to show it (default plain)")
    parser.switch("--raw", help="output of a step as it was written, control characters and all")
    add("build", nargs="?", metavar="BUILD", help="ID of a build, the beginning of one, or ^N")
    add("step", nargs="?", metavar="STEP", help="number of a step")


def run(args: "Namespace", session: "Session") -> int:
    if args.raw and not args.step:
        raise InvalidArgument("--raw is for the output of one step; give BUILD and STEP")
    builds = session.engine.builder
    if args.step:
        if not args.step.isdecimal():
            raise InvalidArgument(
                f"invalid step {args.step!r}: want its number, as in builder logs {args.build}"
            )
        _copy(builds.step_log(args.build, int(args.step)), raw=args.raw)
        return 0
    if args.progress == "rawjson":
        from tiffin.cli.build_rawjson import RawJsonProgress

        shown = RawJsonProgress(sys.stdout)
        for shown.at, event in builds.replay(args.build):
            shown(event)
        return 0
    from tiffin.cli.build_progress import PlainProgress

    plain = PlainProgress(sys.stdout)
    for _, event in builds.replay(args.build):
        plain(event)
    return 0


def _copy(path: str, *, raw: bool) -> None:
    with open(path, "rb") as file:
        if raw:
            sys.stdout.flush()
            while piece := file.read(_PIECE):
                sys.stdout.buffer.write(piece)
            return
        for line in file:  # a line may be long, and is read whole: it is to be decoded
            sys.stdout.write(escape(line.decode("utf-8", "replace").replace("\r\n", "\n")))
