"""`tiffin manifest annotate`."""

from tiffin.typed import TYPE_CHECKING

if TYPE_CHECKING:
    from tiffin.cli.main import Session
    from tiffin.cli.parser import CommandParser, Namespace

DESCRIPTION = """\
Say what platform an image of a manifest list is for, where its own configuration does not."""
EXAMPLES = """\
tiffin manifest annotate registry.example/web:2 registry.example/web:2-arm --arch arm --variant v7
"""


def arguments(parser: "CommandParser") -> None:
    add = parser.add_argument
    add("--arch", default="", metavar="ARCH", help="architecture, in Go's names: amd64, arm64")
    add("--os", default="", metavar="OS", help="operating system")
    add(
        "--os-features",
        action="append",
        default=[],
        metavar="FEATURE",
        help="feature that the system must have",
    )
    add("--os-version", default="", metavar="VERSION", help="version of the operating system")
    add("--variant", default="", metavar="VARIANT", help="variant of the architecture: v7")
    add("list", metavar="MANIFEST_LIST")
    add("manifest", metavar="MANIFEST")


def run(args: "Namespace", session: "Session") -> int:
    from tiffin.images.manifest_lists import Annotation

    features = tuple(feature for text in args.os_features for feature in text.split(",") if feature)
    changes = Annotation(args.os, args.arch, args.variant, args.os_version, features)
    session.engine.manifests.annotate(args.list, args.manifest, changes)
    return 0
