"""`tiffin cp`."""

import os
import sys
import time

from tiffin.cli.output import UsageError, escape, size
from tiffin.errors import InvalidArgument
from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from types import TracebackType

    from tiffin.cli.main import Session
    from tiffin.cli.parser import CommandParser, Namespace
    from tiffin.engine.containers import ContainerService

DESCRIPTION = """\
Copy files or directories between a container, running or not, and the machine. "-" is a tar archive on standard input
or output. A directory's content alone is meant by a path that ends in "/.". A local path with a colon in it is to begin
with "/" or "./"."""
EXAMPLES = """\
tiffin cp page.html web:/www/index.html
tiffin cp web:/var/log/. ./logs
tiffin cp -a web:/data - | tar -t
tar -c site | tiffin cp - web:/srv
"""
_REFRESH = 0.075  # seconds


def arguments(parser: "CommandParser") -> None:
    parser.switch(
        "-a", "--archive", help="keep the owners (uid, gid) of what is copied out of a container, and devices"
    )
    parser.switch("-L", "--follow-link", help="if the source is a symbolic link, copy what it leads to")
    parser.switch(
        "-q",
        "--quiet",
        default=not sys.stdout.isatty(),
        help="do not show progress (default where there is no terminal)",
    )
    parser.add_argument("source", metavar="SRC_PATH")
    parser.add_argument("destination", metavar="DEST_PATH")


def run(args: "Namespace", session: "Session") -> int:
    for what in ("source", "destination"):
        if not getattr(args, what):
            raise UsageError(f"{what} can not be empty", 1)
    (origin, source), (goal, target) = _split(args.source), _split(args.destination)
    containers = session.engine.containers
    if origin and goal:
        raise UsageError("copying between containers is not supported", 1)
    if not origin and not goal:
        raise UsageError("must specify at least one container source", 1)
    if origin and target == "-":
        _to_output(containers, origin, source, follow=args.follow_link)
    elif goal and source == "-":
        containers.unpack_to(sys.stdin.buffer, goal, target)
    elif origin:
        with _Progress("Copying from container - ", args.quiet) as progress:
            where = containers.copy_from(
                origin,
                source,
                target,
                follow=args.follow_link,
                keep_owner=args.archive,
                count=progress.count,
            )
            progress.done(where)
    else:
        with _Progress("Copying to container - ", args.quiet) as progress:
            where = containers.copy_to(source, goal, target, follow=args.follow_link, count=progress.count)
            progress.done(f"{goal}:{where}")
    return 0


def _split(word: str) -> tuple[str, str]:
    """The container, "" for none, and the path of an operand."""
    if word.startswith("/"):
        return "", word
    container, colon, path = word.partition(":")
    if not colon or container.startswith("."):
        return "", word
    return container, path


def _to_output(containers: "ContainerService", container: str, path: str, *, follow: bool) -> None:
    if sys.stdout.isatty():
        raise InvalidArgument("refusing to write a tar archive to a terminal; redirect it")
    if follow:
        path = containers.stat_path(container, path).link_target or path
    _, archive = containers.get_archive(container, path)
    with archive:
        for piece in archive:
            sys.stdout.buffer.write(piece)
    sys.stdout.buffer.flush()


class _Progress:
    """A line on a terminal that counts, and in the end one that says how much it was."""

    def __init__(self, heading: str, quiet: bool) -> None:
        self._heading = heading
        self._quiet = quiet
        self._live = not quiet and sys.stderr.isatty() and os.environ.get("TERM") not in ("dumb", "")
        self._bytes = 0
        self._shown = 0.0

    def __enter__(self) -> "_Progress":
        if self._live:
            self._line("Preparing to copy...")
        return self

    def count(self, received: int) -> None:
        self._bytes += received
        if self._live and time.monotonic() - self._shown >= _REFRESH:
            self._shown = time.monotonic()
            self._line(f"{self._heading}{size(self._bytes)}")

    def done(self, where: str) -> None:
        if self._live:
            self._line("")
        if not self._quiet:
            print(f"Successfully copied {size(self._bytes)} to {escape(where)}", file=sys.stderr)

    def _line(self, text: str) -> None:
        sys.stderr.write(f"\r\x1b[K{text}")
        sys.stderr.flush()

    def __exit__(
        self,
        kind: "type[BaseException] | None",
        error: BaseException | None,
        trace: "TracebackType | None",
    ) -> None:
        if kind is not None and self._live:
            self._line("")
