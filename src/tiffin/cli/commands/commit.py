"""`tiffin commit`."""

from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from tiffin.cli.main import Session
    from tiffin.cli.parser import CommandParser, Namespace

DESCRIPTION = "Make an image from a container's changed files and its configuration, and print its ID."
EXAMPLES = """\
tiffin commit web web:changed
tiffin commit -m "with the new page" -a "A. Author" web web:2
tiffin commit -c 'CMD ["serve", "--port", "80"]' -c 'EXPOSE 80' web web:3
"""


def arguments(parser: "CommandParser") -> None:
    add = parser.add_argument
    add("-a", "--author", default="", metavar="NAME", help="author, kept in the image")
    add(
        "-c",
        "--change",
        action="append",
        default=[],
        metavar="INSTRUCTION",
        help="a Dockerfile instruction that changes the image's settings (CMD, ENV, LABEL, ...); may be repeated",
    )
    add("-m", "--message", default="", metavar="TEXT", help="message, kept in the image's history")
    parser.switch("-p", "--pause", default=True, help="pause the container meanwhile (default true)")
    add("container", metavar="CONTAINER")
    add("repository", metavar="REPOSITORY[:TAG]", nargs="?", default="")


def run(args: "Namespace", session: "Session") -> int:
    from tiffin.engine.options import CommitOptions

    options = CommitOptions(args.repository, args.author, args.message, args.pause, tuple(args.change))
    print(session.engine.containers.commit(args.container, options))
    return 0
