"""`tiffin inspect`, and its container and image forms."""

import json
from collections.abc import Callable, Sequence

from tiffin.cli.output import print_error
from tiffin.errors import NotFound, TiffinError
from tiffin.typed import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tiffin.cli.main import Session
    from tiffin.cli.parser import CommandParser, Namespace

DESCRIPTION = "Show everything about containers or images as a JSON array."
EXAMPLES = "tiffin inspect web\ntiffin inspect --type image debian\n"


def arguments(parser: "CommandParser") -> None:
    parser.add_argument("--type", choices=("container", "image"), default="", help="what the names name")
    parser.add_argument("names", nargs="+", metavar="NAME|ID")


def run(args: "Namespace", session: "Session") -> int:
    engine = session.engine

    def either(name: str) -> dict[str, Any]:
        try:
            return engine.containers.inspect(name)
        except NotFound:
            pass
        try:
            found: dict[str, Any] = engine.images.inspect(name)
        except NotFound:
            raise NotFound(f"No such object: {name}") from None
        return found

    call = {"": either, "container": engine.containers.inspect}.get(args.type)
    return show(args.names, call or engine.images.inspect)


def show(names: Sequence[str], call: Callable[[str], dict[str, Any]]) -> int:
    """Print a JSON array of what was found, and an error line for each that was not; 1 if any was not."""
    found, failed = [], 0
    for name in names:
        try:
            found.append(call(name))
        except TiffinError as error:
            print_error(str(error))
            failed = 1
    print(json.dumps(found, indent=4, ensure_ascii=True))
    return failed
