"""`tiffin build`."""

import os
import sys

from tiffin.cli import build_calls, build_options, build_surroundings
from tiffin.cli.output import escape
from tiffin.errors import InvalidArgument
from tiffin.typed import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tiffin.cli.main import Session
    from tiffin.cli.parser import CommandParser, Namespace

DESCRIPTION = """\
Build an image from a Dockerfile and its context: a directory, an archive on standard input, or what a URL or git
reference leads to. Stages that do not depend on each other run at the same time, stages that the target does not need
never; a step whose inputs did not change is taken from the cache. What the checks of docs/build-checks.md find is told
at the end; with --check they are all that is done, and a finding makes the exit code 1. --call lists what can be built,
and what it takes."""
EXAMPLES = """\
tiffin build -t web .
tiffin build -t web:2 -f deploy/Dockerfile --target release --build-arg VERSION=2 .
tiffin build --shell-on-fail .
tiffin build --progress rawjson . 2> build.json
tiffin build --secret id=token,src=$HOME/.token --ssh default .
tiffin build --build-context assets=../assets --build-context debian=docker-image://my/debian .
tiffin build -t web https://git.example/web.git#v2:service
tar -cz . | tiffin build -t web -
"""
EXAMPLES += build_calls.EXAMPLES + build_surroundings.EXAMPLES + build_options.EXAMPLES


def arguments(parser: "CommandParser") -> None:
    _add_inputs(parser)
    build_surroundings.arguments(parser)
    build_options.arguments(parser)
    _add_manner(parser)
    parser.add_argument("path", metavar="PATH|URL|-", help="context with the files to copy")


def _add_inputs(parser: "CommandParser") -> None:
    """What the image depends on, and what RUN steps are lent."""
    add = parser.add_argument
    add(
        "-t",
        "--tag",
        action="append",
        default=[],
        metavar="NAME[:TAG]",
        help="name of the image; several may be given",
    )
    add(
        "-f",
        "--file",
        default="",
        metavar="FILE",
        help="Dockerfile (default PATH/Dockerfile; - reads standard input)",
    )
    add("--target", default="", metavar="STAGE", help="build this stage, and what it needs")
    add("--build-arg", action="append", default=[], metavar="NAME[=VALUE]", help="value of an ARG")
    add(
        "--build-context",
        action="append",
        default=[],
        metavar="NAME=PATH",
        help="further context: a directory, URL, git reference, docker-image://IMAGE or oci-layout://PATH",
    )
    add(
        "--secret",
        action="append",
        default=[],
        metavar="id=NAME[,src=FILE|env=VARIABLE]",
        help="secret for RUN --mount=type=secret; kept nowhere",
    )
    add(
        "--ssh",
        action="append",
        default=[],
        metavar="default|ID[=SOCKET|KEYFILE[,KEYFILE]]",
        help="ssh agent, or keys, for RUN --mount=type=ssh and for git (default: the agent of SSH_AUTH_SOCK)",
    )
    add(
        "--allow",
        action="append",
        default=[],
        metavar="ENTITLEMENT",
        help="allow RUN steps what is denied: network.host, security.insecure",
    )
    add(
        "--platform",
        default="",
        metavar="OS/ARCH[,...]",
        help="build for these platforms (default: this machine's)",
    )
    add("--label", action="append", default=[], metavar="NAME=VALUE", help="label of the image")
    add("--network", default="", metavar="MODE", help="network of RUN steps: bridge, host or none")


def _add_manner(parser: "CommandParser") -> None:
    """How it is done and shown."""
    build_calls.arguments(parser)
    parser.switch("--no-cache", help="run every step")
    parser.switch("--pull", help="fetch base images anew, also those that are here")
    parser.switch("-q", "--quiet", help="print the image ID only")
    parser.add_argument(
        "--progress",
        choices=("auto", "plain", "tty", "quiet", "none", "rawjson"),
        help="how to show the steps (default $BUILDKIT_PROGRESS, else auto: tty on a terminal, plain elsewhere)",
    )
    parser.add_argument(
        "--shell-on-fail",
        action="optional",
        metavar="SHELL",
        help="where a RUN fails, open a shell (default /bin/sh) as it left everything; the terminal is needed for it",
    )


def run(args: "Namespace", session: "Session") -> int:
    if args.path == "-" and args.file == "-":
        raise InvalidArgument("invalid argument: can't use stdin for both build context and dockerfile")
    dockerfile = sys.stdin.buffer.read(_DOCKERFILE_LIMIT) if args.file == "-" else args.file
    if build_calls.method(args)[0] != "build":
        return build_calls.call(args, session, _inputs(args, dockerfile))
    from tiffin.cli import build_shell
    from tiffin.cli.build_progress import mode, progress

    options = build_options.request_options(args) | build_surroundings.request_fields(args)
    how = mode(args.progress, quiet=args.quiet, stream=sys.stderr)
    build_shell.check(args)
    with progress(how, sys.stderr) as view, build_shell.lent(args, view) as (shown, shell):
        result = session.engine.builder.build(
            args.path,
            **_inputs(args, dockerfile),
            tags=tuple(args.tag),
            labels=_labels(args.label),
            contexts=_contexts(args.build_context),
            allow=tuple(args.allow),
            no_cache=args.no_cache,
            pull=args.pull,
            network=args.network,
            progress=shown,
            **shell,
            **options,
        )
    build_options.write_files(args, result)
    if how in ("quiet", "none", "rawjson"):
        if how == "quiet":
            print(result.image_id)
        return 0
    named = f" as {', '.join(result.names)}" if result.names else ""
    print(f"built {result.image_id}{named}", file=sys.stderr)
    if result.checks:
        many = "1 warning" if len(result.checks) == 1 else f"{len(result.checks)} warnings"
        print(f"\n {many} found (use build --check to expand):", file=sys.stderr)
        print("".join(f" - {escape(line)}\n" for line in result.checks), end="", file=sys.stderr)
    return 0


def _inputs(args: "Namespace", dockerfile: str | bytes) -> dict[str, Any]:
    """The fields of BuildRequest that say which Dockerfile, and what it is given."""
    return {
        "stdin": _stdin(args),
        "dockerfile": dockerfile,
        "target": args.target,
        "build_args": _build_args(args.build_arg),
        "platform": args.platform,
        "secrets": tuple(args.secret),
        "ssh": tuple(args.ssh),
    }


_DOCKERFILE_LIMIT = (1 << 20) + 1


def _stdin(args: "Namespace") -> int:
    return sys.stdin.fileno() if args.path == "-" else -1


def _build_args(texts: list[str]) -> dict[str, str]:
    """NAME=VALUE, or NAME alone for the environment's value (left out when it has none), as Docker reads them."""
    found: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not name:
            raise InvalidArgument(f'invalid argument "{text}" for "--build-arg": want NAME=VALUE')
        if equals:
            found[name] = value
        elif name in os.environ:
            found[name] = os.environ[name]
    return found


def _labels(texts: list[str]) -> dict[str, str]:
    pairs = [text.partition("=") for text in texts]
    if any(not name for name, _, _ in pairs):
        raise InvalidArgument('invalid argument for "--label": want NAME=VALUE')
    return {name: value for name, _, value in pairs}


def _contexts(texts: list[str]) -> dict[str, str]:
    pairs = [text.partition("=") for text in texts]
    for name, equals, value in pairs:
        if not name or not equals or not value:
            raise InvalidArgument(f'invalid argument "{name}" for "--build-context": want NAME=PATH')
    return {name: value for name, _, value in pairs}
