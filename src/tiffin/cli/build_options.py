"""The options of `build` that say what becomes of the result, and where results of other builds are taken from."""

import os

from tiffin.errors import EngineError, InvalidArgument, TiffinError
from tiffin.typed import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tiffin.build import BuildResult
    from tiffin.cli.parser import CommandParser, Namespace

EXAMPLES = """\
tiffin build -o out --target artifacts .
tiffin build --platform linux/amd64,linux/arm64 -t registry.example/web --push .
tiffin build -t web -o type=image -o type=oci,dest=web.tar,compression=zstd,force-compression=true .
tiffin build --cache-from registry.example/web:cache --cache-to type=registry,ref=registry.example/web:cache,mode=max .
tiffin build --explain-cache .
"""


def arguments(parser: "CommandParser") -> None:
    add = parser.add_argument
    add(
        "-o",
        "--output",
        action="append",
        default=[],
        metavar="DIR|-|type=TYPE[,KEY=VALUE]",
        help="what to make: image (default), registry, oci, docker, tar, local, cacheonly; several may be given",
    )
    parser.switch("--push", help="send the image to the registry of its name; as -o type=registry")
    parser.switch("--load", help="have the image here, also beside other outputs; as -o type=docker")
    add(
        "--annotation",
        action="append",
        default=[],
        metavar="[SCOPE:]KEY=VALUE",
        help="annotation of the manifest; SCOPE is manifest, index or manifest-descriptor",
    )
    parser.switch("--squash", help="one layer of all that the Dockerfile makes")
    add(
        "--cache-from",
        action="append",
        default=[],
        metavar="IMAGE|type=TYPE[,KEY=VALUE]",
        help="believe results of other builds: registry,ref=REF or local,src=DIR",
    )
    add(
        "--cache-to",
        action="append",
        default=[],
        metavar="type=TYPE[,KEY=VALUE]",
        help="write results for other builds: registry,ref=REF, local,dest=DIR or inline; mode=min|max",
    )
    parser.switch("--explain-cache", help="say of each step why it ran")
    add("--iidfile", default="", metavar="FILE", help="write the image ID to a file")
    add("--metadata-file", default="", metavar="FILE", help="write digests and names of the result as JSON")


def request_options(args: "Namespace") -> dict[str, Any]:
    """The fields of BuildRequest that the options give. Forgets what an earlier build left in --iidfile."""
    if args.iidfile:
        try:
            os.unlink(args.iidfile)
        except FileNotFoundError:
            pass
        except OSError as error:
            raise InvalidArgument(f"cannot write --iidfile {args.iidfile}: {error.strerror}") from error
    outputs = list(args.output)
    if args.push:
        outputs.append("type=registry")
    if args.load:
        outputs.append("type=docker")
    return {
        "outputs": tuple(dict.fromkeys(outputs)),
        "annotations": tuple(args.annotation),
        "squash": args.squash,
        "cache_from": tuple(args.cache_from),
        "cache_to": tuple(args.cache_to),
        "explain": args.explain_cache,
    }


def write_files(args: "Namespace", result: "BuildResult") -> None:
    """--iidfile and --metadata-file."""
    if args.iidfile:
        _write(args.iidfile, result.image_id)
    if args.metadata_file:
        import json

        _write(args.metadata_file, json.dumps(dict(result.metadata), indent=2, sort_keys=True) + "\n")


def _write(path: str, text: str) -> None:
    aside = f"{path}.{os.urandom(6).hex()}"
    try:
        with open(aside, "x", encoding="utf-8") as file:
            file.write(text)
        os.rename(aside, path)
    except OSError as error:
        failure: TiffinError = EngineError(f"cannot write {path}: {error.strerror}; the image is made")
        try:
            os.unlink(aside)
        except OSError:
            pass
        raise failure from error
