"""`tiffin create`."""

import os

from tiffin.cli import terminal
from tiffin.cli.container_options import add_container_options, create_options
from tiffin.cli.output import print_warning
from tiffin.errors import InvalidArgument, NotFound
from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from tiffin.cli.main import Session
    from tiffin.cli.parser import CommandParser, Namespace
    from tiffin.engine.options import Created, CreateOptions

DESCRIPTION = "Create a container without starting it, and print its ID. `tiffin start` runs it."
EXAMPLES = """\
tiffin create --name job -v data:/data worker ./work
tiffin start -a job
"""


def arguments(parser: "CommandParser") -> None:
    terminal.add_attach(parser)
    add_container_options(parser)


def run(args: "Namespace", session: "Session") -> int:
    print(create_container(args, session, attach=terminal.attached_streams(args)))
    return 0


def create_container(args: "Namespace", session: "Session", *, attach: tuple[bool, bool, bool]) -> str:
    """The new container's ID, written to --cidfile too; that file must not exist, and goes when nothing was made.
    `attach`: whether who starts it will join its stdin, stdout and stderr."""
    options = create_options(args, detached=not any(attach), attach_stdin=attach[0])._replace(
        attach_stdout=attach[1], attach_stderr=attach[2], stdin_once=args.interactive and attach[0]
    )
    cidfile = _open_cidfile(args.cidfile)
    try:
        created = _create(args, session, options)
        if cidfile >= 0:
            os.write(cidfile, created.id.encode())
    except BaseException:
        if cidfile >= 0:
            os.unlink(args.cidfile)
        raise
    finally:
        if cidfile >= 0:
            os.close(cidfile)
    for warning in created.warnings:
        print_warning(warning)
    return created.id


def _create(args: "Namespace", session: "Session", options: "CreateOptions") -> "Created":
    """Create, with an image that comes from its registry when --pull says so. Of an image that is only mounted this is
    "missing" at most: it is not the one that is asked to be new."""
    containers = session.engine.containers
    if args.pull == "always":
        from tiffin.cli.commands.pull import pull_for_run

        pull_for_run(session, args.image, args.platform, quiet=args.quiet)
    while True:
        try:
            return containers.create(options)
        except NotFound:
            if args.pull == "never" or not _pull_one(args, session, options):
                raise


def _pull_one(args: "Namespace", session: "Session", options: "CreateOptions") -> bool:
    """Fetch one image that is wanted and not here; whether there was one."""
    from tiffin.cli.commands.pull import pull_missing
    from tiffin.volumes import parse_mount

    if args.pull == "missing" and pull_missing(session, args.image, args.platform, quiet=args.quiet):
        return True
    wanted = [parse_mount(text) for text in options.mounts]
    images = [request.source for request in wanted if request.type == "image"]
    return any(pull_missing(session, name, "", quiet=args.quiet) for name in images)


def _open_cidfile(path: str) -> int:
    if not path:
        return -1
    try:
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    except FileExistsError as error:
        raise InvalidArgument(
            f"container ID file found: {path} exists; remove it or choose another"
        ) from error
