"""`tiffin context ls`."""

import sys

from tiffin.cli import output
from tiffin.cli.formatting import OPTION_HELP, Listing
from tiffin.typed import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tiffin.cli.main import Session
    from tiffin.cli.parser import CommandParser, Namespace

DESCRIPTION = """\
Show what of a directory a build can see, and which line of its ignore file decided. A directory that is left out whole
stands for all that is in it."""
EXAMPLES = """\
tiffin context ls
tiffin context ls --left-out -f deploy/Dockerfile .
tiffin context ls --sent --format '{{.Path}}'
"""
_HEADINGS = {"Path": "PATH", "Size": "SIZE", "Decision": "DECISION", "Rule": "RULE"}


def arguments(parser: "CommandParser") -> None:
    parser.add_argument(
        "-f", "--file", default="", metavar="FILE", help="Dockerfile (default PATH/Dockerfile)"
    )
    parser.switch("--sent", help="only what the build can see")
    parser.switch("--left-out", help="only what it cannot")
    parser.add_argument("--format", metavar="FORMAT", help=OPTION_HELP)
    parser.add_argument(
        "path", metavar="PATH", nargs="?", default=".", help="context (default: this directory)"
    )


def run(args: "Namespace", session: "Session") -> int:
    rows: list[dict[str, Any]] = []
    files = size = left_out = 0
    for one in session.engine.builder.list_context(args.path, args.file):
        if one.seen:
            files += one.kind != "directory"
            size += one.size
        else:
            left_out += 1
        if (args.sent and not one.seen) or (args.left_out and one.seen):
            continue
        rows.append(
            {
                "Path": f"{one.path}/" if one.kind == "directory" else one.path,
                "Size": output.size(one.size) if one.kind == "file" else "",
                "Decision": "sent" if one.seen else "left out",
                "Rule": one.rule,
            }
        )
    Listing(args.format, _HEADINGS, tuple(_HEADINGS)).print(rows)
    if not args.format:
        print(f"{files} files, {output.size(size)}; {left_out} left out", file=sys.stderr)
    return 0
