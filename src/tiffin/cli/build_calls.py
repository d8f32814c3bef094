"""`build --call`: what is asked of a Dockerfile other than to build it."""

import sys

from tiffin.cli.output import escape, table
from tiffin.errors import DockerfileError, InvalidArgument
from tiffin.typed import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tiffin.build.checks import CheckResult
    from tiffin.build.describe import Description, Source
    from tiffin.cli.main import Session
    from tiffin.cli.parser import CommandParser, Namespace
    from tiffin.dockerfile.outline import Outline, Target

METHODS = ("build", "check", "outline", "targets")
_FORMATS = ("text", "json")
EXAMPLES = """\
tiffin build --check .
tiffin build --call outline --target release .
tiffin build --call targets,format=json .
"""


def arguments(parser: "CommandParser") -> None:
    parser.switch("--check", help="check the Dockerfile and build nothing; as --call check")
    parser.add_argument(
        "--call",
        default="build",
        metavar="METHOD[,format=json]",
        help="build (default), check, outline (what the target takes), targets (what can be built)",
    )


def method(args: "Namespace") -> tuple[str, str]:
    """What to do, one of `METHODS`, and one of the formats. Raises InvalidArgument."""
    name, _, rest = args.call.partition(",")
    name = "check" if name == "lint" else name
    key, _, form = rest.partition("=")
    if name not in METHODS or (rest and (key != "format" or form not in _FORMATS)):
        raise InvalidArgument(
            f'invalid argument "{args.call}" for "--call": want {", ".join(METHODS)}, with format=text or format=json'
        )
    if args.check:
        if name not in ("build", "check"):
            raise InvalidArgument(f"--check and --call={name} cannot both be; give one of them")
        name = "check"
    return name, form or "text"


def call(args: "Namespace", session: "Session", inputs: dict[str, Any]) -> int:
    """Do what `method` says, other than build. `inputs` are the fields of BuildRequest but the context."""
    try:
        return _call(args, session, inputs)
    except DockerfileError as error:
        from tiffin.cli.build_progress import failure

        print("".join(f"{line}\n" for line in failure(error, 0)), end="", file=sys.stderr)
        raise


def _call(args: "Namespace", session: "Session", inputs: dict[str, Any]) -> int:
    name, form = method(args)
    if name == "check":
        result = session.engine.builder.check(args.path, **inputs)
        return _check_json(result) if form == "json" else _check(result)
    found = session.engine.builder.describe(args.path, **inputs)
    if form == "json":
        _print_json(_targets_document(found) if name == "targets" else _outline_document(found))
    elif name == "targets":
        rows = [[_shown(target), target.description] for target in found.targets]
        table(("TARGET", "DESCRIPTION"), rows)
    else:
        _print_outline(found.outline)
    return 0


def _check(result: "CheckResult") -> int:
    """The lint alone, as `docker build --check` prints it."""
    for note in result.notes:
        print(f"WARNING: {escape(note)}", file=sys.stderr)
    if not result.findings:
        if result.error is not None:
            raise result.error
        print("Check complete, no warnings found.")
        return 0
    many = "1 warning has" if result.findings == 1 else f"{result.findings} warnings have"
    print(f"Check complete, {many} been found!")
    print("".join(f"{escape(line)}\n" for line in result.lines), end="")
    if result.violation:
        print(f"ERROR: {escape(result.violation)}", file=sys.stderr)
    if result.error is not None:
        sys.stdout.flush()
        raise result.error
    return 1


def _check_json(result: "CheckResult") -> int:
    warnings = [
        {
            "ruleName": finding.rule.name,
            "description": finding.rule.text,
            "url": finding.rule.url,
            "detail": finding.detail,
            "location": _location(finding.line, finding.end_line),
        }
        for finding in result.found
    ]
    source = {"fileName": result.source.file, "language": "Dockerfile", "data": _base64(result.source)}
    document: dict[str, Any] = {"warnings": warnings, "sources": [source]}
    if result.error is not None:
        document["buildError"] = {
            "message": str(result.error),
            "location": _location(result.error.line, result.error.line),
        }
    _print_json(document)
    if result.error is not None:
        sys.stdout.flush()
        raise result.error
    return 1 if warnings else 0


def _shown(target: "Target") -> str:
    name = target.name or str(target.index)
    return f"{name} (default)" if target.default else name


def _print_outline(outline: "Outline") -> None:
    target = outline.target
    rows = [["TARGET:", target.name or "(default)"]]
    if target.description:
        rows.append(["DESCRIPTION:", target.description])
    table(rows[0], rows[1:])
    found = {kind: [one for one in outline.parameters if one.kind == kind] for kind in _HEADINGS}
    for kind, headings in _HEADINGS.items():
        if found[kind]:
            print()
            cells = [[one.name, one.value, one.description] for one in found[kind]]
            if kind != "arg":
                cells = [[one.name, "true" if one.required else ""] for one in found[kind]]
            table(headings, [row[: len(headings)] for row in cells])


_HEADINGS = {
    "arg": ("BUILD ARG", "VALUE", "DESCRIPTION"),
    "secret": ("SECRET", "REQUIRED"),
    "ssh": ("SSH", "REQUIRED"),
    "cache": ("CACHE",),
}


def _outline_document(found: "Description") -> dict[str, Any]:
    """As BuildKit's frontend.outline."""
    outline = found.outline
    document: dict[str, Any] = {"name": outline.target.name, "description": outline.target.description}
    for kind, key in (("arg", "args"), ("secret", "secrets"), ("ssh", "ssh"), ("cache", "cache")):
        entries = []
        for one in outline.parameters:
            if one.kind != kind:
                continue
            entry: dict[str, Any] = {"ID" if kind == "cache" else "name": one.name}
            if kind == "arg":
                entry |= {"description": one.description, "value": one.value}
            elif kind != "cache":
                entry["required"] = one.required
            entry = {key: value for key, value in entry.items() if value not in ("", False)}
            entries.append({**entry, "location": _location(one.line, one.end_line)})
        if entries:
            document[key] = entries
    document = {key: value for key, value in document.items() if value}
    return {**document, "sources": [_base64(found.source)]}


def _targets_document(found: "Description") -> dict[str, Any]:
    """As BuildKit's frontend.targets."""
    entries = []
    for target in found.targets:
        entry = {
            "name": target.name,
            "default": target.default,
            "description": target.description,
            "base": target.base,
            "platform": target.platform,
        }
        kept = {key: value for key, value in entry.items() if value}
        entries.append({**kept, "location": _location(target.line, target.end_line)})
    return {"targets": entries, "sources": [_base64(found.source)]}


def _location(line: int, end_line: int) -> dict[str, Any]:
    return {"ranges": [{"start": {"line": line}, "end": {"line": end_line}}]}


def _base64(source: "Source") -> str:
    import base64

    return base64.b64encode(source.text).decode()


def _print_json(document: dict[str, Any]) -> None:
    import json

    print(json.dumps(document, indent=2))
