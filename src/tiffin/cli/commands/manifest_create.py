"""`tiffin manifest create`."""

from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from tiffin.cli.main import Session
    from tiffin.cli.parser import CommandParser, Namespace

DESCRIPTION = """\
Make a manifest list out of images in registries, or in the store where no registry has them. The list stays here until
it is pushed."""
EXAMPLES = """\
tiffin manifest create registry.example/web:2 registry.example/web:2-amd64 registry.example/web:2-arm64
tiffin manifest create --amend registry.example/web:2 registry.example/web:2-riscv64
"""


def arguments(parser: "CommandParser") -> None:
    parser.switch("-a", "--amend", help="add to a list that there is")
    parser.switch(
        "--insecure", help="its registry may speak http, or have a certificate that nobody vouches for"
    )
    parser.add_argument("list", metavar="MANIFEST_LIST")
    parser.add_argument("manifests", nargs="+", metavar="MANIFEST")


def run(args: "Namespace", session: "Session") -> int:
    made = session.engine.manifests.create(
        args.list, args.manifests, amend=args.amend, insecure=args.insecure
    )
    print(f"Created manifest list {made.name}")
    return 0
